"""`Access`: the requests to a Milvus collection, its record, and its rows by their layout."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from pymilvus import AsyncMilvusClient, MilvusClient, MilvusException

from qwen3_rag.errors import Qwen3RagError, StoreError
from qwen3_rag.integration import Call, Flow
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Id, Point, point_id
from qwen3_rag_hybrid.stores.base import is_recent
from qwen3_rag_hybrid.stores.findings import no_collection
from qwen3_rag_hybrid.stores.milvus.filters import quoted
from qwen3_rag_hybrid.stores.milvus.foreign import ForeignLayout, Found
from qwen3_rag_hybrid.stores.milvus.rows import Names, read_id, read_point, to_row
from qwen3_rag_hybrid.stores.reads import aside
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.tenants import check_use

__all__ = ["OWN", "PAGE", "RECORD", "STRONG", "Access", "Use", "guard_of"]

#: The collection's property with the record.
RECORD = "qwen3_rag"

#: The names in this package's own collections.
OWN = Names("pk", "_id", "text", "payload", "terms", DENSE, BM25)
_SAMPLED = 20  # vectors of another program to look at

#: Rows of one request.
PAGE = 256

_NOT_FOUND = 100  # the code of the error for a missing collection

#: The consistency level of reads that find everything written before.
STRONG = "Strong"

# One lock per client, even if several searchers share it: Milvus Lite is unsafe for concurrent
# writers.
_guards: weakref.WeakKeyDictionary[MilvusClient, threading.RLock] = weakref.WeakKeyDictionary()
_guards_guard = threading.Lock()


T = TypeVar("T")


@dataclass
class Use:
    """What was found out about a collection, shared with the stores of its tenants.

    Attributes:
        record: Its record.
        at: When it was looked at and loaded, by `time.monotonic`.
    """

    record: CollectionRecord | None = None
    at: float = -math.inf


def guard_of(client: MilvusClient) -> threading.RLock:
    """Return the lock of a client."""
    with _guards_guard:
        return _guards.setdefault(client, threading.RLock())


class Access:
    """A collection, or one of its tenants, accessed through the caller's clients."""

    client: MilvusClient
    async_client: AsyncMilvusClient | None
    collection: str
    tenant: str | None = None
    _names: Names
    _foreign: ForeignLayout | None
    _found: Found | None
    _use: Use

    @property
    def name(self) -> str:
        """The collection's name for error messages."""
        return f"The collection {self.collection!r}"

    def _rows(self, filter: str, fields: list[str]) -> Iterator[dict[str, Any]]:
        with self._asking("Reading"):
            rows = self.client.query_iterator(
                self.collection,
                batch_size=PAGE,
                filter=filter,
                output_fields=fields,
                consistency_level=STRONG,
            )
        try:
            while True:
                with self._asking("Reading"):
                    page = rows.next()
                if not page:
                    return
                yield from page
        finally:
            rows.close()

    def _described(self) -> Found:
        """Describe the collection, unless `_ready` has done so lately."""
        if self._found is None:
            description = self.client.describe_collection(self.collection)
            self._found = Found.of(description, self._indexes())
        return self._found

    def _sample(self, found: Found) -> list[list[float]]:
        """Read some vectors that another program wrote."""
        if self._names.dense not in found.indexes:
            return []
        self._load()
        rows = self.client.query(
            self.collection,
            output_fields=[self._names.dense],
            limit=_SAMPLED,
            consistency_level=STRONG,
        )
        return [row[self._names.dense] for row in rows]

    def _row(self, point: Point, short_dim: int | None) -> dict[str, Any]:
        if self._foreign is None:
            return to_row(point, self._names, self.tenant, short_dim)
        return self._foreign.to_row(point, self._described())

    def _key(self, id_: Id) -> Id:
        """Return the primary key of a document's row."""
        if self._foreign is None:
            return str(point_id(id_, self.tenant))
        return self._foreign.key(id_, self._described())

    def _among(self, ids: Sequence[Id]) -> str:
        """Make the expression that the rows of some ids pass.

        The client makes one too, of the argument `ids`, and leaves quotes in ids as they are.
        """
        return f"{self._names.primary} in {quoted([self._key(id_) for id_ in ids])}"

    def _pages(self, ids: Sequence[Id]) -> Iterator[str]:
        """Yield the expressions for as many ids as one request should have."""
        for start in range(0, len(ids), PAGE):
            yield self._among(ids[start : start + PAGE])

    def _read(self, row: Mapping[str, Any], encoder: BM25Encoder | None) -> Point:
        if self._foreign is None:
            return read_point(row, self._names, encoder)
        return self._foreign.read_point(row, vectors=encoder is not None)

    def _read_id(self, hit: Mapping[str, Any]) -> Id:
        if self._foreign is None:
            return read_id(hit["entity"], self._names)
        return self._foreign.read_id(hit)

    def _sparse(self) -> str:
        """Return the name of the sparse vector that BM25 is computed into."""
        if self._foreign is None:
            return self._names.sparse
        return self._described().bm25_of(self._names.text) or self._names.sparse

    def _is_lite(self) -> bool:
        return "lite" in self.client.get_server_version().lower()

    def _indexes(self) -> dict[str, Mapping[str, Any]]:
        """Describe the collection's indexes, by field."""
        names = self.client.list_indexes(self.collection)
        found = [self.client.describe_index(self.collection, name) for name in names]
        return {index["field_name"]: index for index in found}

    def _recorded(self) -> CollectionRecord | None:
        properties = self.client.describe_collection(self.collection).get("properties") or {}
        values = properties.get(RECORD)
        try:
            record = None if values is None else CollectionRecord.from_dict(json.loads(values))
        except (AttributeError, TypeError, ValueError) as error:
            raise StoreError(
                f"The record of the collection {self.collection!r} cannot be read ({error}). A "
                "later release of qwen3-rag-hybrid may have written it: update this one."
            ) from error
        self._use.record = record
        return record

    def _write_record(self, record: CollectionRecord) -> None:
        self.client.alter_collection_properties(
            self.collection, properties={RECORD: json.dumps(record.as_dict())}
        )

    def _load(self) -> None:
        """Load the collection, which a file of Milvus Lite is not when it has been opened."""
        self.client.load_collection(self.collection)

    def _ready(self, *, writing: bool = False) -> None:
        """Load the collection; check that a tenant is named where there are any, and only there.

        Args:
            writing: Whether to read the record anew.
        """
        if not is_recent(self._use.at):
            self._found = None
            self._load()
            self._recorded()
            self._use.at = time.monotonic()
        elif writing:
            self._recorded()
        record = self._use.record
        check_use(self.name, record is not None and record.tenants, self.tenant)
        if self._foreign is not None:
            self._described()

    def _prepare(self) -> Flow[None]:
        """Do as `_ready`, on a thread if that takes requests."""
        is_known = self._foreign is None or self._found is not None
        if is_recent(self._use.at) and is_known:
            self._ready()
        else:
            yield aside(self._ready)

    def _ask(self, requests: Sequence[Callable[[Any], Any]]) -> Call:
        """Make a call that sends requests by the client of its caller, and gives their answers."""

        async def awaited() -> list[Any]:
            return await asyncio.gather(*(request(self.async_client) for request in requests))

        return Call(lambda: [request(self.client) for request in requests], awaited)

    def _doing(self, action: str, flow: Flow[T]) -> Flow[T]:
        """Run a flow, and convert the clients' errors to `StoreError`."""
        try:
            return (yield from flow)
        except Qwen3RagError:
            raise
        except Exception as error:
            raise self._failure(action, error) from error

    def _encoder(self) -> BM25Encoder:
        record = self._recorded()
        return BM25Encoder() if record is None else record.bm25

    def _output(self, vectors: bool) -> list[str]:
        fields = [self._names.id, self._names.text, self._names.payload]
        if self._foreign is not None:
            fields = self._described().scalars()
        return [*fields, self._names.dense] if vectors else fields

    @contextmanager
    def _asking(
        self, action: str, guard: AbstractContextManager[Any] | None = None
    ) -> Iterator[None]:
        """Convert the client's errors to `StoreError`."""
        try:
            with guard or nullcontext():
                yield
        except Qwen3RagError:
            raise
        except Exception as error:
            raise self._failure(action, error) from error

    def _failure(self, action: str, error: Exception) -> StoreError:
        if isinstance(error, MilvusException) and error.code == _NOT_FOUND:
            return StoreError(str(no_collection(self.collection)))
        name = f"{self.name[0].lower()}{self.name[1:]}"
        return StoreError(f"{action} {name} failed: {type(error).__name__}: {error}")
