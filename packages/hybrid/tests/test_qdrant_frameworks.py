"""Collections in Qdrant that the classes of LangChain, LlamaIndex and Haystack made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from qwen3_rag import InputError, InputTypeError, StoreError
from qwen3_rag.lexical import BM25Encoder, SparseVector
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantStore, Store, renew_bm25
from qwen3_rag_testkit.framework_contract import WRITTEN, FrameworkContract
from qwen3_rag_testkit.qdrant_server import QdrantServer
from qwen3_rag_testkit.store_corpus import make_embedder

NAME = "documents"
# The check runs on a thread that may outlive the server.
UNCHECKED: dict[str, Any] = {"check_compatibility": False}


class QdrantContract(FrameworkContract):
    layout: str
    package: str
    prefix = ""
    url: str
    client: QdrantClient

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        pytest.importorskip(self.package, reason=f"{self.package} is not installed")
        with QdrantServer() as server:
            self.url = server.url
            self.client = QdrantClient(url=server.url, **UNCHECKED)
            yield
            self.client.close()

    def open_store(self) -> Store:
        return QdrantStore(self.client, NAME, layout=self.layout)

    def equals(self, field: str, value: Any) -> Any:
        match = models.MatchValue(value=value)
        condition = models.FieldCondition(key=self.prefix + field, match=match)
        return models.Filter(must=[condition])


class TestLangChain(QdrantContract):
    layout = "langchain"
    package = "langchain_qdrant"
    prefix = "metadata."

    def write(self, documents: Sequence[Document], dim: int = 64) -> None:
        self.vector_store(dim).add_texts(
            [one.text for one in documents],
            [dict(one.payload) for one in documents],
            [str(one.id) for one in documents],
        )

    def read(self, query: str) -> list[Document]:
        found = self.vector_store(64).similarity_search(query, k=100)
        return [
            Document(
                one.metadata["_id"],
                one.page_content,
                {key: value for key, value in one.metadata.items() if key[0] != "_"},
            )
            for one in found
        ]

    def vector_store(self, dim: int) -> Any:
        from langchain_core.embeddings import Embeddings
        from langchain_qdrant import QdrantVectorStore

        outer = self

        class Given(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return outer.vectors([Document("x", text) for text in texts], dim)

            def embed_query(self, text: str) -> list[float]:
                return outer.query_vector(text)

        return QdrantVectorStore.construct_instance(
            Given(), client_options={"url": self.url, **UNCHECKED}, collection_name=NAME
        )

    def test_ids_are_taken_as_the_framework_returns_them(self) -> None:
        [made] = self.vector_store(64).add_texts(["Paris is a city."])
        searcher = HybridSearcher(self.open_store(), make_embedder())
        searcher.create(adopt=True)
        assert "-" not in made

        [point] = searcher.retrieve([made]).values()
        assert point.document == Document(str(UUID(made)), "Paris is a city.", {})
        searcher.delete([made])

        assert searcher.count() == 0

    def test_maximal_marginal_relevance_works_after_terms_are_added(self) -> None:
        searcher = self.adopted()
        renew_bm25(searcher.store)

        found = self.vector_store(64).max_marginal_relevance_search("capital", k=4)

        assert len(found) == len(WRITTEN)


class TestLlamaIndex(QdrantContract):
    layout = "llama-index"
    package = "llama_index.vector_stores.qdrant"

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
        from llama_index.vector_stores.qdrant import QdrantVectorStore

        return QdrantVectorStore(NAME, client=self.client, enable_hybrid=False)


class TestHaystack(QdrantContract):
    layout = "haystack"
    package = "haystack_integrations.document_stores.qdrant"
    prefix = "meta."
    sparse = True

    def write(self, documents: Sequence[Document], dim: int = 64) -> None:
        from haystack import Document as HaystackDocument

        self.document_store(dim).write_documents(
            [
                HaystackDocument(
                    id=str(one.id), content=one.text, meta=dict(one.payload), embedding=vector
                )
                for one, vector in zip(documents, self.vectors(documents, dim), strict=True)
            ]
        )

    def read(self, query: str) -> list[Document]:
        from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever

        retriever = QdrantEmbeddingRetriever(self.document_store(64), top_k=100)
        found = retriever.run(self.query_vector(query))["documents"]
        return [Document(one.id, one.content or "", one.meta) for one in found]

    def document_store(self, dim: int) -> Any:
        from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

        return QdrantDocumentStore(
            url=self.url,
            index=NAME,
            embedding_dim=dim,
            use_sparse_embeddings=self.sparse,
            progress_bar=False,
            client_kwargs=UNCHECKED,
        )

    def test_an_integer_id_is_refused(self) -> None:
        searcher = self.adopted()

        with pytest.raises(InputTypeError, match="Write '7'"):
            searcher.add([Document(7, "Seven.")])

        assert searcher.count() == len(WRITTEN)


class TestHaystackWithoutSparse(TestHaystack):
    sparse = False
    gets_terms = False

    def test_terms_are_refused_that_haystack_would_take_for_an_embedding(self) -> None:
        searcher = self.adopted()

        with pytest.raises(StoreError, match="use_sparse_embeddings=True"):
            renew_bm25(searcher.store)

        embeddings = [one.embedding for one in self.document_store(64).filter_documents()]
        assert [len(one) for one in embeddings] == [64] * len(WRITTEN)

    def test_the_framework_reads_a_collection_that_is_made_here(self) -> None:
        self.sparse = True
        super().test_the_framework_reads_a_collection_that_is_made_here()


class TestLlamaIndexHybrid(TestLlamaIndex):
    """Made for hybrid search: the dense vector has a name, and the sparse one another's terms."""

    def vector_store(self) -> Any:
        from llama_index.vector_stores.qdrant import QdrantVectorStore

        def encode(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
            return [[len(text)] for text in texts], [[1.0] for _ in texts]

        return QdrantVectorStore(
            NAME,
            client=self.client,
            enable_hybrid=True,
            sparse_doc_fn=encode,
            sparse_query_fn=encode,
        )


def langchain_collection(
    encode: Callable[[str], SparseVector],
    *,
    modifier: models.Modifier | None = models.Modifier.IDF,
    distance: models.Distance = models.Distance.COSINE,
    length: float = 1.0,
) -> QdrantClient:
    """Make a collection as langchain-qdrant does for hybrid search."""
    client = QdrantClient(":memory:")
    client.create_collection(
        NAME,
        vectors_config=models.VectorParams(size=64, distance=distance),
        sparse_vectors_config={"langchain-sparse": models.SparseVectorParams(modifier=modifier)},
    )
    vectors = make_embedder().embed_documents([one.text for one in WRITTEN]) * length
    terms = [encode(one.text) for one in WRITTEN]
    client.upsert(
        NAME,
        [
            models.PointStruct(
                id=str(one.id),
                vector={
                    "": vector.tolist(),
                    "langchain-sparse": models.SparseVector(
                        indices=sparse.indices.tolist(), values=sparse.values.tolist()
                    ),
                },
                payload={"page_content": one.text, "metadata": dict(one.payload)},
            )
            for one, vector, sparse in zip(WRITTEN, vectors, terms, strict=True)
        ],
    )
    return client


def searcher_over(client: QdrantClient, sparse: str | None = None) -> HybridSearcher:
    store = QdrantStore(client, NAME, layout="langchain", sparse=sparse)
    return HybridSearcher(store, make_embedder())


def ours(text: str) -> SparseVector:
    return BM25Encoder().encode_document(text)


def foreign(text: str) -> SparseVector:
    terms = ours(text)
    return SparseVector(terms.indices + np.uint32(1), terms.values)


def test_a_sparse_vector_of_our_terms_is_searched_if_it_is_named() -> None:
    client = langchain_collection(ours)
    searcher = searcher_over(client, sparse="langchain-sparse")

    searcher.create(adopt=True)

    assert searcher.check_collection() == []
    assert [hit.id for hit in searcher.search("E_4711") if "bm25" in hit.ranks] == [WRITTEN[2].id]


@pytest.mark.parametrize(
    ("encode", "options", "code", "remedy"),
    [
        (ours, {"modifier": None}, "idf", "update_collection"),
        (foreign, {}, "sparse", "leave `sparse=` out"),
        (ours, {"distance": models.Distance.DOT, "length": 3}, "distance", "Distance.COSINE"),
        (ours, {"distance": models.Distance.EUCLID}, "distance", "Distance.COSINE"),
    ],
)
def test_what_would_rank_wrongly_is_refused(
    encode: Callable[[str], SparseVector], options: dict[str, Any], code: str, remedy: str
) -> None:
    client = langchain_collection(encode, **options)
    searcher = searcher_over(client, sparse="langchain-sparse")

    findings = {one.code: one for one in searcher.check_collection()}

    assert findings.keys() == {code, "record"}
    assert remedy in findings[code].remedy
    with pytest.raises(StoreError) as error:
        searcher.create(adopt=True)
    assert findings[code].message in str(error.value)


def test_terms_that_were_added_to_some_documents_only_are_not_searched() -> None:
    client = langchain_collection(foreign)
    searcher = searcher_over(client)
    searcher.create(adopt=True)
    points = list(searcher.scan(vectors=True))[2:]
    made = [replace(one, sparse=ours(one.document.text)) for one in points]
    record = searcher.store.record()
    assert record is not None
    searcher.store.renew_terms(made, record)  # as if `renew_bm25` had been killed then

    again = searcher_over(client)
    assert not any("bm25" in hit.ranks for hit in again.search("E_4711"))
    assert [one.code for one in again.check_collection()] == ["sparse"]
    assert renew_bm25(again.store) == len(WRITTEN)
    assert searcher_over(client).search("Bread")[0].ranks["bm25"].rank == 1


def test_names_can_be_given_one_by_one() -> None:
    client = QdrantClient(":memory:")
    store = QdrantStore(
        client, NAME, dense="", text_key="source.body", id_key="key", payload_key="more"
    )
    searcher = HybridSearcher(store, make_embedder())
    searcher.create()

    searcher.add([Document("a", "Paris is a city.", {"text": 1, "key": "mine"})])

    [stored] = client.scroll(NAME)[0]
    assert stored.payload == {
        "source": {"body": "Paris is a city."},
        "key": "a",
        "more": {"text": 1, "key": "mine"},
    }
    [hit] = searcher.search("city")
    assert (hit.id, hit.text, hit.payload) == ("a", "Paris is a city.", {"text": 1, "key": "mine"})


def test_a_text_inside_the_payload_leaves_the_rest_of_it() -> None:
    client = QdrantClient(":memory:")
    store = QdrantStore(client, NAME, text_key="metadata.body")
    searcher = HybridSearcher(store, make_embedder())
    searcher.create()
    document = Document("a", "Paris is a city.", {"metadata": {"topic": "cities"}, "year": 1})

    searcher.add([document])

    [stored] = client.scroll(NAME)[0]
    assert stored.payload is not None
    assert stored.payload["metadata"] == {"topic": "cities", "body": "Paris is a city."}
    assert [point.document for point in searcher.scan()] == [document]
    for taken in ({"metadata": {"body": "mine"}}, {"metadata": 5}):
        with pytest.raises(InputError, match="'metadata'"):
            searcher.add([Document("b", "Berlin.", taken)])


def test_an_unknown_layout_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"'langchain', 'llama-index', 'haystack'.*'llamaindex'"):
        QdrantStore(QdrantClient(":memory:"), NAME, layout="llamaindex")
