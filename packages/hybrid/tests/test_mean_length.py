"""The mean length of a collection's texts is measured once, recorded, and watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from qwen3_rag.errors import InputError
from qwen3_rag.lexical import BM25Encoder, mean_length
from qwen3_rag_hybrid import (
    Document,
    HybridSearcher,
    QdrantEdgeStore,
    QdrantStore,
    Store,
    renew_bm25,
)
from qwen3_rag_testkit.memory_store import MemoryStore
from qwen3_rag_testkit.store_corpus import make_embedder

SHORT = [Document(number, f"error {number} of the disk") for number in range(300)]
LONG = [Document(f"long {n}", " ".join(f"word{i}" for i in range(n, n + 60))) for n in range(900)]


@pytest.fixture(params=["edge", "client", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "edge":
        with closing(QdrantEdgeStore(tmp_path)) as opened:
            yield opened
    elif request.param == "memory":
        yield MemoryStore()
    else:
        client = QdrantClient(":memory:")
        yield QdrantStore(client, "documents")
        client.close()


def searcher_on(store: Store, **options: Any) -> HybridSearcher:
    return HybridSearcher(store, make_embedder(), **options)


def recorded(store: Store) -> float | str:
    record = store.record()
    assert record is not None
    return record.encoder["avg_len"]


def mean_of(documents: list[Document]) -> float:
    return mean_length([document.text for document in documents])


async def test_the_first_documents_decide_and_later_ones_change_nothing(store: Store) -> None:
    searcher = searcher_on(store)
    await searcher.acreate()
    await searcher.aadd(SHORT)
    first = store.retrieve([7], vectors=True)[7].sparse

    searcher.add(LONG)

    assert recorded(store) == pytest.approx(mean_of(SHORT), abs=0.1)
    assert first is not None
    expected = BM25Encoder(avg_len=float(recorded(store)))
    assert first.as_dict() == pytest.approx(expected.encode_document(SHORT[7].text).as_dict())
    again = store.retrieve([7], vectors=True)[7].sparse
    assert again is not None
    assert again.as_dict() == first.as_dict()


def test_another_searcher_encodes_as_the_record_says() -> None:
    database: dict[str, Any] = {}
    first = searcher_on(MemoryStore(database))
    first.create()
    first.add(SHORT)
    store = MemoryStore(database)

    second = searcher_on(store)
    second.add([Document("new", "a new disk")])

    encoder = BM25Encoder(avg_len=float(recorded(store)))
    assert second.encoder == encoder
    new = store.retrieve(["new"], vectors=True)["new"].sparse
    assert new is not None
    assert new.as_dict() == pytest.approx(encoder.encode_document("a new disk").as_dict())
    assert second.check_collection() == []


def test_below_200_documents_the_default_stays(store: Store) -> None:
    searcher = searcher_on(store)
    searcher.create()
    searcher.add(SHORT[:199])
    searcher.add(SHORT[199:])

    assert recorded(store) == 256.0


def test_a_sample_decides_before_the_first_document(store: Store) -> None:
    searcher = searcher_on(store)

    searcher.create(sample=(document.text for document in LONG))
    searcher.add(SHORT)

    assert recorded(store) == pytest.approx(mean_of(LONG), abs=0.1)


def test_a_small_sample_and_one_beside_an_encoder_are_refused() -> None:
    with pytest.raises(InputError, match="at least 200 texts, got 2"):
        searcher_on(MemoryStore()).create(sample=["a", "b"])
    with pytest.raises(InputError, match="`encoder` or `sample`"):
        searcher_on(MemoryStore(), encoder=BM25Encoder()).create(sample=["a"] * 200)


def test_a_given_encoder_is_used_as_it_is(store: Store) -> None:
    searcher = searcher_on(store, encoder=BM25Encoder(avg_len=77))
    searcher.create()
    searcher.add(SHORT)

    assert recorded(store) == 77
    assert searcher_on(store).encoder == BM25Encoder()
    assert searcher_on(store).search("disk")[0].ranks["bm25"].rank


def test_texts_without_any_term_leave_the_default(store: Store) -> None:
    searcher = searcher_on(store)
    searcher.create()
    searcher.add([Document(number, "?!") for number in range(200)])

    assert recorded(store) == 256.0


def test_a_wrong_length_is_a_warning_whose_remedy_helps(store: Store) -> None:
    searcher = searcher_on(store)
    searcher.create(sample=(document.text for document in LONG))
    searcher.add(SHORT)

    [warning] = searcher.check_collection()

    assert (warning.code, warning.severity) == ("avg_len", "warning")
    assert "renew_bm25(store, BM25Encoder(avg_len=" in warning.remedy
    assert searcher.search("disk")
    renew_bm25(store, BM25Encoder(avg_len=round(mean_of(SHORT))))
    assert searcher_on(store).check_collection() == []
