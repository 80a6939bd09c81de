"""Collections in Weaviate that the classes of LangChain, LlamaIndex and Haystack made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from weaviate import WeaviateClient
from weaviate.classes.config import Configure, DataType, Property, VectorDistances
from weaviate.classes.query import Filter

from qwen3_rag import InputError, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, Store, WeaviateStore, renew_bm25
from qwen3_rag_testkit.framework_contract import ADDED, WRITTEN, FrameworkContract
from qwen3_rag_testkit.store_corpus import make_embedder

UUID_ADDED = replace(ADDED, id="3f2504e0-4f89-41d3-9a0c-0305e82c3306")


@pytest.mark.docker
class WeaviateContract(FrameworkContract):
    layout: str
    package: str
    own_bm25 = True
    gets_terms = False
    makes_terms = False
    address: dict[str, Any]
    client: WeaviateClient
    name: str

    @pytest.fixture(autouse=True)
    def _server(
        self, weaviate_address: dict[str, Any], weaviate_client: WeaviateClient, collection: str
    ) -> Iterator[None]:
        pytest.importorskip(self.package, reason=f"{self.package} is not installed")
        if not {"WEAVIATE_URL", "WEAVIATE_BINARY"} & os.environ.keys():
            pytest.skip("the stand-in does not answer the frameworks' hybrid queries")
        self.address, self.client, self.name = weaviate_address, weaviate_client, collection
        self.opened: list[Any] = []
        yield
        for one in self.opened:
            one.close()

    def open_store(self) -> Store:
        return WeaviateStore(self.client, self.name, layout=self.layout)

    def equals(self, field: str, value: Any) -> Any:
        return Filter.by_property(field).equal(value)

    def test_terms_are_refused_before_anything_is_read(self) -> None:
        searcher = self.adopted()

        with pytest.raises(StoreError, match="without `layout`"):
            renew_bm25(searcher.store)

        assert sorted(self.read("x"), key=lambda one: str(one.id)) == WRITTEN


class TestLangChain(WeaviateContract):
    layout = "langchain"
    package = "langchain_weaviate"
    added = UUID_ADDED

    def write(self, documents: Sequence[Document], dim: int = 64) -> None:
        self.vector_store(dim).add_texts(
            [one.text for one in documents],
            [dict(one.payload) for one in documents],
            ids=[str(one.id) for one in documents],
        )

    def read(self, query: str) -> list[Document]:
        found = self.vector_store(64).similarity_search(query, k=100, alpha=1, return_uuids=True)
        return [Document(one.metadata.pop("uuid"), one.page_content, one.metadata) for one in found]

    def vector_store(self, dim: int) -> Any:
        from langchain_core.embeddings import Embeddings
        from langchain_weaviate import WeaviateVectorStore

        outer = self

        class Given(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return outer.vectors([Document("x", text) for text in texts], dim)

            def embed_query(self, text: str) -> list[float]:
                return outer.query_vector(text)

        return WeaviateVectorStore(self.client, self.name, "text", Given())

    def test_an_id_that_is_kept_nowhere_is_refused(self) -> None:
        searcher = self.adopted()

        with pytest.raises(InputError, match="must be a UUID, got 'guides/rivers"):
            searcher.add([ADDED])

        assert searcher.count() == len(WRITTEN)

    def test_nested_metadata_and_dates_come_back(self) -> None:
        searcher = self.adopted()
        payload = {"when": "2026-01-02T03:04:05Z", "where": {"city": "Oslo", "floors": [1, 2]}}

        searcher.add([replace(UUID_ADDED, payload=payload)])

        assert searcher.retrieve([UUID_ADDED.id])[UUID_ADDED.id].document.payload == payload

    def test_another_property_with_the_text_is_named(self) -> None:
        self.write(WRITTEN)
        store = WeaviateStore(self.client, self.name, layout="langchain", text_key="body")

        [finding, _] = HybridSearcher(store, make_embedder()).check_collection()

        assert (finding.code, finding.severity) == ("property", "error")
        assert "text_key=NAME" in finding.remedy


class TestLlamaIndex(WeaviateContract):
    layout = "llama-index"
    package = "llama_index.vector_stores.weaviate"
    added = UUID_ADDED

    def write(self, documents: Sequence[Document], dim: int = 64) -> None:
        from llama_index.core.schema import TextNode

        self.vector_store().add(
            [
                TextNode(
                    id_=str(one.id), text=one.text, metadata=dict(one.payload), embedding=vector
                )
                for one, vector in zip(documents, self.vectors(documents, dim), strict=True)
            ]
        )

    def read(self, query: str) -> list[Document]:
        from llama_index.core.vector_stores import VectorStoreQuery

        wanted = VectorStoreQuery(query_embedding=self.query_vector(query), similarity_top_k=100)
        found = self.vector_store().query(wanted).nodes
        return [Document(one.node_id, one.get_content(), one.metadata) for one in found]

    def vector_store(self) -> Any:
        from llama_index.vector_stores.weaviate import WeaviateVectorStore

        return WeaviateVectorStore(self.client, index_name=self.name)


class TestHaystack(WeaviateContract):
    layout = "haystack"
    package = "haystack_integrations.document_stores.weaviate"

    def write(self, documents: Sequence[Document], dim: int = 64) -> None:
        from haystack import Document as HaystackDocument
        from haystack.document_stores.types import DuplicatePolicy

        self.document_store().write_documents(
            [
                HaystackDocument(
                    id=str(one.id), content=one.text, meta=dict(one.payload), embedding=vector
                )
                for one, vector in zip(documents, self.vectors(documents, dim), strict=True)
            ],
            DuplicatePolicy.OVERWRITE,
        )

    def read(self, query: str) -> list[Document]:
        from haystack_integrations.components.retrievers.weaviate import (
            WeaviateEmbeddingRetriever,
        )

        retriever = WeaviateEmbeddingRetriever(document_store=self.document_store(), top_k=100)
        found = retriever.run(self.query_vector(query))["documents"]
        return [Document(one.id, one.content or "", one.meta) for one in found]

    def document_store(self) -> Any:
        from haystack_integrations.document_stores.weaviate import WeaviateDocumentStore

        address = self.address
        store = WeaviateDocumentStore(
            url=f"http://{address['host']}:{address['port']}",
            grpc_port=address["grpc_port"],
            collection_settings={"class": self.name},
        )
        self.opened.append(store.client)
        return store


@pytest.mark.docker
def test_any_collection_with_a_text_property_can_be_searched(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    weaviate_client.collections.create(
        collection,
        properties=[Property(name="body", data_type=DataType.TEXT)],
        vector_config=Configure.Vectors.self_provided(name="mine"),
    )
    store = WeaviateStore(
        weaviate_client, collection, layout="langchain", dense="mine", text_key="body"
    )
    searcher = HybridSearcher(store, make_embedder())
    searcher.create(fields={"topic": "keyword", "when": "datetime"})
    payload = {"topic": "sea ports", "when": "2026-01-02T03:04:05Z", "floors": [1, 2]}

    searcher.add([replace(UUID_ADDED, payload=payload), WRITTEN[0]])

    by_topic = Filter.by_property("topic").equal("sea ports")
    [hit] = searcher.search("rivers", filter=by_topic)
    assert (hit.id, hit.text, hit.payload) == (UUID_ADDED.id, UUID_ADDED.text, payload)
    assert hit.ranks.keys() >= {"dense", "bm25"}
    with pytest.raises(InputError, match="did you mean 'topic'"):
        searcher.search("rivers", filter=Filter.by_property("topics").equal("x"))


@pytest.mark.docker
@pytest.mark.parametrize(
    ("changes", "code", "remedy"),
    [
        ({"distance": VectorDistances.L2_SQUARED}, "distance", "Make a new collection"),
        ({"vector": "mine"}, "dense", "dense=NAME"),
        ({"searchable": False}, "sparse", "index_searchable=True"),
    ],
)
def test_what_would_rank_wrongly_is_refused(
    changes: dict[str, Any],
    code: str,
    remedy: str,
    weaviate_client: WeaviateClient,
    collection: str,
) -> None:
    distance = changes.get("distance", VectorDistances.COSINE)
    made = {
        "class": collection,
        "vectorizer": "none",
        "vectorIndexConfig": {"distance": distance.value},
    }
    if "vector" in changes:
        made = {
            "class": collection,
            "vectorConfig": {"mine": {"vectorizer": {"none": {}}, "vectorIndexType": "hnsw"}},
        }
    text = {
        "name": "text",
        "dataType": ["text"],
        "indexSearchable": changes.get("searchable", True),
    }
    weaviate_client.collections.create_from_dict({**made, "properties": [text]})
    searcher = HybridSearcher(
        WeaviateStore(weaviate_client, collection, layout="langchain"), make_embedder()
    )

    [finding, _] = searcher.check_collection()

    assert (finding.code, finding.severity) == (code, "error")
    assert remedy in finding.remedy
    with pytest.raises(StoreError) as error:
        searcher.create(adopt=True)
    assert finding.message in str(error.value)


@pytest.mark.docker
def test_names_without_a_layout_are_refused(weaviate_client: WeaviateClient) -> None:
    with pytest.raises(InputError, match="pass `layout` too"):
        WeaviateStore(weaviate_client, "Documents", text_key="body")
    with pytest.raises(InputError, match="'langchain', 'llama-index', 'haystack'"):
        WeaviateStore(weaviate_client, "Documents", layout="langchian")
