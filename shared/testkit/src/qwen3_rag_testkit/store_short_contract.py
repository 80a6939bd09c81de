"""`ShortVectorContract`: the part of `StoreContract` that is about short vectors (MRL)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qwen3_rag import InputError, StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import DENSE
from qwen3_rag_hybrid import Document, HybridSearcher, Point, Query, renew_bm25
from qwen3_rag_testkit.memory_store import MemoryStore
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, FIELDS, make_embedder
from qwen3_rag_testkit.store_search_contract import MakeSearcher, SearchContract, ids

__all__ = ["ShortVectorContract"]


class ShortVectorContract(SearchContract):
    """What a collection with short vectors has to do; `StoreContract` has the fixtures."""

    def test_candidates_are_found_by_short_vectors_and_scored_by_whole_ones(
        self, make: MakeSearcher
    ) -> None:
        searcher = make()
        searcher.create(short_dim=32)
        encoder, store = searcher.encoder, searcher.store
        query, vectors = _vectors()
        points = [
            Point(Document(n, "text"), vector, encoder.encode_document("text"))
            for n, vector in enumerate(vectors)
        ]
        store.upsert(points)
        exact = MemoryStore()
        record = store.record()
        assert record is not None
        exact.create(record)
        exact.upsert(points)
        asked = Query(query, encoder.encode_query("text"), encoder.query_terms("text"))
        in_stages = replace(asked, short_dim=32)

        for limit in (2, 5, 10):
            found = store.search(in_stages, limit=limit)[DENSE]
            expected = exact.search(in_stages, limit=limit)[DENSE]
            assert [id_ for id_, _ in found] == [id_ for id_, _ in expected]
            assert [score for _, score in found] == pytest.approx(
                [score for _, score in expected], abs=2e-5
            )
        # The best by its whole vector is not among the candidates, as it begins otherwise.
        assert exact.search(asked, limit=1)[DENSE][0][0] == 0
        assert 0 not in dict(store.search(in_stages, limit=5)[DENSE])
        assert 0 in dict(store.search(in_stages, limit=60)[DENSE])

    def test_candidates_pass_the_filter(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create(fields=FIELDS, short_dim=32)
        searcher.add(DOCUMENTS)
        encoder, store = searcher.encoder, searcher.store
        [query] = searcher.embedder.embed_queries([CAPITAL])
        # As many as the first stage finds for either of two limits, and nearer than any other.
        sparse, payload = encoder.encode_document("text"), {"path": "z.md"}
        store.upsert([Point(Document(n, "text", payload), query, sparse) for n in range(100, 160)])
        asked = Query(query, encoder.encode_query("text"), encoder.query_terms("text"), "", 32)

        for limit in (2, 10):
            filter = store.with_ids(self.equals("path", "a.md"))
            found = store.search(asked, limit=limit, filter=filter)[DENSE]
            assert {id_ for id_, _ in found} == {"france", "https://example.org/ü?q=1"}

    def test_everything_else_is_as_without_short_vectors(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create(fields=FIELDS, short_dim=32)
        searcher.add(DOCUMENTS)
        filter = self.equals("path", "a.md")

        hits = searcher.search(CAPITAL)

        assert hits[0].id == "france"
        assert len(hits) == len(DOCUMENTS)
        [query] = searcher.embedder.embed_queries([CAPITAL])
        stored = searcher.retrieve(ids(hits), vectors=True)
        for hit in hits:
            vector = stored[hit.id].dense
            assert vector is not None
            assert len(vector) == 64
            assert hit.ranks["dense"].score == pytest.approx(float(vector @ query), abs=2e-5)
        assert len(searcher.search(CAPITAL, filter=filter)) == 2
        assert ids(searcher.search(CAPITAL, ids=["germany"])) == ["germany"]
        assert searcher.check_collection() == []

    def test_short_vectors_stay_when_a_collection_changes(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create(fields={"path": "keyword"}, short_dim=32)
        searcher.add(DOCUMENTS)

        renew_bm25(searcher.store, BM25Encoder(avg_len=9))
        searcher = make()
        searcher.create(fields={"year": "integer"})
        searcher.add([replace(DOCUMENTS[0], text="Lyon")])

        record = searcher.store.record()
        assert record is not None
        assert record.short_dim == 32
        found = {hit.id: hit for hit in searcher.search("Lyon")}
        assert found.keys() == {document.id for document in DOCUMENTS}
        assert all("dense" in hit.ranks for hit in found.values())
        assert found["france"].ranks["dense"].rank == 1

    @pytest.mark.parametrize("made", [32, None])
    def test_the_size_is_chosen_once(self, make: MakeSearcher, made: int | None) -> None:
        searcher = make()
        searcher.create(short_dim=made)
        searcher.add(DOCUMENTS)

        for wrong, message in ((31, "at least 32, got 31"), (64, "less than the 64 numbers")):
            with pytest.raises(InputError, match=f"`short_dim` must be {message}"):
                searcher.create(short_dim=wrong)
        with pytest.raises(StoreError, match=rf"with short_dim {made}, and not with 48"):
            searcher.create(short_dim=48)
        searcher.create()
        assert len(searcher.search(CAPITAL)) == len(DOCUMENTS)

    def test_candidates_are_those_of_the_tenant(self, make: MakeSearcher) -> None:
        searcher = make()
        if not searcher.store.can_have_tenants:
            pytest.skip(f"{type(searcher.store).__name__} has no tenants")
        searcher.create(tenants=True, short_dim=32)
        searcher.add(DOCUMENTS, tenant="acme")
        alone = HybridSearcher(MemoryStore(), make_embedder())
        alone.create(short_dim=32)
        alone.add(DOCUMENTS)
        encoder, [query] = searcher.encoder, searcher.embedder.embed_queries([CAPITAL])
        names = [*(document.id for document in DOCUMENTS), *range(100, 160)]
        nearer = [Point(Document(n, "text"), query, encoder.encode_document("text")) for n in names]
        searcher.store.for_tenant("globex").upsert(nearer)

        asked = Query(query, encoder.encode_query("bread"), encoder.query_terms("bread"), "", 32)
        for limit in (2, 4):
            found = searcher.store.for_tenant("acme").search(asked, limit=limit)[DENSE]
            expected = alone.store.search(asked, limit=limit)[DENSE]
            assert [id_ for id_, _ in found] == [id_ for id_, _ in expected]
            assert [score for _, score in found] == pytest.approx(
                [score for _, score in expected], abs=2e-5
            )
        assert len(searcher.search(CAPITAL, limit=80, tenant="globex")) == len(nearer)
        assert searcher.search(CAPITAL, tenant="nobody") == []
        record = searcher.store.record()
        assert record is not None
        assert (record.tenants, record.short_dim) == (True, 32)
        with pytest.raises(StoreError, match="with short_dim 32, and not with 48"):
            searcher.create(tenants=True, short_dim=48)
        searcher.create(tenants=True, short_dim=32)
        assert [one for one in searcher.check_collection() if one.severity == "error"] == []


def _vectors() -> tuple[Any, list[Any]]:
    """Give a query, and vectors of which the first alone is near it, but not in its beginning."""
    draw = np.random.default_rng(0)
    query = draw.normal(size=64).astype(np.float32)
    query[32:] *= 3
    others = 0.2 * draw.normal(size=(199, 64)).astype(np.float32)
    others[:, :32] += draw.uniform(0.2, 1, size=(199, 1)).astype(np.float32) * query[:32]
    near = query.copy()
    near[:32] *= -1
    vectors = [near, *others]
    return _unit(query), [_unit(vector) for vector in vectors]


def _unit(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)
