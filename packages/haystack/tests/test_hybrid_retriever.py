"""`Qwen3HybridRetriever`: two retrievers of a store, fused and reranked, with ranks."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from haystack import Document
from haystack.components.retrievers import MultiQueryTextRetriever
from haystack.components.retrievers.types import TextRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.retrievers.qdrant import (
    QdrantEmbeddingRetriever,
    QdrantSparseEmbeddingRetriever,
)
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore
from qdrant_client import QdrantClient, models

from haystack_integrations.components.embedders.qwen3_rag import (
    BM25SparseDocumentEmbedder,
    BM25SparseTextEmbedder,
    Qwen3DocumentEmbedder,
    Qwen3TextEmbedder,
)
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from haystack_integrations.components.retrievers.qwen3_rag import Qwen3HybridRetriever
from qwen3_rag import (
    BackendError,
    InputError,
    InputTypeError,
    ModelError,
    Qwen3Embedder,
    Qwen3Reranker,
)
from qwen3_rag.fusion import DEFAULT_FUSION, fuse
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend
from qwen3_rag_testkit.loops import SlowBackend, keeps_ticking

QUERY = "capital of France"

Store = InMemoryDocumentStore | QdrantDocumentStore


def text_embedder() -> Qwen3TextEmbedder:
    return Qwen3TextEmbedder("test/embedder", backend=TextBackend(dim=64))


def corpus() -> list[Document]:
    countries = ["France", "Germany", "Japan", "Peru", "Kenya", "Norway"]
    documents = [
        Document(
            id=f"c{number}",
            content=f"The capital of {name}\nis a city.",
            meta={"page": number, "long": len(name) > 5},
        )
        for number, name in enumerate(countries)
    ]
    return [*documents, Document(id="odd", content="🦊 ?!", meta={"page": 99, "long": False})]


def indexed(documents: list[Document]) -> list[Document]:
    embedded = Qwen3DocumentEmbedder("test/embedder", backend=TextBackend(dim=64)).run(documents)[
        "documents"
    ]
    return list(BM25SparseDocumentEmbedder().run(embedded)["documents"])


def qdrant(**settings: Any) -> QdrantDocumentStore:
    defaults: dict[str, Any] = {
        "embedding_dim": 64,
        "use_sparse_embeddings": True,
        "sparse_idf": True,
        "progress_bar": False,
    }
    return QdrantDocumentStore(":memory:", **{**defaults, **settings})


class SlowStore(InMemoryDocumentStore):
    """Takes a second for each dense retrieval."""

    def embedding_retrieval(self, *args: Any, **settings: Any) -> list[Document]:
        time.sleep(1)
        return super().embedding_retrieval(*args, **settings)


@pytest.fixture(params=["memory", "qdrant"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A filled store, once per kind."""
    made: Store = InMemoryDocumentStore() if request.param == "memory" else qdrant()
    made.write_documents(indexed(corpus()))
    yield made
    if isinstance(made, QdrantDocumentStore):
        made.close()


def retriever(store: Any, **settings: Any) -> Qwen3HybridRetriever:
    return Qwen3HybridRetriever(store, text_embedder(), **settings)


def ranker(**settings: Any) -> Qwen3Ranker:
    return Qwen3Ranker("test/reranker", backend=TextBackend(), **settings)


def ids(result: dict[str, Any]) -> list[str]:
    return [document.id for document in result["documents"]]


def test_the_right_document_is_first_and_whole(store: Store) -> None:
    best = retriever(store).run(QUERY)["documents"][0]

    assert (best.id, best.content) == ("c0", "The capital of France\nis a city.")
    assert best.meta["page"] == 0
    assert best.meta["search_ranks"]["dense"]["rank"] == 1
    assert best.meta["search_ranks"]["bm25"]["rank"] == 1
    assert best.meta["search_ranks"]["fused"] == {"rank": 1, "score": best.score}
    assert type(best.score) is float


def test_a_document_has_no_rank_from_a_retriever_that_missed_it() -> None:
    store = qdrant()
    store.write_documents(indexed(corpus()))

    [odd] = [hit for hit in retriever(store).run(QUERY)["documents"] if hit.id == "odd"]

    assert odd.meta["search_ranks"].keys() == {"dense", "fused"}
    store.close()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"fusion": "rrf"},
        {"fusion": "rrf", "k": 5},
        {"weights": {"bm25": 3}},
        {"weights": {"dense": 0.0}},
    ],
)
def test_the_order_is_the_cores_fusion_of_the_stores_own_retrievers(
    settings: dict[str, Any],
) -> None:
    store = qdrant()
    store.write_documents(indexed(corpus()))
    embedding = text_embedder().run(QUERY)["embedding"]
    sparse = BM25SparseTextEmbedder().run(QUERY)["sparse_embedding"]
    dense = QdrantEmbeddingRetriever(store).run(embedding, top_k=100)["documents"]
    bm25 = QdrantSparseEmbeddingRetriever(store).run(sparse, top_k=100)["documents"]
    core = {"method": settings.get("fusion", DEFAULT_FUSION), **settings}
    core.pop("fusion", None)
    expected = fuse(
        {
            "dense": [(document.id, document.score or 0.0) for document in dense],
            "bm25": [(document.id, document.score or 0.0) for document in bm25],
        },
        **core,
    )

    found = retriever(store, **settings).run(QUERY)["documents"]

    assert [(hit.id, hit.score) for hit in found] == [(one.id, one.score) for one in expected]
    for hit, one in zip(found, expected, strict=True):
        ranks = {
            k: (v["rank"], v["score"]) for k, v in hit.meta["search_ranks"].items() if k != "fused"
        }
        assert ranks == {name: (place.rank, place.score) for name, place in one.ranks.items()}
    store.close()


def test_the_ranker_reads_the_best_and_the_rest_follow(store: Store) -> None:
    fused = ids(retriever(store).run(QUERY))
    reads_three = retriever(store, ranker=ranker(top_k=1), rerank_depth=3)

    found = reads_three.run(QUERY)["documents"]

    assert {hit.id for hit in found[:3]} == set(fused[:3])
    assert [hit.id for hit in found[3:]] == fused[3:]
    assert [hit.meta["search_ranks"]["rerank"] for hit in found[:3]] == [
        {"rank": rank, "score": hit.score} for rank, hit in enumerate(found[:3], 1)
    ]
    assert all("rerank" not in hit.meta["search_ranks"] for hit in found[3:])
    expected = ranker().run(QUERY, [hit for hit in corpus() if hit.id in fused[:3]])["documents"]
    assert [(hit.id, hit.score) for hit in found[:3]] == [(hit.id, hit.score) for hit in expected]


def test_a_depth_of_zero_leaves_the_ranker_out(store: Store) -> None:
    plain = retriever(store).run(QUERY)

    assert retriever(store, ranker=ranker(), rerank_depth=0).run(QUERY) == plain


def test_a_threshold_leaves_out_what_was_not_judged(store: Store) -> None:
    strict = retriever(store, ranker=ranker(score_threshold=0.0), rerank_depth=2)

    assert len(strict.run(QUERY)["documents"]) == 2


def test_a_score_at_the_threshold_is_enough(store: Store) -> None:
    [best, *_] = retriever(store, ranker=ranker()).run(QUERY)["documents"]
    exact = ranker(score_threshold=best.score)

    assert ids(retriever(store, ranker=exact).run(QUERY)) == [best.id]


def test_the_rankers_arguments_count(store: Store) -> None:
    arguments: dict[str, Any] = {
        "scale_score": False,
        "score_threshold": 3.0,
        "meta_fields_to_embed": ["page"],
        "embedding_separator": " | ",
    }
    candidates = [document for document in corpus() if document.id != "odd"]
    expected = ranker(**arguments).run(QUERY, candidates)["documents"]
    assert 0 < len(expected) < len(candidates)

    found = retriever(store, ranker=ranker(**arguments)).run(QUERY)["documents"]

    assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in expected]


def test_top_k_cuts_after_reranking(store: Store) -> None:
    full = retriever(store, ranker=ranker())

    assert ids(full.run(QUERY, top_k=2)) == ids(full.run(QUERY))[:2]
    assert ids(retriever(store, ranker=ranker(), top_k=2).run(QUERY)) == ids(full.run(QUERY))[:2]


def test_filters_hold_for_both_retrievers_and_those_of_the_call_replace_or_join(
    store: Store,
) -> None:
    late = {"field": "meta.page", "operator": ">=", "value": 3}
    short = {"field": "meta.long", "operator": "==", "value": False}

    replacing = retriever(store, filters=late)
    merging = retriever(store, filters=late, filter_policy="merge")

    assert set(ids(replacing.run(QUERY))) == {"c3", "c4", "c5", "odd"}
    assert set(ids(replacing.run(QUERY, short))) == {"c2", "c3", "c4", "odd"}
    assert set(ids(merging.run(QUERY, short))) == {"c3", "c4", "odd"}


def test_the_stores_own_filter_is_taken() -> None:
    store = qdrant()
    store.write_documents(indexed(corpus()))
    only = models.Filter(
        must=[models.FieldCondition(key="meta.page", match=models.MatchValue(value=4))]
    )

    assert ids(retriever(store).run(QUERY, only)) == ["c4"]
    store.close()


def test_a_query_without_terms_is_answered_by_dense_retrieval_alone() -> None:
    store = qdrant()
    store.write_documents(indexed(corpus()))

    component = retriever(store, weights={"bm25": 2})
    found = component.run("🦊 ?!")["documents"]

    assert found[0].id == "odd"
    assert all(hit.meta["search_ranks"].keys() == {"dense", "fused"} for hit in found)
    store.close()


def test_the_instruction_reaches_both_models_from_component_and_call() -> None:
    store = InMemoryDocumentStore()
    embedder = Qwen3Embedder("m/e", backend=DeterministicBackend("embedding"))
    reranker = Qwen3Reranker("m/r", backend=DeterministicBackend("reranking"))
    documents = Qwen3DocumentEmbedder.from_embedder(embedder).run(corpus())["documents"]
    store.write_documents(documents)
    parts: dict[str, Any] = {
        "text_embedder": Qwen3TextEmbedder.from_embedder(embedder),
        "ranker": Qwen3Ranker.from_reranker(reranker),
    }
    plain = Qwen3HybridRetriever(store, **parts)
    laws = Qwen3HybridRetriever(store, instruction="Find laws", **parts)
    [vector] = embedder.embed_queries([QUERY], instruction="Find laws")

    found = laws.run(QUERY)

    assert found == plain.run(QUERY, instruction="Find laws") != plain.run(QUERY)
    best = found["documents"][0]
    assert [best.score] == reranker.score([(QUERY, best.content)], instruction="Find laws")
    [stored] = [document for document in documents if document.id == best.id]
    similarity = sum(a * b for a, b in zip(vector.tolist(), stored.embedding, strict=True))
    assert best.meta["search_ranks"]["dense"]["score"] == pytest.approx(similarity, abs=1e-5)


async def test_async_is_sync() -> None:
    store = InMemoryDocumentStore()
    store.write_documents(indexed(corpus()))
    both = retriever(store, ranker=ranker(), rerank_depth=3)
    settings: dict[str, Any] = {
        "filters": {"field": "meta.page", "operator": ">", "value": 0},
        "top_k": 3,
        "instruction": "Find laws",
    }

    assert await both.run_async(QUERY) == both.run(QUERY)
    assert await both.run_async(QUERY, **settings) == both.run(QUERY, **settings)
    assert await retriever(store).run_async(QUERY) == retriever(store).run(QUERY)
    store.shutdown()


async def test_qdrant_is_asked_through_its_async_client() -> None:
    written, sync = qdrant(), qdrant()
    documents = indexed(corpus())
    sync.write_documents(documents)
    await written.write_documents_async(documents)
    component = retriever(written, ranker=ranker())

    assert await component.run_async(QUERY) == retriever(sync, ranker=ranker()).run(QUERY)

    await component.close_async()
    assert await written.count_documents_async() == 0  # what it held went with its client
    sync.close()


async def test_an_empty_store_gives_no_documents() -> None:
    store = qdrant()
    component = retriever(store, ranker=ranker())

    assert component.run(QUERY) == {"documents": []}
    assert await component.run_async(QUERY) == {"documents": []}
    component.close()
    await component.close_async()


@pytest.mark.parametrize(
    "slow",
    [
        {"text_embedder": Qwen3TextEmbedder("m", backend=SlowBackend(dim=64))},
        {"ranker": Qwen3Ranker("m", backend=SlowBackend())},
    ],
    ids=["embedder", "ranker"],
)
async def test_the_event_loop_keeps_ticking(slow: dict[str, Any]) -> None:
    store = InMemoryDocumentStore()
    store.write_documents(indexed(corpus()))
    component = Qwen3HybridRetriever(store, **{"text_embedder": text_embedder(), **slow})

    await keeps_ticking(component.run_async(QUERY))

    component.close()
    store.shutdown()


async def test_the_event_loop_keeps_ticking_while_a_store_answers() -> None:
    store = SlowStore()
    await store.write_documents_async(indexed(corpus()))
    component = retriever(store)

    await keeps_ticking(component.run_async(QUERY))

    component.close()
    store.shutdown()


def test_documents_in_the_store_are_not_changed() -> None:
    store = InMemoryDocumentStore()
    store.write_documents(indexed(corpus()))
    before = copy.deepcopy(store.filter_documents())

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Haystack warns of changes in place
        retriever(store, ranker=ranker()).run(QUERY)

    assert store.filter_documents() == before


def test_closing_closes_models_and_store() -> None:
    store = qdrant()
    store.write_documents(indexed(corpus()))
    component = retriever(store, ranker=ranker())
    assert component.text_embedder is not None
    assert component.ranker is not None
    embedder, reranker = component.text_embedder.get_model(), component.ranker.get_model()
    component.run(QUERY)

    component.close()

    assert store.count_documents() == 0  # what it held went with its client
    with pytest.raises(BackendError, match="was closed"):
        embedder.embed_queries([QUERY])
    with pytest.raises(BackendError, match="was closed"):
        reranker.score([(QUERY, "a")])
    store.close()


@pytest.mark.parametrize("missing", ["text_embedder", "ranker"])
async def test_models_are_loaded_before_the_first_query(missing: str) -> None:
    kind = {"text_embedder": Qwen3TextEmbedder, "ranker": Qwen3Ranker}[missing]
    component = Qwen3HybridRetriever(
        InMemoryDocumentStore(),
        **{"text_embedder": text_embedder(), missing: kind("/nowhere")},
    )

    with pytest.raises(ModelError, match="/nowhere"):
        component.warm_up()
    with pytest.raises(ModelError, match="/nowhere"):
        await component.warm_up_async()
    component.close()
    await component.close_async()


def test_it_is_a_text_retriever_for_others(store: Store) -> None:
    component: TextRetriever = retriever(store)

    found = MultiQueryTextRetriever(retriever=component).run(
        [QUERY, "capital of Peru"], {"top_k": 1}
    )

    assert set(ids(found)) == {"c0", "c3"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": 0}, "`top_k` must be at least 1"),
        ({"top_k": 201}, "Make the retriever with `candidates=201`"),
        ({"top_k": None}, "`top_k` must be a whole number, got None"),
        ({"candidates": 0}, "`candidates` must be at least 1"),
        ({"candidates": None}, "`candidates` must be a whole number, got None"),
        ({"rerank_depth": None}, "`rerank_depth` must be a whole number, got None"),
        ({"weights": ["dense"]}, "`weights` must map retrievers to numbers"),
        ({"rerank_depth": -1}, "`rerank_depth` must be at least 0"),
        ({"fusion": "sum"}, "`method` must be one of"),
        ({"k": -1}, "`k` must be zero or more"),
        ({"weights": {"sparse": 1}}, "names 'sparse'"),
        ({"instruction": " "}, "`instruction` is empty"),
        ({"filter_policy": "both"}, "Unknown FilterPolicy"),
        ({"ranker": "tiny"}, "`ranker` must be a Qwen3Ranker, got 'tiny'"),
        ({"text_embedder": None}, "`text_embedder` must be a Qwen3TextEmbedder, got None"),
    ],
)
def test_a_wrong_setting_is_refused_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Qwen3HybridRetriever(
            InMemoryDocumentStore(), **{"text_embedder": Qwen3TextEmbedder(), **settings}
        )


def test_a_wrong_request_is_refused(store: Store) -> None:
    component = retriever(store)

    with pytest.raises(InputError, match="`top_k` must be at least 1"):
        component.run(QUERY, top_k=0)
    with pytest.raises(InputError, match=r"`top_k` is 201, .*`candidates=201`"):
        component.run(QUERY, top_k=201)
    with pytest.raises(InputError, match="empty or only white space"):
        component.run(" ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_sparse_embeddings": False}, "use_sparse_embeddings=False"),
        ({"sparse_idf": False}, "sparse_idf=False"),
        ({"similarity": "l2"}, "similarity='l2', where less is better"),
    ],
)
def test_a_qdrant_store_without_what_is_needed_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        retriever(qdrant(**settings))


def test_another_store_is_refused_and_a_way_named() -> None:
    with pytest.raises(InputTypeError, match=r"got QdrantClient\. .*DocumentJoiner"):
        retriever(QdrantClient(":memory:"))
