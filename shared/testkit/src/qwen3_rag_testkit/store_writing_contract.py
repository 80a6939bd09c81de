"""`WritingContract`: the part of `StoreContract` about replacing and deleting documents."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from qwen3_rag import InputError
from qwen3_rag_hybrid import Document, HybridSearcher
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, IDS
from qwen3_rag_testkit.store_search_contract import MakeSearcher, SearchContract, ids

__all__ = ["WritingContract"]


class WritingContract(SearchContract):
    """What replacing and deleting has to do; `StoreContract` has the fixtures."""

    def test_ids_of_any_shape(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create()

        searcher.add([Document(id_, f"text of {number}") for number, id_ in enumerate(IDS)])

        assert {hit.id for hit in searcher.search("text", limit=50)} == set(IDS)
        found = searcher.retrieve(IDS)
        assert [found[id_].document for id_ in IDS] == [
            Document(id_, f"text of {number}") for number, id_ in enumerate(IDS)
        ]
        searcher.delete(IDS[::2])
        assert {point.document.id for point in searcher.scan()} == set(IDS[1::2])

    def test_a_document_replaces_the_one_of_its_id(self, filled: HybridSearcher) -> None:
        before = filled.search(CAPITAL)

        assert filled.add(DOCUMENTS, batch_size=2) == len(DOCUMENTS)
        assert ids(filled.search(CAPITAL)) == ids(before)
        filled.add([Document("france", "Lyon", {"new": 1}), Document("france", "Lyon is a city")])

        [found] = filled.retrieve(["france"], vectors=True).values()
        assert found.document == Document("france", "Lyon is a city")
        assert found.dense is not None
        [vector] = filled.embedder.embed_documents(["Lyon is a city"])
        np.testing.assert_allclose(found.dense, vector, atol=1e-6)
        assert filled.count() == len(DOCUMENTS)
        hits = {hit.id: hit for hit in filled.search("Paris")}
        assert "bm25" not in hits["france"].ranks
        assert {hit.id: hit for hit in filled.search("Lyon")}["france"].ranks["bm25"].rank == 1

    def test_deleted_documents_are_gone(self, filled: HybridSearcher) -> None:
        filled.delete(["france", "nobody"])
        filled.delete([])

        assert "france" not in ids(filled.search(CAPITAL))
        assert filled.retrieve(["france"]) == {}
        assert filled.count() == len(list(filled.scan())) == len(DOCUMENTS) - 1

    def test_documents_are_deleted_by_a_filter(self, filled: HybridSearcher) -> None:
        filter = self.equals("path", "a.md")
        before = {document.id for document in DOCUMENTS}

        filled.delete(["germany", "france"], filter=filter)
        assert {point.document.id for point in filled.scan()} == before - {"france"}
        filled.delete(filter=filter)

        assert filled.count(filter=filter) == 0
        left = before - {"france", "https://example.org/ü?q=1"}
        assert {point.document.id for point in filled.scan()} == left
        assert {hit.id for hit in filled.search("the capital of bread")} == left
        filled.delete([], filter=self.equals("path", "b.md"))
        assert filled.count() == len(left)
        with pytest.raises(InputError, match="field 'pfad'"):
            filled.delete(filter=self.equals("pfad", "b.md"))

    def test_everything_is_deleted_only_on_purpose(self, filled: HybridSearcher) -> None:
        nothings: list[dict[str, Any]] = [{}, {"filter": None}, {"ids": None}]
        for nothing in nothings:
            with pytest.raises(InputError, match=r"Nothing says what to delete.*everything=True"):
                filled.delete(**nothing)
        with pytest.raises(InputError, match="`everything` is given beside"):
            filled.delete(["france"], everything=True)
        assert filled.count() == len(DOCUMENTS)

        asyncio.run(filled.adelete(everything=True))

        assert filled.count() == 0
        assert filled.search(CAPITAL) == []
        assert filled.add(DOCUMENTS) == len(DOCUMENTS)
        assert filled.search(CAPITAL)[0].id == "france"

    def test_the_chunks_of_a_document_are_replaced(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create(fields={"path": "keyword", "page": "integer"})
        paths = ("a.md", "A.md", "a.md 2", "b.md", 'c"\\.md')
        old = [
            Document(f"{path}#{n}", f"old {n}", {"path": path, "page": n})
            for path in paths
            for n in range(9)
        ]
        searcher.add([*old, Document("two", "of both", {"path": ["a.md", "b.md"]})])
        new = [
            Document(f"{path}#{n}", f"new {n}", {"path": path})
            for path in ("a.md", 'c"\\.md')
            for n in (0, "new")
        ]

        removed = searcher.replace(new, by="path")

        assert removed == 16
        untouched = {one.id for one in old if one.payload["path"] in ("A.md", "a.md 2", "b.md")}
        assert {point.document.id for point in searcher.scan()} == untouched | {
            "two",
            *(one.id for one in new),
        }
        assert searcher.retrieve(["a.md#0"])["a.md#0"].document == new[0]
        assert searcher.replace(new, by="path") == 0
        assert searcher.replace([], by="path", values=["b.md", "none.md"]) == 9
        assert asyncio.run(searcher.areplace([], by="page", values=[3, 4])) == 4
        assert searcher.count() == 19

    def test_values_of_other_types_are_not_replaced(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create(fields={"page": "integer", "source": "uuid"})
        uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
        values: list[Any] = [1, True, 1.0, "1", [1], None]
        searcher.add([Document(n, "text", {"page": value}) for n, value in enumerate(values)])
        searcher.add([Document("chunk", "text", {"source": uuid})])

        assert searcher.replace([], by="page", values=[1]) == 1
        assert {point.document.id for point in searcher.scan()} == {1, 2, 3, 4, 5, "chunk"}
        with pytest.raises(InputError, match="must be a UUID, got 'no'"):
            searcher.replace([], by="source", values=["no"])
        with pytest.raises(InputError, match="must be a UUID, got 'no'"):
            searcher.replace([Document("new", "text", {"source": "no"})], by="source")
        assert searcher.retrieve(["new"]) == {}
        assert searcher.replace([], by="source", values=[uuid]) == 1

    def test_a_call_that_was_interrupted_is_repeated(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create(fields={"path": "keyword"})
        searcher.add([Document(f"old {n}", "old", {"path": "a.md"}) for n in range(5)])
        new = [Document(f"new {n}", "new", {"path": "a.md"}) for n in range(4)]
        searcher.add(new[:2])  # and then it was killed

        searcher.replace(new, by="path", batch_size=2)

        assert {point.document.id for point in searcher.scan()} == {one.id for one in new}
