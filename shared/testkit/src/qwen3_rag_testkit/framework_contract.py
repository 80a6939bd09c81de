"""What holds for a searcher over a collection that a framework's own class for the store made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from qwen3_rag import InputError, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, Store, renew_bm25
from qwen3_rag_testkit.store_corpus import make_embedder

__all__ = ["WRITTEN", "FrameworkContract"]

#: What the framework writes; its classes for Qdrant and Weaviate need ids that are UUIDs.
WRITTEN = [
    Document(
        "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "Paris is the capital of France.",
        {"topic": "cities", "year": 1789},
    ),
    Document(
        "3f2504e0-4f89-41d3-9a0c-0305e82c3302",
        "Berlin is the capital of Germany.",
        {"topic": "cities", "year": 1990},
    ),
    Document(
        "3f2504e0-4f89-41d3-9a0c-0305e82c3303",
        "The error E_4711 means that the disk is full, and that writing stopped.",
        {"topic": "errors", "year": 2026},
    ),
    Document(
        "3f2504e0-4f89-41d3-9a0c-0305e82c3304",
        "Bread is baked from flour.",
        {"topic": "food", "year": 1900},
    ),
]
CAPITAL = "What is the capital of France?"
RARE = "E_4711"
ADDED = Document("guides/rivers.md#2", "Rivers flow into the sea.", {"topic": "water", "year": 7})


class FrameworkContract(ABC):
    """Inherit, and define the abstract methods for one framework and store.

    Attributes:
        own_bm25: Whether the store's own BM25 searches the texts before terms are added.
        gets_terms: Whether terms can be added to the collection.
        makes_terms: Whether a collection that is made here has terms.
        added: A document that is added here. Its id is no UUID where the collection can keep one.
    """

    own_bm25: ClassVar[bool] = False
    gets_terms: ClassVar[bool] = True
    makes_terms: ClassVar[bool] = True
    added: ClassVar[Document] = ADDED

    @abstractmethod
    def write(self, documents: Sequence[Document], dim: int = 64) -> None:
        """Have the framework make the collection if needed and write documents with vectors."""

    @abstractmethod
    def read(self, query: str) -> list[Document]:
        """Have the framework search by a vector; texts, ids and metadata, the best first."""

    @abstractmethod
    def open_store(self) -> Store:
        """Open the collection with this project's store and the framework's layout."""

    @abstractmethod
    def equals(self, field: str, value: Any) -> Any:
        """Make the store's filter on a field of the metadata, as it is stored."""

    def adopted(self) -> HybridSearcher:
        """Write `WRITTEN` by the framework, and take the collection over."""
        self.write(WRITTEN)
        searcher = HybridSearcher(self.open_store(), make_embedder())
        searcher.create(adopt=True)
        return searcher

    def vectors(self, documents: Sequence[Document], dim: int = 64) -> list[list[float]]:
        """Embed documents."""
        vectors: list[list[float]] = (
            make_embedder(dim).embed_documents([one.text for one in documents]).tolist()
        )
        return vectors

    def query_vector(self, query: str) -> list[float]:
        """Embed a query."""
        vector: list[float] = make_embedder().embed_queries([query])[0].tolist()
        return vector

    def test_hits_are_the_documents_as_the_framework_gives_them(self) -> None:
        searcher = self.adopted()

        hits = searcher.search(CAPITAL)

        found = [Document(hit.id, hit.text, hit.payload) for hit in hits]
        assert sorted(found, key=_id) == WRITTEN
        assert sorted(self.read(CAPITAL), key=_id) == WRITTEN
        assert [hit.id for hit in sorted(hits, key=_dense)] == [
            one.id for one in self.read(CAPITAL)
        ]
        assert searcher.count() == len(WRITTEN)
        assert sorted((point.document for point in searcher.scan()), key=_id) == WRITTEN

    def test_it_says_what_bm25_searches_and_what_to_do(self) -> None:
        searcher = self.adopted()

        [finding] = [one for one in searcher.check_collection() if one.code == "sparse"]

        assert finding.severity == "warning"
        assert ("own BM25" in finding.message) == self.own_bm25
        assert ("only its dense vectors" in finding.message) == (not self.own_bm25)
        assert ("renew_bm25" in finding.remedy) == self.gets_terms

    def test_a_rare_word_is_found_by_bm25_only_if_there_is_one(self) -> None:
        searcher = self.adopted()

        ranks = {hit.id: hit.ranks for hit in searcher.search(RARE)}

        by_bm25 = [id_ for id_, places in ranks.items() if "bm25" in places]
        assert by_bm25 == ([WRITTEN[2].id] if self.own_bm25 else [])

    def test_terms_are_added_and_change_nothing_else(self) -> None:
        searcher = self.adopted()
        if not self.gets_terms:
            pytest.skip("this store cannot add terms to an existing collection")
        before = self.read(CAPITAL)

        assert renew_bm25(searcher.store) == len(WRITTEN)

        again = HybridSearcher(self.open_store(), make_embedder())
        assert again.check_collection() == []
        [hit] = [hit for hit in again.search("e-4711") if "bm25" in hit.ranks]
        assert hit.id == WRITTEN[2].id
        assert self.read(CAPITAL) == before
        assert sorted((point.document for point in again.scan()), key=_id) == WRITTEN

    def test_what_the_framework_adds_later_gets_its_terms_when_asked(self) -> None:
        searcher = self.adopted()
        if not self.gets_terms:
            pytest.skip("this store cannot add terms to an existing collection")
        renew_bm25(searcher.store)
        later = replace(ADDED, id="3f2504e0-4f89-41d3-9a0c-0305e82c3305")

        self.write([later])

        again = HybridSearcher(self.open_store(), make_embedder())
        [finding] = again.check_collection()
        assert (finding.code, finding.severity) == ("sparse", "warning")
        assert repr(later.id) in finding.message
        assert renew_bm25(again.store) == 1
        assert again.check_collection() == []
        assert [hit.id for hit in again.search("rivers") if "bm25" in hit.ranks] == [later.id]
        assert renew_bm25(again.store) == 0

    def test_filters_are_on_the_fields_as_stored(self) -> None:
        searcher = self.adopted()

        hits = searcher.search(CAPITAL, filter=self.equals("topic", "errors"))

        assert [hit.id for hit in hits] == [WRITTEN[2].id]
        assert searcher.count(filter=self.equals("topic", "cities")) == 2

    def test_declared_fields_are_those_of_the_metadata(self) -> None:
        searcher = self.adopted()
        searcher.create(fields={"topic": "keyword"})

        with pytest.raises(InputError, match="topic"):
            searcher.search(CAPITAL, filter=self.equals("year", 1990))
        among = [WRITTEN[1].id, WRITTEN[2].id]
        hits = searcher.search(CAPITAL, filter=self.equals("topic", "cities"), ids=among)
        assert [hit.id for hit in hits] == [WRITTEN[1].id]
        topics = [hit.payload["topic"] for hit in searcher.search(CAPITAL, group_by="topic")]
        assert sorted(topics) == ["cities", "errors", "food"]
        changed = replace(WRITTEN[0], text="Paris is a city.")
        searcher.replace([changed], by="topic")
        left = sorted((point.document for point in searcher.scan()), key=_id)
        assert left == [changed, *WRITTEN[2:]]

    def test_all_documents_can_be_deleted(self) -> None:
        searcher = self.adopted()

        searcher.delete(everything=True)

        assert searcher.count() == 0

    def test_short_vectors_are_refused(self) -> None:
        with pytest.raises((InputError, StoreError), match="short_dim"):
            HybridSearcher(self.open_store(), make_embedder()).create(short_dim=32)
        self.write(WRITTEN)

        with pytest.raises(StoreError, match="short vectors of 32 numbers"):
            HybridSearcher(self.open_store(), make_embedder()).create(adopt=True, short_dim=32)

    def test_the_framework_reads_what_is_added_here(self) -> None:
        searcher = self.adopted()
        changed = replace(WRITTEN[3], text="Bread is eaten.", payload={"topic": "food", "year": 1})

        searcher.add([self.added, changed])

        texts = {one.text: one.payload for one in self.read(CAPITAL)}
        assert texts == {one.text: one.payload for one in [*WRITTEN[:3], changed, self.added]}
        assert searcher.retrieve([self.added.id])[self.added.id].document == self.added
        assert self.added.id in [hit.id for hit in searcher.search("Rivers flow into the sea.")]

    def test_documents_are_deleted_by_the_frameworks_ids(self) -> None:
        searcher = self.adopted()

        searcher.delete([WRITTEN[0].id])

        assert WRITTEN[0].id not in [one.id for one in self.read(CAPITAL)]
        assert searcher.count() == len(WRITTEN) - 1

    def test_another_size_of_vectors_is_refused_with_a_remedy(self) -> None:
        self.write(WRITTEN, dim=32)
        searcher = HybridSearcher(self.open_store(), make_embedder())

        found = {finding.code: finding for finding in searcher.check_collection()}

        assert found["dim"].severity == "error"
        assert "dim=32" in found["dim"].remedy

    def test_the_framework_reads_a_collection_that_is_made_here(self) -> None:
        searcher = HybridSearcher(self.open_store(), make_embedder())
        searcher.create()
        searcher.add(WRITTEN)

        codes = [finding.code for finding in searcher.check_collection()]
        assert codes == ([] if self.makes_terms else ["sparse"])
        assert sorted(self.read(CAPITAL), key=_id) == WRITTEN
        if self.makes_terms or self.own_bm25:
            assert searcher.search("E_4711")[0].id == WRITTEN[2].id


def _id(document: Document) -> str:
    return str(document.id)


def _dense(hit: Any) -> int:
    return int(hit.ranks["dense"].rank)
