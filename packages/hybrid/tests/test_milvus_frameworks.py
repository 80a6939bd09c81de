"""Collections in Milvus Lite that the classes of LangChain, LlamaIndex and Haystack made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen3_rag import InputError, InputTypeError, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, Store, renew_bm25
from qwen3_rag_testkit.framework_contract import ADDED, CAPITAL, WRITTEN, FrameworkContract
from qwen3_rag_testkit.store_corpus import make_embedder

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
lite = pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from qwen3_rag_hybrid import MilvusStore  # noqa: E402  # needs pymilvus

NAME = "documents"
SPARSE_INDEX = {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"}


class MilvusContract(FrameworkContract):
    layout: str
    package: str
    gets_terms = False
    makes_terms = False
    uri: str
    client: Any

    @pytest.fixture(autouse=True)
    def _client(self, tmp_path: Path) -> Iterator[None]:
        pytest.importorskip(self.package, reason=f"{self.package} is not installed")
        self.uri = str(tmp_path / "milvus.db")
        self.client = pymilvus.MilvusClient(self.uri)
        yield
        self.client.close()
        lite.server_manager_instance.release_server(self.uri)

    def open_store(self) -> Store:
        return MilvusStore(self.client, NAME, layout=self.layout)

    def equals(self, field: str, value: Any) -> Any:
        return f'{field} == "{value}"' if isinstance(value, str) else f"{field} == {value}"

    def test_terms_are_refused_before_anything_is_read(self) -> None:
        searcher = self.adopted()

        with pytest.raises(StoreError, match="cannot add BM25"):
            renew_bm25(searcher.store)

    def test_scores_are_cosines_whatever_the_metric(self) -> None:
        searcher = self.adopted()
        vectors = np.asarray(self.vectors(WRITTEN))
        cosines = vectors @ np.asarray(self.query_vector(CAPITAL))

        found = {hit.id: hit.ranks["dense"].score for hit in searcher.search(CAPITAL)}

        expected = {
            one.id: pytest.approx(cosine, abs=1e-5)
            for one, cosine in zip(WRITTEN, cosines, strict=True)
        }
        assert found == expected


class TestLangChain(MilvusContract):
    layout = "langchain"
    package = "langchain_milvus"
    options: Mapping[str, Any] = {"enable_dynamic_field": True}

    def write(self, documents: Sequence[Document], dim: int = 64) -> None:
        self.vector_store(dim).add_texts(
            [one.text for one in documents],
            [dict(one.payload) for one in documents],
            ids=[str(one.id) for one in documents],
        )

    def read(self, query: str) -> list[Document]:
        found = self.vector_store(64).similarity_search_by_vector(self.query_vector(query), k=100)
        return [self.document_of(one.page_content, one.metadata) for one in found]

    def document_of(self, text: str, metadata: dict[str, Any]) -> Document:
        metadata.pop("sparse", None)  # a server does not give it back, Milvus Lite does
        return Document(metadata.pop("pk"), text, metadata)

    def vector_store(self, dim: int) -> Any:
        from langchain_core.embeddings import Embeddings
        from langchain_milvus import Milvus

        outer = self

        class Given(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return outer.vectors([Document("x", text) for text in texts], dim)

            def embed_query(self, text: str) -> list[float]:
                return outer.query_vector(text)

        return Milvus(
            Given(),
            collection_name=NAME,
            connection_args={"uri": self.uri},
            consistency_level="Strong",
            **self.options,
        )

    def test_ids_that_milvus_makes_are_used_for_all_but_adding(self) -> None:
        from langchain_milvus import Milvus

        store = self.vector_store(64)
        store = Milvus(
            store.embeddings,
            collection_name=NAME,
            connection_args={"uri": self.uri},
            auto_id=True,
            **self.options,
        )
        store.add_texts([one.text for one in WRITTEN], [dict(one.payload) for one in WRITTEN])
        searcher = HybridSearcher(self.open_store(), make_embedder())
        searcher.create(adopt=True)

        best = searcher.search(WRITTEN[1].text)[0]

        assert isinstance(best.id, int)
        assert best.text == WRITTEN[1].text
        with pytest.raises(StoreError, match="auto_id"):
            searcher.add([Document(7, "Seven.")])
        with pytest.raises(InputTypeError, match="of the type int"):
            searcher.delete(["7"])
        searcher.delete([best.id])
        assert searcher.count() == len(WRITTEN) - 1


class TestLangChainColumns(TestLangChain):
    """The default: a field of the schema for each key of the first document's metadata."""

    options: Mapping[str, Any] = {}

    def test_the_framework_reads_a_collection_that_is_made_here(self) -> None:
        pytest.skip("LangChain reads dynamic fields with `enable_dynamic_field=True` only")

    def test_a_new_field_of_the_metadata_is_refused(self) -> None:
        searcher = self.adopted()

        with pytest.raises(StoreError, match="author"):
            searcher.add([Document("new", "New.", {"topic": "x", "year": 1, "author": "me"})])


class TestLangChainBM25(TestLangChain):
    """With Milvus's own BM25 function over the text."""

    own_bm25 = True

    def vector_store(self, dim: int) -> Any:
        from langchain_milvus import BM25BuiltInFunction

        self.options = {
            "enable_dynamic_field": True,
            "builtin_function": BM25BuiltInFunction(),
            "vector_field": ["vector", "sparse"],
            "index_params": [{"index_type": "FLAT", "metric_type": "L2"}, SPARSE_INDEX],
        }
        return super().vector_store(dim)

    def read(self, query: str) -> list[Document]:
        from langchain_milvus import Milvus

        embeddings = self.vector_store(64).embeddings
        store = Milvus(
            embeddings[0] if isinstance(embeddings, list) else embeddings,
            collection_name=NAME,
            connection_args={"uri": self.uri},
            consistency_level="Strong",
            enable_dynamic_field=True,
        )
        found = store.similarity_search_by_vector(self.query_vector(query), k=100)
        return [self.document_of(one.page_content, one.metadata) for one in found]

    def test_ids_that_milvus_makes_are_used_for_all_but_adding(self) -> None:
        pytest.skip("the same as without BM25")


class TestLlamaIndex(MilvusContract):
    layout = "llama-index"
    package = "llama_index.vector_stores.milvus"

    def write(self, documents: Sequence[Document], dim: int = 64) -> None:
        from llama_index.core.schema import TextNode

        self.vector_store(dim).add(
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
        found = self.vector_store(64).query(wanted).nodes
        return [Document(one.node_id, one.get_content(), one.metadata) for one in found]

    def vector_store(self, dim: int, **options: Any) -> Any:
        from llama_index.vector_stores.milvus import MilvusVectorStore

        return MilvusVectorStore(
            self.uri,
            collection_name=NAME,
            dim=dim,
            consistency_level="Strong",
            upsert_mode=True,
            use_async_client=False,
            **options,
        )


class TestLlamaIndexBM25(TestLlamaIndex):
    """With Milvus's own BM25 function over the text."""

    own_bm25 = True

    def vector_store(self, dim: int, **options: Any) -> Any:
        from llama_index.vector_stores.milvus.utils import BM25BuiltInFunction

        bm25 = BM25BuiltInFunction()
        return super().vector_store(dim, enable_sparse=True, sparse_embedding_function=bm25)


class TestHaystack(MilvusContract):
    layout = "haystack"
    package = "milvus_haystack"

    def write(self, documents: Sequence[Document], dim: int = 64) -> None:
        from haystack import Document as HaystackDocument

        self.document_store().write_documents(
            [
                HaystackDocument(
                    id=str(one.id), content=one.text, meta=dict(one.payload), embedding=vector
                )
                for one, vector in zip(documents, self.vectors(documents, dim), strict=True)
            ]
        )

    def read(self, query: str) -> list[Document]:
        from milvus_haystack.milvus_embedding_retriever import MilvusEmbeddingRetriever

        retriever = MilvusEmbeddingRetriever(document_store=self.document_store(), top_k=100)
        found = retriever.run(self.query_vector(query))["documents"]
        for one in found:
            one.meta.pop("sparse_vector", None)  # a server does not give it back, Milvus Lite does
        return [Document(one.id, one.content or "", one.meta) for one in found]

    def document_store(self) -> Any:
        from milvus_haystack import MilvusDocumentStore

        return MilvusDocumentStore(
            collection_name=NAME,
            connection_args={"uri": self.uri},
            consistency_level="Strong",
        )

    def test_an_integer_id_is_refused(self) -> None:
        searcher = self.adopted()

        with pytest.raises(InputTypeError, match="of the type str"):
            searcher.add([Document(7, "Seven."), ADDED])

        assert searcher.count() == len(WRITTEN)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    uri = str(tmp_path / "milvus.db")
    made = pymilvus.MilvusClient(uri)
    yield made
    made.close()
    lite.server_manager_instance.release_server(uri)


def make_langchain(client: Any, metric: str, length: float) -> HybridSearcher:
    """Make a collection as langchain-milvus does, with vectors of a length."""
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("text", pymilvus.DataType.VARCHAR, max_length=65_535)
    schema.add_field("pk", pymilvus.DataType.VARCHAR, is_primary=True, max_length=65_535)
    schema.add_field("vector", pymilvus.DataType.FLOAT_VECTOR, dim=64)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type=metric)
    client.create_collection(NAME, schema=schema, index_params=index)
    vectors = make_embedder().embed_documents([one.text for one in WRITTEN]) * length
    rows = [
        {"pk": str(one.id), "text": one.text, "vector": vector.tolist(), **one.payload}
        for one, vector in zip(WRITTEN, vectors, strict=True)
    ]
    client.insert(NAME, rows)
    return HybridSearcher(MilvusStore(client, NAME, layout="langchain"), make_embedder())


@pytest.mark.parametrize("metric", ["IP", "L2"])
def test_vectors_of_other_lengths_are_refused_and_the_remedy_works(
    client: Any, metric: str
) -> None:
    searcher = make_langchain(client, metric, 3)

    findings = {one.code: one for one in searcher.check_collection()}
    assert findings.keys() == {"distance", "record"}
    assert "make one with the metric COSINE" in findings["distance"].remedy
    with pytest.raises(StoreError, match="length 3 and not 1"):
        searcher.create(adopt=True)

    client.release_collection(NAME)
    client.drop_index(NAME, "vector")
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="COSINE")
    client.create_index(NAME, index)
    client.load_collection(NAME)
    searcher.create(adopt=True)
    best = searcher.search(WRITTEN[0].text)[0]
    assert best.id == WRITTEN[0].id
    assert best.ranks["dense"].score > 0.8


def test_searches_among_ids_of_any_characters(client: Any) -> None:
    ids = ["ü/é", "\U0001f680", "'; \"--\\", "a\nb"]
    searcher = make_langchain(client, "COSINE", 1)
    searcher.create(adopt=True)
    searcher.add([Document(id_, "text") for id_ in [*ids, "other"]])

    assert {hit.id for hit in searcher.search("text", ids=ids)} == {*ids}
    assert {*searcher.retrieve(ids)} == {*ids}
    searcher.delete([*ids, "x', 'other"])
    assert {*searcher.retrieve([*ids, "other"])} == {"other"}


def test_other_names_are_given_or_found_missing(client: Any) -> None:
    make_langchain(client, "L2", 1)
    store = MilvusStore(client, NAME, layout="langchain", text_key="body", primary_key="id")

    messages = [one.remedy for one in HybridSearcher(store, make_embedder()).check_collection()]

    assert "primary_key=NAME" in messages[0]
    assert "text_key=NAME" in messages[1]
    with pytest.raises(InputError, match="'langchain', 'llama-index', 'haystack'"):
        MilvusStore(client, NAME, layout="langchian")
    with pytest.raises(InputError, match="Leave `id_key` and `terms_key` out"):
        MilvusStore(client, NAME, layout="langchain", terms_key="terms")
