"""`QdrantStore`: a collection accessed through any `QdrantClient`, on a server or in local mode."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self, TypeVar

from qwen3_rag.errors import InputError, InputTypeError, MissingExtraError, StoreError
from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import Flow, run
from qwen3_rag_hybrid.documents import Document, Id, Keys, Point
from qwen3_rag_hybrid.stores.base import Query, Store
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.stores.qdrant.filters import check_filter, has_conditions, with_places
from qwen3_rag_hybrid.stores.qdrant.layouts import layout_of
from qwen3_rag_hybrid.stores.qdrant.paths import check_payloads, value_at
from qwen3_rag_hybrid.stores.qdrant.tenants import FIRST_TENANTS, tenants_of
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.tenants import check_whole

try:
    from qdrant_client import AsyncQdrantClient, QdrantClient, models
except ImportError as error:
    raise MissingExtraError(
        "A collection behind a Qdrant client needs the package 'qdrant-client'. Install it with: "
        'pip install "qwen3-rag-hybrid[qdrant]"'
    ) from error

from qwen3_rag_hybrid.stores.qdrant.aio import AsyncQdrant
from qwen3_rag_hybrid.stores.qdrant.operations import Operations
from qwen3_rag_hybrid.stores.qdrant.points import check_numbers

__all__ = ["QdrantStore"]

T = TypeVar("T")

# One lock per client in local mode, even if several searchers share it: concurrent writes, or a
# read during a write, break its collections.
_guards: weakref.WeakKeyDictionary[QdrantClient, threading.RLock] = weakref.WeakKeyDictionary()
_guards_guard = threading.Lock()


class QdrantStore(Store):
    """A collection accessed through your own `QdrantClient`: `":memory:"`, `path=` or a server.

    Safe to share between threads; in local mode, they wait for each other. Filters are of the class
    `qdrant_client.models.Filter`. Closing the client is up to you.
    """

    can_have_tenants = True
    term_forms = ("sparse",)
    has_aliases: ClassVar[bool] = True

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        *,
        async_client: AsyncQdrantClient | None = None,
        layout: str | None = None,
        dense: str | None = None,
        sparse: str | None = None,
        text_key: str | None = None,
        id_key: str | None = None,
        payload_key: str | None = None,
    ) -> None:
        """Set the collection's name; no request is sent before the first use.

        Args:
            client: A `qdrant_client.QdrantClient`, for REST or for gRPC (`prefer_grpc=True`).
            collection: Name of the collection.
            async_client: A `qdrant_client.AsyncQdrantClient` for the same server, which the async
                methods then use, all on one event loop. Without one, they call `client` on one
                thread.
            layout: `"langchain"`, `"llama-index"` or `"haystack"` for a collection as that
                framework's class for Qdrant makes it, which sets the names below.
            dense: Name of the dense vector, `"dense"` when omitted; `""` for a collection's unnamed
                one.
            sparse: Name of the sparse vector; `"bm25"` when omitted, or `"lexical"` in a collection
                that an earlier release created.
            text_key: Payload field with the document's text, `"text"` when omitted; dots lead into
                nested fields.
            id_key: Payload field with the document's own id, `"_id"` when omitted.
            payload_key: Payload field with the document's payload; when omitted, its fields are
                beside text and id.

        Raises:
            InputTypeError: An argument is not a client of its kind.
            InputError: There is an `async_client`, and one of the two is in local mode; or the
                layout is unknown.
        """
        if not isinstance(client, QdrantClient):
            raise InputTypeError(
                f"`client` must be a qdrant_client.QdrantClient, got {type(client).__name__}. Pass "
                "an AsyncQdrantClient as `async_client`, beside it."
            )
        if async_client is not None:
            _check_async(client, async_client)
        self.client = client
        self.async_client = async_client
        self.collection = collection
        self._layout = layout_of(
            layout, dense=dense, sparse=sparse, text=text_key, id=id_key, payload=payload_key
        )
        self._operations = Operations(
            client, async_client, collection, layout=self._layout, is_local=self.is_local
        )
        self.aio = None if async_client is None else AsyncQdrant(self._operations)
        self._guard: AbstractContextManager[Any] = nullcontext()
        if self.is_local:
            with _guards_guard:
                self._guard = _guards.setdefault(client, threading.RLock())

    def for_tenant(self, tenant: str) -> Self:
        """Give the store of one tenant; see `Store.for_tenant`."""
        bound = super().for_tenant(tenant)
        bound._layout = self._layout.for_tenant(tenant)
        bound._operations = self._operations.for_layout(bound._layout)
        if self.async_client is not None:
            bound.aio = AsyncQdrant(bound._operations)
        return bound

    def check_tenants(self) -> None:
        """Reject tenants in a collection of a framework, which has ids and payloads of its own."""
        if self._layout.is_foreign:
            raise StoreError(
                f"{self.name} is opened with a framework's `layout`, where this package keeps no "
                "tenants apart. Make a collection of its own, without `layout`."
            )

    @property
    def name(self) -> str:
        """The collection's name for error messages."""
        return f"The collection {self.collection!r}"

    @property
    def keys(self) -> Keys:
        """Payload fields that hold text, id and tenant."""
        return self._layout.keys

    @property
    def terms_remedy(self) -> str:
        """See `Store.terms_remedy`."""
        return self._run(self._operations.terms_remedy()) or super().terms_remedy

    @property
    def is_local(self) -> bool:
        """Whether the client runs in local mode."""
        return _is_local(self.client)

    def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """Create the collection and store the record; see `Store.create`.

        An existing collection that matches is used unchanged, except that the record and missing
        payload indexes are added.
        """
        self._run(self._operations.create(record, adopt))

    def record(self) -> CollectionRecord | None:
        """Return the record; see `Store.record`."""
        return self._run(self._operations.record())

    def write_record(self, record: CollectionRecord) -> None:
        """Replace the record; see `Store.write_record`."""
        self._run(self._operations.write_record(record))

    def check(self, record: CollectionRecord) -> list[Finding]:
        """Check the collection against the record; see `Store.check`."""
        return self._run(self._operations.check(record))

    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Reject an invalid filter; see `Store.check_filter`."""
        wanted, keys = "qdrant_client.models.Filter", self._layout.keys
        check_filter(filter, models.Filter, wanted, keys.stored(fields), keys)

    def matching(self, values: Mapping[str, Sequence[Any]]) -> Any:
        """Make a filter; see `Store.matching`."""
        return models.Filter(
            must=[
                models.FieldCondition(key=field, match=models.MatchAny(any=list(wanted)))
                for field, wanted in self._layout.keys.stored(values).items()
            ]
        )

    def value_of(self, payload: Mapping[str, Any], field: str) -> Any:
        """Return what a payload has at a path; see `Store.value_of`."""
        return value_at(payload, field)

    def with_ids(self, filter: Any, ids: Sequence[Id] | None = None) -> Any:
        """Make the filter to send; see `Store.with_ids`."""
        place = self._layout.place
        placed = None if filter is None else with_places(filter, place)
        if ids is None:
            return placed
        among = models.HasIdCondition(has_id=[place(id_) for id_ in ids])
        return models.Filter(must=[among] if placed is None else [among, placed])

    def selects_all(self, filter: Any) -> bool:
        """Whether a filter has no conditions; see `Store.selects_all`."""
        return filter is None or not has_conditions(filter)

    def tenants(self) -> list[str]:
        """List the tenants; see `Store.tenants`."""
        check_whole(self.name, self.tenant)
        limit = FIRST_TENANTS
        while len(hits := self._run(self._operations.facet(limit))) == limit:
            limit *= 10
        return tenants_of(hits)

    def check_documents(self, documents: Sequence[Document], record: CollectionRecord) -> None:
        """Reject ids of a wrong type, payloads that filters would miss, and numbers too large."""
        check_payloads(documents, record.fields)
        for document in documents:
            self._layout.place(document.id)
        clients = (self.client, self.async_client)
        if any(each is not None and each.init_options.get("prefer_grpc") for each in clients):
            check_numbers(documents)

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; see `Store.upsert`.

        A request that a server does not take for the moment is repeated for up to 15 seconds, or
        for as long as the server asks for.
        """
        self._run(self._operations.upsert(points))

    def renew_terms(self, points: Sequence[Point], record: CollectionRecord) -> None:
        """Replace the sparse vectors of points; see `Store.renew_terms`.

        A collection without one gets it, which takes a server from 1.18.
        """
        self._run(self._operations.renew_terms(points))

    def lacking_terms(self) -> Iterator[Point]:
        """Iterate over the documents without terms; see `Store.lacking_terms`."""
        sparse = self._run(self._operations.foreign_sparse())
        if sparse is not None:
            has_terms = models.HasVectorCondition(has_vector=sparse)
            yield from self.scan(filter=models.Filter(must_not=[has_terms]))

    def delete(self, ids: Sequence[Id]) -> None:
        """Delete documents; see `Store.delete`. Requests are repeated as in `upsert`."""
        self._run(self._operations.delete(ids))

    def delete_matching(self, filter: Any) -> None:
        """Delete documents that pass a filter; see `Store.delete_matching`."""
        self._run(self._operations.delete_matching(filter))

    def search(self, query: Query, *, limit: int, filter: Any = None) -> RankedLists:
        """Search by vector and by terms in one round trip; see `Store.search`."""
        return self._run(self._operations.search(query, limit, filter))

    def retrieve(self, ids: Sequence[Id], *, vectors: bool = False) -> dict[Id, Point]:
        """Look up documents; see `Store.retrieve`."""
        return self._run(self._operations.retrieve(ids, vectors))

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Iterate over all documents; see `Store.scan`."""
        start: Any = None
        while True:
            points, start = self._run(self._operations.page(start, filter, vectors))
            yield from points
            if start is None:
                return

    def move_alias(self, alias: str) -> None:
        """Move an alias here; see `Store.move_alias`."""
        self._run(self._operations.move_alias(alias))

    def count(self, *, filter: Any = None) -> int:
        """Count documents; see `Store.count`."""
        return self._run(self._operations.count(filter))

    def _run(self, flow: Flow[T]) -> T:
        with self._guard:
            return run(flow)


def _check_async(client: QdrantClient, async_client: object) -> None:
    if not isinstance(async_client, AsyncQdrantClient):
        raise InputTypeError(
            "`async_client` must be a qdrant_client.AsyncQdrantClient, got "
            f"{type(async_client).__name__}."
        )
    for name, each in (("client", client), ("async_client", async_client)):
        if _is_local(each):
            raise InputError(
                f"`{name}` is in local mode, where only one client can see a collection. Leave "
                "`async_client` out: async methods then call `client` on a thread."
            )


def _is_local(client: QdrantClient | AsyncQdrantClient) -> bool:
    options = client.init_options
    return options.get("location") == ":memory:" or options.get("path") is not None
