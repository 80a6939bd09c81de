"""What a user of the searcher notices, whatever the store; `StoreContract` has the rest."""

from __future__ import annotations

import asyncio
import copy
import math
import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from qwen3_rag import (
    Hit,
    InputError,
    InputTypeError,
    Qwen3Embedder,
    Qwen3Reranker,
    Searcher,
    StoreError,
)
from qwen3_rag.fusion import RankedLists, fuse
from qwen3_rag_hybrid import Document, HybridSearcher, Point, Query
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend
from qwen3_rag_testkit.loops import keeps_ticking
from qwen3_rag_testkit.memory_store import MemoryStore
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, FIELDS, make_embedder

MakeSearcher = Callable[..., HybridSearcher]


def reranker() -> Qwen3Reranker:
    return Qwen3Reranker("test/reranker", backend=TextBackend("reranking"))


@pytest.fixture
def filled(make: MakeSearcher) -> HybridSearcher:
    """A searcher over a collection with `DOCUMENTS`."""
    searcher = make()
    searcher.create(fields=FIELDS)
    searcher.add(DOCUMENTS)
    return searcher


def ids(hits: list[Hit]) -> list[str | int]:
    return [hit.id for hit in hits]


def test_a_hit_tells_where_each_retriever_put_it(filled: HybridSearcher) -> None:
    hits = filled.search(CAPITAL, limit=100)
    best = hits[0]
    lists = {
        name: [(hit.id, hit.ranks[name].score) for hit in hits if name in hit.ranks]
        for name in ("dense", "bm25")
    }

    assert isinstance(filled, Searcher)
    assert (best.id, best.text) == ("france", "Paris is the capital of France.")
    assert best.payload == {"path": "a.md", "year": 1789}
    assert list(best.ranks) == ["dense", "bm25", "fused"]
    assert [place.rank for place in best.ranks.values()] == [1, 1, 1]
    assert best.score == best.ranks["fused"].score == fuse(lists)[0].score


def test_bm25_finds_what_vectors_miss(filled: HybridSearcher) -> None:
    code = {hit.id: hit for hit in filled.search("E_4711")}
    korean = {hit.id: hit for hit in filled.search("검색")}

    assert code[7].ranks["bm25"].rank == 1
    assert korean["korea"].ranks["bm25"].rank == 1  # a word within a word
    assert "bm25" not in korean["empty"].ranks


def test_reranked_hits_lead_and_the_rest_follow_in_fused_order(
    filled: HybridSearcher, make: MakeSearcher
) -> None:
    fused = filled.search(CAPITAL)
    searcher = make(reranker=reranker(), rerank_depth=3)

    hits = searcher.search(CAPITAL)

    assert searcher.reranker is not None
    expected = searcher.reranker.rank(CAPITAL, [hit.text for hit in fused[:3]])
    assert ids(hits) == [*(fused[one.index].id for one in expected), *ids(fused[3:])]
    assert [hit.score for hit in hits[:3]] == [one.score for one in expected]
    assert [hit.ranks["rerank"].rank for hit in hits[:3]] == [1, 2, 3]
    assert {hit.ranks["fused"].rank for hit in hits[:3]} == {1, 2, 3}
    assert hits[3:] == fused[3:]
    assert make(reranker=reranker(), rerank_depth=0).search(CAPITAL) == fused


def test_hits_below_the_minimum_score_are_left_out(
    filled: HybridSearcher, make: MakeSearcher
) -> None:
    searcher = make(reranker=reranker(), rerank_depth=3)
    hits = searcher.search(CAPITAL)

    assert searcher.search(CAPITAL, min_score=hits[1].score) == hits[:2]
    assert asyncio.run(searcher.asearch(CAPITAL, min_score=hits[1].score)) == hits[:2]
    assert searcher.search(CAPITAL, min_score=hits[1].score, offset=1) == hits[1:2]
    assert ids(searcher.search(CAPITAL, min_score=-1)) == ids(hits[:3])
    assert searcher.search(CAPITAL, min_score=2) == []


def test_a_minimum_score_needs_reranked_scores(filled: HybridSearcher, make: MakeSearcher) -> None:
    for searcher in (filled, make(reranker=reranker(), rerank_depth=0)):
        with pytest.raises(InputError, match="nothing is reranked"):
            searcher.search(CAPITAL, min_score=0.5)
    for wrong in ("0.5", math.nan):
        with pytest.raises(InputTypeError, match="`min_score` must be a number or None, got"):
            make(reranker=reranker()).search(CAPITAL, min_score=wrong)  # type: ignore[arg-type]  # on purpose


@pytest.fixture
def chunks(make: MakeSearcher) -> MakeSearcher:
    """Make searchers over a collection with three chunks of each of four documents."""
    make().create()
    make().add(
        [
            Document(f"{name}{n}", f"{CAPITAL} {name} {n}", {"doc": {"name": name}})
            for name in ("ant", "bee", "cat", "dog")
            for n in range(3)
        ]
    )
    return make


def test_groups_are_made_of_the_final_order(chunks: MakeSearcher) -> None:
    searcher = chunks(reranker=reranker(), rerank_depth=5)
    everything = searcher.search(CAPITAL, limit=100)
    names = [hit.payload["doc"]["name"] for hit in everything]
    firsts = [hit for n, hit in enumerate(everything) if names[n] not in names[:n]]

    assert searcher.search(CAPITAL, group_by="doc.name") == firsts
    assert searcher.search(CAPITAL, group_by="doc.name", limit=1, offset=3) == firsts[3:]
    assert asyncio.run(searcher.asearch(CAPITAL, group_by="doc.name", limit=2)) == firsts[:2]
    assert searcher.search(CAPITAL, group_by="doc.name", per_group=3) == everything
    least = firsts[1].score
    assert searcher.search(CAPITAL, group_by="doc.name", min_score=least) == firsts[:2]


def test_a_hit_without_a_group_is_a_group_of_its_own(make: MakeSearcher) -> None:
    searcher = make()
    searcher.create()
    groups: list[dict[str, Any]] = [
        {},
        {},
        {"g": None},
        {"g": 1},
        {"g": "1"},
        {"g": True},
        {"g": [1]},
        {"g": {"a": 1}},
    ]
    searcher.add([Document(n, "rain", group) for n, group in enumerate([*groups, *groups[3:]])])

    assert ids(searcher.search("rain", limit=100, group_by="g")) == [*range(8)]
    nested = ids(searcher.search("rain", limit=100, group_by="g.a"))
    assert nested == [id_ for id_ in range(13) if id_ != 12]


def test_reranking_goes_deeper_than_the_page(filled: HybridSearcher, make: MakeSearcher) -> None:
    searcher = make(reranker=reranker(), rerank_depth=7)

    assert searcher.search(CAPITAL, limit=1) == searcher.search(CAPITAL, limit=7)[:1]


def test_an_instruction_reaches_both_models(filled: HybridSearcher, make: MakeSearcher) -> None:
    searcher = make(reranker=reranker())

    plain, told = (searcher.search(CAPITAL, instruction=i)[0] for i in (None, "Find rivers"))

    assert plain.ranks["dense"].score != told.ranks["dense"].score
    assert plain.ranks["rerank"].score != told.ranks["rerank"].score


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 90, "offset": 111}, "`offset [+] limit` is 201.*200 candidates.*candidates=201"),
        ({"limit": 0}, "`limit` must be at least 1"),
        ({"limit": "3"}, "`limit` must be a whole number"),
        ({"limit": None}, "`limit` must be a whole number, got None"),
        ({"offset": None}, "`offset` must be a whole number, got None"),
        ({"offset": -1}, "`offset` must be at least 0"),
        ({"instruction": " "}, "`instruction` is empty"),
        ({"query": " "}, "`query` is empty"),
        ({"per_group": 2}, "`per_group` is 2, but hits are not grouped. Set `group_by`"),
        ({"group_by": "path", "per_group": 0}, "`per_group` must be at least 1, got 0"),
        ({"group_by": "path", "per_group": None}, "`per_group` must be a whole number"),
        ({"group_by": ["path"]}, "`group_by` must be the name of a payload field, got"),
        ({"group_by": ""}, "`group_by` is empty"),
        ({"query": None}, "`query` must be a string"),
    ],
)
def test_bad_requests_are_refused(
    filled: HybridSearcher, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        filled.search(**{"query": "x", **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": 0}, "`candidates` must be at least 1"),
        ({"candidates": None}, "`candidates` must be a whole number, got None"),
        ({"rerank_depth": -1}, "`rerank_depth` must be at least 0"),
        ({"rerank_depth": None}, "`rerank_depth` must be a whole number, got None"),
        ({"fusion": "dbsf"}, "rrf"),
        ({"weights": {"lexical": 1}}, "names 'lexical'.*'dense', 'bm25'"),
        ({"weights": {"dense": -1}}, "zero or more"),
        ({"weights": {"dense": "2"}}, "`weights.'dense'.` must be a number, got '2'"),
        ({"weights": ["dense", 2]}, "`weights` must map retrievers to numbers"),
        ({"weights": "dense"}, "`weights` must map retrievers to numbers"),
        ({"k": -1}, "`k` must be zero or more"),
        ({"k": 10}, "Choose 'rrf' as the fusion, or leave `k` out"),
        ({"k": None}, "`k` must be a number, got None"),
        ({"embedder": "Qwen/Qwen3-Embedding-0.6B"}, "`embedder` must be a Qwen3Embedder, got 'Q"),
        ({"reranker": True}, "`reranker` must be a Qwen3Reranker or None"),
        ({"encoder": "bm25"}, "`encoder` must be a BM25Encoder"),
    ],
)
def test_bad_arguments_are_refused(
    make: MakeSearcher, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(**arguments)


def test_a_path_is_no_store() -> None:
    with pytest.raises(InputTypeError, match="`store` must be a Store such as QdrantEdgeStore"):
        HybridSearcher("index", make_embedder())  # type: ignore[arg-type]  # what is refused


def test_weights_and_method_of_fusion_decide_the_order(
    filled: HybridSearcher, make: MakeSearcher
) -> None:
    dense_only = make(weights={"bm25": 0}).search("검색 the disk")
    bm25_only = make(weights={"dense": 0}).search("검색 the disk")

    assert ids(dense_only) != ids(bm25_only)
    assert [hit.ranks["dense"].rank for hit in dense_only] == list(range(1, 8))
    assert make(fusion="rrf").search(CAPITAL)[0].score == pytest.approx(2 / 61)


def test_one_bad_document_keeps_all_of_them_out(filled: HybridSearcher) -> None:
    with pytest.raises(InputError, match=r"documents\[1\]"):
        filled.add([Document("new", "x"), Document("bad", "x", {"when": object()})])

    assert filled.retrieve(["new"]) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "year"}, r"`by` must be a declared field of the type keyword.*'path'"),
        ({"by": "path", "values": "a.md"}, "`values` must be a list, got 'a.md'"),
        ({"by": "path", "values": 7}, "`values` must be a list, got 7"),
        ({"by": "path", "values": [7]}, r"`values\[0\]` must be of the type str, got 7"),
        ({"by": "path", "values": [True]}, r"`values\[0\]` must be of the type str, got True"),
        ({"by": "path", "values": ["b.md"]}, r"`documents\[0\].* is 'a.md', which is not in"),
        ({"documents": [], "by": "path"}, "nothing is replaced. Pass the values of 'path'"),
        (
            {"documents": [Document("x", "x", {"path": ["a.md"]})], "by": "path"},
            r"`documents\[0\].payload\['path'\]` must be of the type str, got \['a.md'\]",
        ),
        ({"documents": [Document("x", "x")], "by": "path"}, "must be of the type str, got None"),
    ],
)
def test_what_cannot_be_replaced_is_refused(
    make: MakeSearcher, arguments: dict[str, Any], message: str
) -> None:
    searcher = make()
    searcher.create(fields={"path": "keyword", "year": "float"})
    searcher.add([Document("old", "old", {"path": "a.md"})])

    with pytest.raises(InputError, match=message):
        searcher.replace(**{"documents": [Document("new", "new", {"path": "a.md"})], **arguments})

    assert [point.document.id for point in searcher.scan()] == ["old"]


def test_new_chunks_are_there_before_the_old_ones_go() -> None:
    class Fails(MemoryStore):
        def delete(self, ids: Sequence[str | int]) -> None:
            raise StoreError("the connection is gone")

    with HybridSearcher(Fails(), make_embedder()) as searcher:
        searcher.create(fields={"path": "keyword"})
        searcher.add([Document("old", "old", {"path": "a.md"})])

        with pytest.raises(StoreError, match="connection is gone"):
            searcher.replace([Document("new", "new", {"path": "a.md"})], by="path")

        assert {point.document.id for point in searcher.scan()} == {"old", "new"}


def test_values_are_looked_for_in_parts(make: MakeSearcher) -> None:
    searcher = make()
    searcher.create(fields={"n": "integer"})
    searcher.add([Document(n, "old", {"n": n}) for n in range(250)])

    assert searcher.replace([], by="n", values=[*range(240), 0, 1]) == 240
    assert searcher.count() == 10


def test_a_searcher_says_why_it_cannot_be_copied(filled: HybridSearcher) -> None:
    for copying in (pickle.dumps, copy.deepcopy):
        with pytest.raises(StoreError, match="cannot be pickled or copied"):
            copying(filled)


class SlowStore(MemoryStore):
    """Blocks its caller's thread for a while, and remembers which thread that was."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[str] = set()

    def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        self._wait()
        return super().search(query, limit=limit, filter=filter)

    def upsert(self, points: Sequence[Point]) -> None:
        self._wait()
        super().upsert(points)

    def _wait(self) -> None:
        self.threads.add(threading.current_thread().name)
        time.sleep(1.5)


def test_a_tuned_searcher_has_other_options_and_the_same_collection() -> None:
    steps: list[tuple[str, float]] = []
    with HybridSearcher(MemoryStore(), make_embedder(), candidates=50) as searcher:
        searcher.create()
        tuned = searcher.tuned(
            weights={"dense": 0, "bm25": 1}, on_step=lambda *step: steps.append(step)
        )
        tuned.add(DOCUMENTS)
        hits = tuned.search(CAPITAL)

        assert searcher.count() == len(DOCUMENTS)
        assert (searcher.pipeline.weights, tuned.pipeline.candidates) == (None, 50)
        assert [hit.ranks["bm25"].rank for hit in hits if "bm25" in hit.ranks][:2] == [1, 2]
        assert [name for name, seconds in steps if seconds >= 0] == ["embed", "retrieve"]
        with pytest.raises(InputError, match="candidates"):
            searcher.tuned(candidates=0)


class CountingStore(MemoryStore):
    """Counts how often it is searched."""

    searches = 0

    def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        self.searches += 1
        return super().search(query, limit=limit, filter=filter)


@pytest.mark.parametrize("forms", [("sparse",), ("terms",), ("sparse", "terms")])
def test_a_store_gets_the_terms_in_the_forms_that_it_reads(forms: tuple[str, ...]) -> None:
    class Reading(MemoryStore):
        term_forms = forms

        def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
            given.append({"sparse": len(query.sparse) > 0, "terms": len(query.terms) > 0})
            return super().search(query, limit=limit, filter=filter)

    given: list[dict[str, bool]] = []
    with HybridSearcher(Reading(), make_embedder()) as searcher:
        searcher.create()
        searcher.add(DOCUMENTS)
        searcher.search(CAPITAL)

    assert given == [{"sparse": "sparse" in forms, "terms": "terms" in forms}]


def test_a_store_with_less_than_was_asked_for_is_asked_once() -> None:
    store = CountingStore()
    with HybridSearcher(store, make_embedder()) as searcher:
        searcher.create()
        searcher.add(DOCUMENTS)

        searcher.search(CAPITAL)

    assert store.searches == 1


def test_the_bar_advances_by_batches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with HybridSearcher(SlowStore(), make_embedder()) as searcher:
        searcher.create()
        searcher.add(DOCUMENTS, progress=True, batch_size=2)

    assert f"4/{len(DOCUMENTS)}" in capsys.readouterr().err


def test_a_function_is_told_of_every_document_also_of_one_given_twice() -> None:
    counts: list[int] = []
    with HybridSearcher(MemoryStore(), make_embedder()) as searcher:
        searcher.create()
        searcher.add([*DOCUMENTS, DOCUMENTS[0]], progress=counts.append, batch_size=100)

    assert sum(counts) == len(DOCUMENTS) + 1


async def test_the_event_loop_keeps_ticking_while_a_store_blocks() -> None:
    with HybridSearcher(SlowStore(), make_embedder()) as searcher:
        await searcher.acreate()

        assert await keeps_ticking(searcher.aadd(DOCUMENTS)) == len(DOCUMENTS)
        assert (await keeps_ticking(searcher.asearch(CAPITAL)))[0].id == "france"


async def test_all_tasks_share_one_thread_that_is_not_the_loops() -> None:
    store = SlowStore()
    with HybridSearcher(store, make_embedder()) as searcher:
        await searcher.acreate()
        await searcher.aadd(DOCUMENTS)

        await asyncio.gather(*(searcher.asearch(f"capital {n}") for n in range(3)))

    assert len(store.threads) == 1
    assert threading.current_thread().name not in store.threads


async def test_closing_ends_the_thread() -> None:
    async with HybridSearcher(MemoryStore(), make_embedder()) as searcher:
        await searcher.acreate()
        [working] = [t for t in threading.enumerate() if t.name.startswith("qwen3-rag-hybrid")]

    assert not working.is_alive()


async def test_a_native_async_store_needs_no_thread() -> None:
    store = MemoryStore(native_async=True)
    async with HybridSearcher(store, make_embedder()) as searcher:
        await searcher.acreate()

        hits = await asyncio.gather(*(searcher.asearch(f"capital {n}") for n in range(20)))

        assert hits == [[]] * 20
        assert not [t for t in threading.enumerate() if t.name.startswith("qwen3-rag-hybrid")]


def _in_child(searcher: HybridSearcher, connection: Any) -> None:
    hits = asyncio.run(searcher.asearch("rain"))
    searcher.close()
    connection.send([hit.id for hit in hits])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_awaits_on_a_thread_of_its_own(make: MakeSearcher) -> None:
    searcher = make(embedder=Qwen3Embedder("test/embedder", backend=DeterministicBackend()))
    searcher.create()
    asyncio.run(searcher.aadd([Document("a", "rain"), Document("b", "snow")]))
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_in_child, args=(searcher, there), daemon=True)

    child.start()
    answered = here.poll(30)
    child.kill()
    child.join()

    assert answered, "the child hangs"
    assert here.recv() == [hit.id for hit in asyncio.run(searcher.asearch("rain"))]
