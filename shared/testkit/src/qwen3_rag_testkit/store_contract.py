"""`StoreContract`: the tests that every store must pass, as a class to subclass.

class TestMyStore(StoreContract):
    def open_store(self, folder): return MyStore(folder / "index")
    def equals(self, field, value): return my_client.Equals(field, value)
"""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from qwen3_rag import Hit, InputError, Qwen3Embedder, Qwen3Reranker, StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import Document, HybridSearcher, Store
from qwen3_rag_testkit.backends import DeterministicBackend, TextBackend
from qwen3_rag_testkit.store_corpus import (
    CAPITAL,
    DOCUMENTS,
    FIELDS,
    PAYLOADS,
    make_embedder,
)
from qwen3_rag_testkit.store_search_contract import MakeSearcher
from qwen3_rag_testkit.store_short_contract import ShortVectorContract
from qwen3_rag_testkit.store_tenant_contract import TenantContract
from qwen3_rag_testkit.store_writing_contract import WritingContract

__all__ = ["StoreContract"]


def _other_model() -> dict[str, Any]:
    backend = DeterministicBackend("embedding", 64)
    return {"embedder": Qwen3Embedder("test/other", backend=backend)}


def _other_dim() -> dict[str, Any]:
    backend = TextBackend("embedding", 64)
    return {"embedder": Qwen3Embedder("test/embedder", dim=48, backend=backend)}


def _other_parameters() -> dict[str, Any]:
    return {"encoder": BM25Encoder(avg_len=100)}


def _nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = wrap(value)
    return value


class StoreContract(WritingContract, TenantContract, ShortVectorContract):
    """The tests that every store must pass. Subclass it and implement `open_store` and `equals`.

    Attributes:
        payloads: Payloads that come back as given, for a store that limits their size.
        server_threads: Parts of the names of a server's threads, if it runs in this process.

    Example:
        ```python
        class TestMyStore(StoreContract):
            def open_store(self, folder: Path) -> Store:
                return MyStore(folder / "index")

            def equals(self, field: str, value: str) -> Any:
                return my_client.Equals(field, value)
        ```
    """

    payloads: ClassVar[Sequence[Mapping[str, Any]]] = PAYLOADS
    server_threads: ClassVar[Sequence[str]] = ("process_request_thread",)

    @abstractmethod
    def open_store(self, folder: Path) -> Store:
        """Open the collection for `folder`; no other store has it open."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = self.open_store(tmp_path)
        yield store
        store.close()

    @pytest.fixture
    def make(self, store: Store) -> Iterator[MakeSearcher]:
        """Make searchers over the store."""
        made: list[HybridSearcher] = []

        def make(**arguments: Any) -> HybridSearcher:
            embedder = arguments.pop("embedder", None) or make_embedder()
            made.append(HybridSearcher(store, embedder, **arguments))
            return made[-1]

        yield make
        for searcher in made:
            searcher.close()

    @pytest.fixture
    def filled(self, make: MakeSearcher) -> HybridSearcher:
        """A searcher over a collection that contains `DOCUMENTS`."""
        searcher = make()
        searcher.create(fields=FIELDS)
        searcher.add(DOCUMENTS)
        return searcher

    def test_a_missing_collection_says_so(self, make: MakeSearcher) -> None:
        searcher = make()

        assert searcher.store.record() is None
        assert searcher.count() == 0
        assert [finding.code for finding in searcher.check_collection()] == ["missing"]
        for call in (lambda: searcher.search("x"), lambda: searcher.add(DOCUMENTS)):
            with pytest.raises(StoreError, match=r"no collection .*create\(\)"):
                call()
        for read in (
            lambda: searcher.delete(["a"]),
            lambda: searcher.retrieve(["a"]),
            lambda: list(searcher.scan()),
        ):
            with pytest.raises(StoreError, match=r"(?i)no collection|not found"):
                read()

    def test_the_record_and_the_documents_are_there_when_opened_again(self, tmp_path: Path) -> None:
        with HybridSearcher(self.open_store(tmp_path), make_embedder()) as searcher:
            searcher.create(fields=FIELDS)
            searcher.add(DOCUMENTS)
            record, hits = searcher.store.record(), searcher.search(CAPITAL)

        with HybridSearcher(self.open_store(tmp_path), make_embedder()) as searcher:
            assert searcher.check_collection() == []
            assert searcher.store.record() == record
            assert record is not None
            assert (record.model, record.dim, record.fields) == ("text-embedding", 64, FIELDS)
            assert record.encoder == BM25Encoder().parameters
            assert searcher.search(CAPITAL) == hits

    def test_a_record_can_be_replaced_by_another(self, tmp_path: Path) -> None:
        with HybridSearcher(self.open_store(tmp_path), make_embedder()) as searcher:
            searcher.create(fields=FIELDS)
            searcher.add(DOCUMENTS)
            record = searcher.store.record()
            assert record is not None
            other = replace(record, encoder={"encoder_version": 0, "snowball": "none"})
            searcher.store.write_record(other)

        with HybridSearcher(self.open_store(tmp_path), make_embedder()) as searcher:
            assert searcher.store.record() == other
            assert searcher.count() == len(DOCUMENTS)

    def test_creating_twice_keeps_everything_and_adds_fields(self, filled: HybridSearcher) -> None:
        filled.create()
        filled.create(fields={"more": "keyword"})

        record = filled.store.record()
        assert filled.count() == len(DOCUMENTS)
        assert record is not None
        assert record.fields == {**FIELDS, "more": "keyword"}
        assert filled.check_collection() == []
        with pytest.raises(StoreError, match="field 'year' as 'integer', not 'keyword'"):
            filled.create(fields={"year": "keyword"})

    def test_every_type_of_field_can_be_declared(self, make: MakeSearcher) -> None:
        searcher = make()

        searcher.create(fields={f"a_{kind}": kind for kind in searcher.store.field_types})

        assert searcher.check_collection() == []
        with pytest.raises(InputError, match="type of the field 'path' must be one of keyword"):
            searcher.create(fields={"path": "string"})

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (_other_model, "model", "'text-embedding'.*not of 'deterministic-embedding'.*new coll"),
            (_other_dim, "dim", r"64 numbers, and the embedder gives 48.*dim=64"),
            (_other_parameters, "encoder", r"avg_len 256.0.*100.*BM25Encoder\(avg_len=256.0\)"),
        ],
    )
    def test_a_collection_of_something_else_is_refused_before_anything_is_written(
        self,
        filled: HybridSearcher,
        make: MakeSearcher,
        arguments: Callable[[], dict[str, Any]],
        code: str,
        message: str,
    ) -> None:
        other = make(**arguments())

        for call in (
            lambda: other.add([Document("new", "text")]),
            lambda: other.search("text"),
            other.create,
        ):
            with pytest.raises(StoreError, match=message):
                call()

        assert code in [finding.code for finding in other.check_collection()]
        assert filled.retrieve(["new"]) == {}
        assert filled.check_collection() == []

    def test_documents_come_back_as_they_were_given(self, filled: HybridSearcher) -> None:
        stored = {point.document.id: point for point in filled.scan(vectors=True)}
        looked_up = filled.retrieve([7, "nobody", "empty"], vectors=True)

        assert [stored[one.id].document for one in DOCUMENTS] == DOCUMENTS
        assert filled.count() == len(stored) == len(DOCUMENTS)
        assert set(looked_up) == {7, "empty"}
        assert looked_up[7].document == DOCUMENTS[3]
        assert filled.retrieve([7])[7].dense is None
        assert next(filled.scan()).dense is None
        [vector] = filled.embedder.embed_documents([DOCUMENTS[3].text])
        for point in (stored[7], looked_up[7]):
            assert point.dense is not None
            assert point.sparse is not None
            np.testing.assert_allclose(point.dense, vector, atol=1e-6)
            assert point.sparse.as_dict() == pytest.approx(
                filled.encoder.encode_document(DOCUMENTS[3].text).as_dict(), rel=1e-6
            )

    def test_payloads_of_any_json_shape_come_back(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create()
        keys = searcher.store.keys
        documents = [
            Document(number, f"text {number}", {k: v for k, v in payload.items() if k != keys.text})
            for number, payload in enumerate(self.payloads)
        ]

        searcher.add(documents)

        found = {hit.id: hit.payload for hit in searcher.search("text")}
        assert found == {document.id: document.payload for document in documents}
        whole = found[3]["whole"]
        assert type(whole) is float

    def test_a_payload_nested_too_deep_is_refused_before_anything_is_written(
        self, tmp_path: Path
    ) -> None:
        cyclic: list[Any] = []
        cyclic.append({"again": cyclic})
        deepest = [
            Document("objects", "text", _nested(32, lambda value: {"a": value})),
            Document("lists", "text", {"a": _nested(31, lambda value: [value])}),
        ]
        with HybridSearcher(self.open_store(tmp_path), make_embedder()) as searcher:
            searcher.create()
            for value in (
                _nested(32, lambda value: {"a": value}),
                _nested(127, lambda value: [value]),
                cyclic,
            ):
                with pytest.raises(InputError, match=r"documents\[1\].payload.*32 levels deep"):
                    searcher.add([Document("fine", "text"), Document("deep", "text", {"a": value})])
            assert searcher.count() == 0
            searcher.add(deepest)

        with HybridSearcher(self.open_store(tmp_path), make_embedder()) as searcher:
            found = {hit.id: hit.payload for hit in searcher.search("text")}
            assert found == {document.id: document.payload for document in deepest}

    def test_a_vector_of_another_size_is_refused(self, filled: HybridSearcher) -> None:
        [point] = filled.retrieve(["france"], vectors=True).values()
        assert point.dense is not None
        short = replace(point, document=Document("short", "text"), dense=point.dense[:3])

        with pytest.raises(StoreError, match="3"):
            filled.store.upsert([short])

        assert filled.retrieve(["short"]) == {}
        assert filled.count() == len(DOCUMENTS)

    def test_two_ids_of_one_point_are_refused(self, filled: HybridSearcher) -> None:
        uuid = "de49976d-0d27-5ed8-aaa5-302359edeb74"

        with pytest.raises(InputError, match=rf"{uuid}.*'a'.*UUID"):
            filled.add([Document("a", "one"), Document(uuid, "another")])

        assert filled.retrieve(["a", uuid]) == {}

    def test_two_thousand_documents_in_one_batch(self, make: MakeSearcher) -> None:
        searcher = make()
        searcher.create()

        searcher.add(
            [Document(f"document {n}", f"text {n}", {"n": n}) for n in range(2_000)],
            batch_size=2_000,
        )

        assert searcher.count() == 2_000
        assert sorted(point.document.payload["n"] for point in searcher.scan()) == [*range(2_000)]
        assert searcher.search("text 1234")[0].id == "document 1234"
        deep = make(candidates=500, weights={"bm25": 0}).search("text", limit=500)
        assert [hit.ranks["dense"].rank for hit in deep] == [*range(1, 501)]

    def test_threads_write_and_read_at_once(self, make: MakeSearcher) -> None:
        searchers = [make(), make()]
        searchers[0].create()

        def work(number: int) -> None:
            searcher = searchers[number % 2]
            searcher.add([Document(f"{number}-{n}", f"text {number} {n}") for n in range(20)])
            assert searcher.search(f"text {number}", limit=3)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(24)))

        assert searchers[0].count() == 480
        assert {point.document.id for point in searchers[1].scan()} == {
            f"{number}-{n}" for number in range(24) for n in range(20)
        }

    def test_async_equals_sync(self, make: MakeSearcher) -> None:
        reranker = Qwen3Reranker("test/reranker", backend=TextBackend("reranking"))
        searcher = make(reranker=reranker)
        queries = [f"capital of country {number}" for number in range(20)]

        async def everything() -> list[list[Hit]]:
            await searcher.acreate(fields=FIELDS)
            await asyncio.gather(*(searcher.aadd(DOCUMENTS[n::3]) for n in range(3)))
            await searcher.adelete(["germany"])
            assert await searcher.acheck_collection() == []
            found = await asyncio.gather(*(searcher.asearch(query) for query in queries))
            return [*found, await searcher.asearch(queries[0], filter=filter)]

        filter = self.equals("path", "a.md")
        before = self._client_threads()
        hits = asyncio.run(everything())

        assert self._client_threads() <= before + 5  # including the models' threads
        assert searcher.count() == len(DOCUMENTS) - 1
        assert hits == [
            *(searcher.search(query) for query in queries),
            searcher.search(queries[0], filter=filter),
        ]

    def test_closing_twice_is_fine(self, filled: HybridSearcher) -> None:
        asyncio.run(filled.asearch("x"))
        filled.close()
        filled.close()

        with pytest.raises(StoreError, match="closed"):
            asyncio.run(filled.asearch("x"))

    def _client_threads(self) -> int:
        names = [each.name for each in threading.enumerate()]
        return sum(not any(part in name for part in self.server_threads) for name in names)
