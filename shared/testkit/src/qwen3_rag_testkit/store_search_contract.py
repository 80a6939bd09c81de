"""`SearchContract`: the part of `StoreContract` that is about searching."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from qwen3_rag import Hit, InputError, InputTypeError
from qwen3_rag.fusion import FusionMethod, Id
from qwen3_rag_hybrid import Document, HybridSearcher
from qwen3_rag_testkit.memory_store import MemoryStore
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, IDS, TERMS, make_embedder

__all__ = ["MakeSearcher", "SearchContract", "ids"]

MakeSearcher = Callable[..., HybridSearcher]


class SearchContract(ABC):
    """What a search has to find; `StoreContract` has the fixtures.

    Attributes:
        own_bm25: Whether the store computes BM25 itself, of `Query.terms`.
        bm25_factor: What a store's own BM25 scores are, divided by those of the textbook.
    """

    own_bm25: ClassVar[bool] = False
    bm25_factor: ClassVar[float] = 1.0

    @abstractmethod
    def equals(self, field: str, value: str) -> Any:
        """Make the store's own filter on a payload field that has `value`."""

    def test_each_word_finds_its_document(self, filled: HybridSearcher) -> None:
        for word, id_ in TERMS.items():
            best = min(
                (hit for hit in filled.search(word) if "bm25" in hit.ranks),
                key=lambda hit: hit.ranks["bm25"].rank,
            )
            assert (word, best.id) == (word, id_)

    def test_a_query_without_any_word_searches_by_vector_alone(
        self, filled: HybridSearcher
    ) -> None:
        hits = filled.search("?!")

        assert len(hits) == len(DOCUMENTS)
        assert all("bm25" not in hit.ranks for hit in hits)

    @pytest.mark.parametrize("fusion", ["rrf", "relative_score"])
    def test_the_fused_order_is_that_of_the_memory_store(
        self, make: MakeSearcher, fusion: FusionMethod
    ) -> None:
        arguments: dict[str, Any] = {"fusion": fusion, "candidates": 20}
        searcher = make(embedder=make_embedder(256), **arguments)
        exact = HybridSearcher(MemoryStore(own_bm25=self.own_bm25), make_embedder(256), **arguments)
        subjects = ["river", "bread", "disk error", "capital city", "수도", "검색", "Straße"]
        places = ["Paris", "Berlin", "서울", "E_4711", "3.11.2"]
        documents = [
            Document(f"{subject}/{place}", f"The {subject} of {place}" + f" in {place}" * (n % 3))
            for n, (subject, place) in enumerate((s, p) for s in subjects for p in places)
        ]
        documents += [Document(n, "The same text in Paris") for n in range(45)]
        factors = {"dense": 1.0, "bm25": self.bm25_factor}
        for one in (searcher, exact):
            one.create()
            one.add(documents)

        for query in [*subjects, *places, "the", "same text", "of Paris and Berlin"]:
            found, expected = (one.search(query, limit=20) for one in (searcher, exact))
            assert _places(found) == _places(expected), query
            for hit, other in zip(found, expected, strict=True):
                for name in factors.keys() & hit.ranks.keys():
                    score = other.ranks[name].score * factors[name]
                    assert hit.ranks[name].score == pytest.approx(score, abs=2e-5)

    def test_ties_at_the_last_place_do_not_come_and_go(self, make: MakeSearcher) -> None:
        searcher = make(candidates=5)
        searcher.create()
        searcher.add([Document(f"twin {n:02}", "the same text again") for n in range(40)][::-1])
        searcher.add([Document("very same", "the same text")])

        orders = {tuple(ids(searcher.search("the same text", limit=5))) for _ in range(20)}

        assert orders == {("very same", *(f"twin {n:02}" for n in range(4)))}

    def test_pages_are_cut_from_one_order(self, filled: HybridSearcher) -> None:
        everything = filled.search(CAPITAL, limit=7)

        pages = [filled.search(CAPITAL, limit=2, offset=offset) for offset in (0, 2, 4, 6)]

        assert _are_alike([hit for page in pages for hit in page], everything)
        assert filled.search(CAPITAL, limit=3, offset=50) == []

    def test_groups_are_those_of_the_whole_order(self, make: MakeSearcher) -> None:
        searcher = make(candidates=50)
        searcher.create(fields={"path": "keyword"})
        searcher.add([Document(f"long {n}", f"{CAPITAL} {n}", {"path": "long"}) for n in range(30)])
        searcher.add(
            [Document(n, f"a capital {n}", {"path": f"short {n // 2}"}) for n in range(10)]
        )
        everything = searcher.search(CAPITAL, limit=50)

        best = searcher.search(CAPITAL, limit=4, group_by="path")
        two = searcher.search(CAPITAL, limit=6, group_by="path", per_group=2)
        pages = [searcher.search(CAPITAL, limit=2, offset=n, group_by="path") for n in (0, 2, 4)]

        assert {hit.payload["path"] for hit in everything[:30]} == {"long"}
        assert _are_alike(best, _firsts(everything, 1)[:4])
        assert _are_alike(two, _firsts(everything, 2))
        assert len(two) == 12
        assert _are_alike([hit for page in pages for hit in page], _firsts(everything, 1))
        with pytest.raises(InputError, match=r"`group_by` asks for the field 'pfad'.*'path'"):
            searcher.search(CAPITAL, group_by="pfad")

    def test_a_filter_holds_for_both_retrievers(self, filled: HybridSearcher) -> None:
        filter = self.equals("path", "a.md")
        passing = {"france", "https://example.org/ü?q=1"}

        assert set(ids(filled.search("the capital of bread", filter=filter))) == passing
        assert filled.count(filter=filter) == 2
        assert {point.document.id for point in filled.scan(filter=filter)} == passing

    def test_a_filter_is_made_of_the_values_that_fields_may_have(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create(fields={"path": "keyword", "kind": "keyword"})
        searcher.add(
            [
                Document(f"{path} {kind}", "text", {"path": path, "kind": kind})
                for path in ("a.md", 'it\'s "b".md', "c\\d.md")
                for kind in ("text", "code")
            ]
        )

        def passing(**values: list[str]) -> set[Id]:
            return set(ids(searcher.search("text", filter=searcher.store.matching(values))))

        assert passing(path=["a.md"], kind=["code", "other"]) == {"a.md code"}
        assert passing(path=['it\'s "b".md', "c\\d.md"], kind=["text"]) == {
            'it\'s "b".md text',
            "c\\d.md text",
        }

    def test_a_filter_holds_before_the_best_are_taken(self, make: MakeSearcher) -> None:
        searcher = make(candidates=1)
        searcher.create(fields={"path": "keyword"})
        searcher.add([Document(n, CAPITAL, {"path": "near.md"}) for n in range(100)])
        searcher.add([Document("far", "a capital", {"path": "far.md"})])

        [hit] = searcher.search(CAPITAL, limit=1, filter=self.equals("path", "far.md"))

        assert hit.id == "far"
        assert {"dense", "bm25"} <= hit.ranks.keys()

    def test_a_search_among_ids_finds_no_other_documents(self, filled: HybridSearcher) -> None:
        filter = self.equals("path", "a.md")
        for document in DOCUMENTS:
            [hit] = filled.search(document.text or "x", ids=[document.id])
            assert hit.id == document.id
        among: list[str | int] = ["https://example.org/ü?q=1", 7, "germany", "nobody"]

        hits = filled.search(CAPITAL, ids=among)

        assert sorted(map(str, ids(hits))) == sorted(map(str, among[:3]))
        assert hits[0].id == "germany"
        assert {"dense", "bm25"} <= hits[0].ranks.keys()
        assert ids(filled.search(CAPITAL, ids=iter(among), filter=filter)) == among[:1]
        assert filled.search(CAPITAL, ids=[]) == filled.search(CAPITAL, ids=["nobody"]) == []
        assert ids(asyncio.run(filled.asearch(CAPITAL, ids=["germany"]))) == ["germany"]
        with pytest.raises(InputTypeError, match="`ids` must be a list of ids, got str"):
            filled.search(CAPITAL, ids="germany")

    def test_ids_are_told_apart(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create()
        searcher.add([Document(id_, "the same text") for id_ in IDS])

        for id_ in IDS:
            assert ids(searcher.search("text", ids=[id_])) == [id_]
        assert len(searcher.search("text", ids=IDS, limit=50)) == len(IDS)

    def test_a_filter_on_an_unknown_field_is_named(self, filled: HybridSearcher) -> None:
        unknown = self.equals("pfad", "a.md")

        for call in (
            lambda: filled.search("x", filter=unknown),
            lambda: filled.count(filter=unknown),
            lambda: filled.scan(filter=unknown),
        ):
            with pytest.raises(InputError, match=r"field 'pfad'.*'path', 'year'"):
                call()
        filled.create(fields={"pfad": "keyword"})
        assert filled.search("x", filter=unknown) == []

    def test_another_stores_filter_is_refused(self, filled: HybridSearcher) -> None:
        with pytest.raises(InputTypeError, match=r"`filter` must be a `[\w.]+`, got dict"):
            filled.search("x", filter={"path": "a.md"})


def ids(hits: list[Hit]) -> list[str | int]:
    """Give the ids in the order of the hits."""
    return [hit.id for hit in hits]


def _are_alike(hits: list[Hit], others: list[Hit]) -> bool:
    """Whether hits are the same in the same order; scores may differ in their last digits.

    Products of matrices depend on where the system puts them in memory, on some processors.
    """
    return ids(hits) == ids(others) and [hit.score for hit in hits] == pytest.approx(
        [hit.score for hit in others], abs=1e-6
    )


def _firsts(hits: list[Hit], number: int) -> list[Hit]:
    """Give the first hits of each path, in the order of all hits."""
    paths = [hit.payload["path"] for hit in hits]
    return [hit for n, hit in enumerate(hits) if paths[:n].count(paths[n]) < number]


def _places(hits: list[Hit]) -> list[tuple[str | int, dict[str, int]]]:
    return [(hit.id, {name: place.rank for name, place in hit.ranks.items()}) for hit in hits]
