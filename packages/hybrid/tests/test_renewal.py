"""BM25 vectors of another encoder version are renewed, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from qwen3_rag.errors import StoreError
from qwen3_rag.lexical import BM25Encoder, mean_length
from qwen3_rag_hybrid import (
    CollectionRecord,
    Document,
    HybridSearcher,
    Point,
    Store,
    renew_bm25,
)
from qwen3_rag_testkit.store_corpus import make_embedder

VERSION_1 = {"encoder_version": 1, "k1": 1.2, "b": 0.75, "avg_len": 256.0}
DOCUMENTS = [Document(number, f"The error E_{number} in Windows11") for number in range(600)]


def fill(store: Store, documents: Sequence[Document]) -> None:
    """Fill a store as version 1 would have: its record, and other terms."""
    with make_embedder() as embedder:
        searcher = HybridSearcher(store, embedder)
        searcher.create()
        searcher.add(documents)
    other = BM25Encoder().encode_document("terms of another version")
    points = list(store.scan(vectors=True))
    store.upsert([replace(point, sparse=other) for point in points])
    record = store.record()
    assert record is not None
    store.write_record(replace(record, encoder=VERSION_1))


def dense_of(store: Store) -> dict[object, list[float]]:
    found: dict[object, list[float]] = {}
    for point in store.scan(vectors=True):
        assert point.dense is not None
        found[point.document.id] = point.dense.tolist()
    return found


def test_a_renewed_collection_is_that_of_this_encoder(store: Store) -> None:
    fill(store, DOCUMENTS)
    dense = dense_of(store)

    assert renew_bm25(store) == len(DOCUMENTS)

    renewed = dense_of(store)
    assert renewed.keys() == dense.keys()
    # Local mode normalises vectors again.
    assert all(renewed[id_] == pytest.approx(dense[id_], abs=1e-6) for id_ in dense)
    encoder = BM25Encoder(avg_len=round(mean_length([document.text for document in DOCUMENTS]), 1))
    for point in store.scan(vectors=True):
        expected = encoder.encode_document(point.document.text)
        assert point.sparse is not None
        assert np.array_equal(point.sparse.indices, expected.indices)
        assert np.allclose(point.sparse.values, expected.values)
    with HybridSearcher(store, make_embedder()) as searcher:
        assert searcher.check_collection() == []
        assert searcher.search("E_321")[0].id == 321
        assert renew_bm25(store) == 0


def test_an_interrupted_renewal_stays_refused_and_is_completed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, DOCUMENTS)
    write, written = store.renew_terms, 0

    def interrupted(points: Sequence[Point], record: CollectionRecord) -> None:
        nonlocal written
        if written:
            raise KeyboardInterrupt
        written += len(points)
        write(points, record)

    monkeypatch.setattr(store, "renew_terms", interrupted)
    with pytest.raises(KeyboardInterrupt):
        renew_bm25(store)
    monkeypatch.undo()

    assert 0 < written < len(DOCUMENTS)
    with HybridSearcher(store, make_embedder()) as searcher:
        with pytest.raises(StoreError, match="renew_bm25"):
            searcher.search("E_321")
        assert renew_bm25(store) == len(DOCUMENTS)
        assert {searcher.search(f"E_{number}")[0].id for number in (0, 321, 599)} == {0, 321, 599}


def test_an_interrupted_change_of_the_weights_is_refused_and_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document(number, f"number {number}") for number in range(300)]
    chosen = BM25Encoder(avg_len=50)
    with HybridSearcher(store, make_embedder()) as searcher:
        searcher.create()
        searcher.add(documents)

        def interrupted(points: Sequence[Point], record: CollectionRecord) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(store, "renew_terms", interrupted)
        with pytest.raises(KeyboardInterrupt):
            renew_bm25(store, chosen)
        monkeypatch.undo()

        with pytest.raises(StoreError, match=r"was interrupted.*renew_bm25\(store\)"):
            searcher.add(documents[:1])
        assert renew_bm25(store) == len(documents)
        assert searcher.check_collection()[0].code == "avg_len"  # 50, as chosen
        record = store.record()
        assert record is not None
        assert record.encoder == chosen.parameters


def test_the_parameters_can_be_chosen(store: Store) -> None:
    fill(store, DOCUMENTS[:3])
    encoder = BM25Encoder(avg_len=12)

    renew_bm25(store, encoder)

    with HybridSearcher(store, make_embedder(), encoder=encoder) as searcher:
        assert searcher.check_collection() == []


def test_a_collection_without_a_record_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match=r"no record.*HybridSearcher\.create"):
        renew_bm25(store)


def test_a_collection_of_a_later_release_is_left_as_it_is(store: Store) -> None:
    fill(store, DOCUMENTS[:3])
    record = store.record()
    assert record is not None
    store.write_record(replace(record, encoder={**VERSION_1, "encoder_version": 99}))

    with pytest.raises(StoreError, match=r"version 99.*Update"):
        renew_bm25(store)
    with (
        HybridSearcher(store, make_embedder()) as searcher,
        pytest.raises(StoreError, match=r"encoder_version 99.*Update qwen3-rag\."),
    ):
        searcher.search("x")


def test_parameters_other_than_the_mean_length_are_kept(store: Store) -> None:
    fill(store, DOCUMENTS)
    record = store.record()
    assert record is not None
    store.write_record(replace(record, encoder={**VERSION_1, "k1": 0.9}))

    renew_bm25(store)

    record = store.record()
    assert record is not None
    assert record.encoder["k1"] == 0.9
    assert record.encoder["avg_len"] != 256.0


def test_the_mean_length_can_be_measured_anew(store: Store) -> None:
    with make_embedder() as embedder:
        searcher = HybridSearcher(store, embedder, encoder=BM25Encoder(avg_len=50))
        searcher.create()
        searcher.add(DOCUMENTS)

    assert renew_bm25(store) == 0
    assert renew_bm25(store, measure=True) == len(DOCUMENTS)
    assert renew_bm25(store, measure=True) == 0

    record = store.record()
    assert record is not None
    mean = mean_length([document.text for document in DOCUMENTS])
    assert record.encoder["avg_len"] == pytest.approx(mean, abs=0.1)
