"""What a user of the searcher notices, on every store that runs here."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import qdrant_edge as edge
from qdrant_client import models

from qwen3_rag import (
    Hit,
    InputError,
    InputTypeError,
    Qwen3Embedder,
    Qwen3Reranker,
    Searcher,
    StoreError,
)
from qwen3_rag_hybrid import Document, HybridSearcher
from qwen3_rag_testkit.backends import TextBackend
from qwen3_rag_testkit.contracts import ticks_during

MakeSearcher = Callable[..., HybridSearcher]
DOCUMENTS = [
    Document("france", "Paris is the capital of France.", {"path": "a.md", "year": 1789}),
    Document("germany", "Berlin is the capital of Germany.", {"path": "b.md", "year": 1990}),
    Document("korea", "서울은 대한민국의 수도이다. 검색은 빠르다.", {"path": "c.md", "year": 1945}),
    Document(7, "The error E_4711 means that the disk is full.", {"path": "d.md", "tags": ["x"]}),
    Document("https://example.org/ü?q=1", "Bread is baked from flour.", {"path": "a.md"}),
    Document("empty", "", {"path": "e.md"}),
    Document("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "Rivers flow into the sea.\n\nAlways."),
]
CAPITAL = "What is the capital of France?"


def reranker() -> Qwen3Reranker:
    return Qwen3Reranker("test/reranker", backend=TextBackend("reranking"))


@pytest.fixture
def filled(make: MakeSearcher) -> HybridSearcher:
    """A searcher over a collection with `DOCUMENTS`."""
    searcher = make()
    searcher.create(fields={"path": "keyword", "year": "integer"})
    searcher.add(DOCUMENTS)
    return searcher


def ids(hits: list[Hit]) -> list[str | int]:
    return [hit.id for hit in hits]


def path_is(searcher: HybridSearcher, value: str, key: str = "path") -> Any:
    if type(searcher.legs).__name__ == "QdrantEdgeStore":
        return edge.Filter(must=[edge.FieldCondition(key, edge.MatchValue(value))])
    match = models.MatchValue(value=value)
    return models.Filter(must=[models.FieldCondition(key=key, match=match)])


def test_a_hit_tells_where_each_leg_put_it(filled: HybridSearcher) -> None:
    best = filled.search(CAPITAL)[0]

    assert isinstance(filled, Searcher)
    assert (best.id, best.text) == ("france", "Paris is the capital of France.")
    assert best.payload == {"path": "a.md", "year": 1789}
    assert list(best.legs) == ["dense", "lexical", "fused"]
    assert [leg.rank for leg in best.legs.values()] == [1, 1, 1]
    assert best.score == best.legs["fused"].score == pytest.approx(2 / 61)


def test_each_leg_finds_what_the_other_cannot(filled: HybridSearcher) -> None:
    code = {hit.id: hit for hit in filled.search("E_4711")}
    korean = {hit.id: hit for hit in filled.search("검색")}

    assert code[7].legs["lexical"].rank == 1
    assert korean["korea"].legs["lexical"].rank == 1  # a word within a word
    assert "lexical" not in korean["empty"].legs


def test_a_query_without_any_word_still_searches_by_meaning(filled: HybridSearcher) -> None:
    hits = filled.search("?!")

    assert len(hits) == len(DOCUMENTS)
    assert all("lexical" not in hit.legs for hit in hits)


def test_every_document_comes_back_as_it_was_given(filled: HybridSearcher) -> None:
    stored = {point.document.id: point.document for point in filled.scan()}

    assert stored == {document.id: document for document in DOCUMENTS}
    assert filled.count() == len(DOCUMENTS)
    looked_up = filled.retrieve([7, "nobody", "empty"], vectors=True)
    assert set(looked_up) == {7, "empty"}
    assert looked_up[7].dense is not None
    assert looked_up[7].dense.shape == (64,)
    assert looked_up[7].lexical is not None
    assert looked_up[7].lexical.as_dict() == pytest.approx(
        filled.encoder.encode_document(DOCUMENTS[3].text).as_dict(), rel=1e-6
    )


def test_adding_again_changes_nothing_and_a_new_text_replaces_the_old(
    filled: HybridSearcher,
) -> None:
    before = filled.search(CAPITAL)

    assert filled.add(DOCUMENTS, batch_size=2) == len(DOCUMENTS)
    assert ids(filled.search(CAPITAL)) == ids(before)
    filled.add([Document("france", "Lyon is a city.", {"path": "z.md"})])
    [found] = filled.retrieve(["france"]).values()
    assert found.document == Document("france", "Lyon is a city.", {"path": "z.md"})
    assert filled.count() == len(DOCUMENTS)


def test_of_two_documents_with_one_id_the_last_counts(make: MakeSearcher) -> None:
    searcher = make()
    searcher.create()

    searcher.add([Document("a", "first"), Document("b", "other"), Document("a", "last")])

    assert searcher.count() == 2
    assert searcher.retrieve(["a"])["a"].document.text == "last"


def test_deleted_documents_are_gone(filled: HybridSearcher) -> None:
    filled.delete(["france", "nobody"])
    filled.delete([])

    assert "france" not in ids(filled.search(CAPITAL))
    assert filled.count() == len(DOCUMENTS) - 1


def test_pages_are_cut_from_one_order(filled: HybridSearcher) -> None:
    everything = filled.search(CAPITAL, limit=7)

    pages = [filled.search(CAPITAL, limit=2, offset=offset) for offset in (0, 2, 4, 6)]

    assert [hit for page in pages for hit in page] == everything
    assert filled.search(CAPITAL, limit=3, offset=50) == []


def test_a_filter_holds_for_both_legs(filled: HybridSearcher) -> None:
    filter = path_is(filled, "a.md")

    assert set(ids(filled.search(CAPITAL, filter=filter))) == {
        *("france", "https://example.org/ü?q=1")
    }
    assert filled.count(filter=filter) == 2
    assert len(list(filled.scan(filter=filter))) == 2


def test_a_filter_on_an_unknown_field_is_named(filled: HybridSearcher) -> None:
    for call in (filled.search, lambda _, filter: filled.count(filter=filter)):
        with pytest.raises(InputError, match=r"field 'pfad'.*'path', 'year'"):
            call("x", filter=path_is(filled, "a.md", key="pfad"))
    filled.create(fields={"pfad": "keyword"})
    assert filled.search("x", filter=path_is(filled, "a.md", key="pfad")) == []


def test_another_stores_filter_is_refused(filled: HybridSearcher) -> None:
    with pytest.raises(InputTypeError, match=r"`filter` must be a `qdrant_.*Filter`, got dict"):
        filled.search("x", filter={"path": "a.md"})


def test_reranked_hits_lead_and_the_rest_follow_in_fused_order(
    filled: HybridSearcher, make: MakeSearcher
) -> None:
    fused = filled.search(CAPITAL)
    searcher = make(reranker=reranker(), rerank_depth=3)

    hits = searcher.search(CAPITAL)

    expected = searcher.reranker.rank(CAPITAL, [hit.text for hit in fused[:3]])  # type: ignore[union-attr]
    assert ids(hits) == [*(fused[one.index].id for one in expected), *ids(fused[3:])]
    assert [hit.score for hit in hits[:3]] == [one.score for one in expected]
    assert [hit.legs["rerank"].rank for hit in hits[:3]] == [1, 2, 3]
    assert {hit.legs["fused"].rank for hit in hits[:3]} == {1, 2, 3}
    assert hits[3:] == fused[3:]
    assert make(reranker=reranker(), rerank_depth=0).search(CAPITAL) == fused


def test_reranking_goes_deeper_than_the_page(filled: HybridSearcher, make: MakeSearcher) -> None:
    searcher = make(reranker=reranker(), rerank_depth=7)

    assert searcher.search(CAPITAL, limit=1) == searcher.search(CAPITAL, limit=7)[:1]


def test_an_instruction_reaches_both_models(filled: HybridSearcher, make: MakeSearcher) -> None:
    searcher = make(reranker=reranker())

    plain, told = (searcher.search(CAPITAL, instruction=i)[0] for i in (None, "Find rivers"))

    assert plain.legs["dense"].score != told.legs["dense"].score
    assert plain.legs["rerank"].score != told.legs["rerank"].score


def test_async_equals_sync_on_one_thread_that_is_not_the_loops(
    filled: HybridSearcher, make: MakeSearcher
) -> None:
    searcher = make(reranker=reranker())
    queries = [f"capital of country {number}" for number in range(40)]
    threads: set[str] = set()
    search = searcher.legs.search

    def watched(*args: Any, **kwargs: Any) -> Any:
        threads.add(threading.current_thread().name)
        return search(*args, **kwargs)

    async def all_at_once() -> list[list[Hit]]:
        return await asyncio.gather(*(searcher.asearch(query) for query in queries))

    searcher.legs.search = watched  # type: ignore[method-assign]
    hits = asyncio.run(all_at_once())
    del searcher.legs.search

    assert hits == [searcher.search(query) for query in queries]
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


def test_the_event_loop_keeps_ticking(make: MakeSearcher) -> None:
    searcher = make()
    asyncio.run(searcher.acreate())

    assert ticks_during(searcher.aadd([Document(n, f"text {n}") for n in range(300)])) > 0
    assert ticks_during(searcher.asearch("text 7")) > 0
    asyncio.run(searcher.adelete([7]))
    assert asyncio.run(searcher.acheck_collection()) == []
    assert searcher.count() == 299


def test_many_threads_write_and_read_at_once(make: MakeSearcher) -> None:
    searcher = make()
    searcher.create()

    def work(number: int) -> None:
        searcher.add([Document(f"{number}-{n}", f"text {number} {n}") for n in range(20)])
        assert searcher.search(f"text {number}", limit=3)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))

    assert searcher.count() == 480
    assert {p.document.id for p in searcher.scan()} == {
        f"{number}-{n}" for number in range(24) for n in range(20)
    }


def test_equals_at_the_edge_of_a_leg_do_not_come_and_go(make: MakeSearcher) -> None:
    searcher = make(candidates=5)
    searcher.create()
    searcher.add([Document(f"twin {number:02}", "the same text") for number in range(40)][::-1])

    orders = {tuple(ids(searcher.search("the same text", limit=5))) for _ in range(20)}

    assert orders == {tuple(f"twin {number:02}" for number in range(5))}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 90, "offset": 11}, "`offset [+] limit` is 101.*100 candidates.*candidates=101"),
        ({"limit": 0}, "`limit` must be at least 1"),
        ({"limit": "3"}, "`limit` must be a whole number"),
        ({"offset": -1}, "`offset` must be at least 0"),
        ({"instruction": " "}, "`instruction` is empty"),
        ({"query": " "}, "`query` is empty"),
        ({"query": None}, "`query` must be a string"),
    ],
)
def test_bad_requests_are_refused(
    filled: HybridSearcher, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        filled.search(**{"query": "x", **arguments})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": 0}, "`candidates` must be at least 1"),
        ({"rerank_depth": -1}, "`rerank_depth` must be at least 0"),
        ({"fusion": "dbsf"}, "rrf"),
        ({"weights": {"sparse": 1}}, "names the leg 'sparse'.*'dense', 'lexical'"),
        ({"weights": {"dense": -1}}, "zero or more"),
        ({"k": -1}, "`k` must be zero or more"),
        ({"embedder": "Qwen/Qwen3-Embedding-0.6B"}, "`embedder` must be a Qwen3Embedder, got 'Q"),
        ({"reranker": True}, "`reranker` must be a Qwen3Reranker or None"),
        ({"encoder": None}, "`encoder` must be a BM25Encoder"),
    ],
)
def test_bad_settings_are_refused(
    make: MakeSearcher, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(**settings)


def test_no_store_is_no_legs() -> None:
    with pytest.raises(InputTypeError, match="`legs` must be QdrantEdgeStore, QdrantStore"):
        HybridSearcher("index", Qwen3Embedder("a/b", backend=TextBackend("embedding")))  # type: ignore[arg-type]


def test_weights_and_method_of_fusion_decide_the_order(
    filled: HybridSearcher, make: MakeSearcher
) -> None:
    dense_only = make(weights={"lexical": 0}).search("검색 the disk")
    lexical_only = make(weights={"dense": 0}).search("검색 the disk")

    assert ids(dense_only) != ids(lexical_only)
    assert [hit.legs["dense"].rank for hit in dense_only] == list(range(1, 8))
    assert make(fusion="relative_score").search(CAPITAL)[0].score == pytest.approx(2)


def test_one_bad_document_keeps_all_of_them_out(filled: HybridSearcher) -> None:
    with pytest.raises(InputError, match=r"documents\[1\]"):
        filled.add([Document("new", "x"), Document("bad", "x", {"when": object()})])

    assert filled.retrieve(["new"]) == {}


def test_a_searcher_says_why_it_cannot_be_copied(filled: HybridSearcher) -> None:
    for copying in (pickle.dumps, copy.deepcopy):
        with pytest.raises(StoreError, match="cannot be pickled or copied"):
            copying(filled)


def test_a_closed_searcher_says_so(filled: HybridSearcher) -> None:
    asyncio.run(filled.asearch("x"))
    filled.close()
    filled.close()

    with pytest.raises(StoreError, match="closed"):
        asyncio.run(filled.asearch("x"))
