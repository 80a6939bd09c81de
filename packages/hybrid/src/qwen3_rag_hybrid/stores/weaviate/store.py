"""`WeaviateStore`: a collection on a Weaviate server, accessed through your own client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self
from uuid import UUID

from qwen3_rag.errors import MissingExtraError, StoreError
from qwen3_rag.fusion import RankedLists
from qwen3_rag.integration import Flow
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid.documents import Document, Id, Keys, Point
from qwen3_rag_hybrid.stores.base import Query, parts
from qwen3_rag_hybrid.stores.findings import Finding, adopted, no_collection, refuse, taken
from qwen3_rag_hybrid.stores.reads import AsyncReads, ReadingStore, aside
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.tenants import check_use, check_whole

try:
    from weaviate import WeaviateAsyncClient, WeaviateClient
    from weaviate.classes.query import Filter
except ImportError as error:
    raise MissingExtraError(
        "A collection of Weaviate needs the package 'weaviate-client'. Install it with: "
        'pip install "qwen3-rag-hybrid[weaviate]"'
    ) from error

from qwen3_rag_hybrid.stores.weaviate.connection import Connection, UnknownTenant
from qwen3_rag_hybrid.stores.weaviate.filters import check_filter, matching
from qwen3_rag_hybrid.stores.weaviate.layout import (
    FIELD_TYPES,
    check_field_names,
    check_number,
    check_tenant_name,
)
from qwen3_rag_hybrid.stores.weaviate.layouts import layout_of
from qwen3_rag_hybrid.stores.weaviate.searching import PAGE, reading, retrieve, search
from qwen3_rag_hybrid.stores.weaviate.shape import (
    changes,
    check_shape,
    encoder_of,
    make,
    read_record,
)
from qwen3_rag_hybrid.stores.weaviate.writing import write

__all__ = ["WeaviateStore"]


_NO_OBJECT = UUID(int=0)
_MOST_FILTERED = 9_000  # objects to read by pages; a server gives 10,000 if it is not set to fewer


class WeaviateStore(Connection, ReadingStore):
    """A collection on a Weaviate server, from 1.27, accessed through your own client.

    Safe to share between threads. Filters are those of `weaviate.classes.query.Filter`. Connecting
    and closing the client is up to you.

    The server computes BM25 itself, over the terms of `qwen3_rag.lexical`, with the mean length of
    its own documents. Both retrievers are asked separately and fused here: two requests per search,
    because a request to the server has one query.
    """

    field_types: ClassVar[Sequence[str]] = FIELD_TYPES
    can_have_tenants = True
    term_forms = ("terms",)
    has_aliases: ClassVar[bool] = True

    def __init__(
        self,
        client: WeaviateClient,
        collection: str,
        *,
        async_client: WeaviateAsyncClient | None = None,
        layout: str | None = None,
        dense: str | None = None,
        text_key: str | None = None,
    ) -> None:
        """Set the collection's name; no request is sent before the first use.

        Args:
            client: A connected `weaviate.WeaviateClient`.
            collection: Name of the collection. Weaviate makes its first letter a capital.
            async_client: A connected `weaviate.WeaviateAsyncClient` for the same server, which
                `asearch` then uses, on the event loop that it was connected in. Without one, async
                methods call `client` on one thread.
            layout: `"langchain"`, `"llama-index"` or `"haystack"` for a collection as that
                framework's class for Weaviate makes it. The server's own BM25 then searches the
                texts. `"langchain"` also fits any collection whose objects have a text and other
                properties.
            dense: With a layout, name of the vector; the only one when omitted.
            text_key: With a layout, property with the document's text; the framework's own when
                omitted.

        Raises:
            InputTypeError: A client is of another class.
            InputError: The layout is unknown, or names are given without one.
        """
        super().__init__(client, collection, async_client)
        self._layout = layout_of(layout, dense=dense, text=text_key)
        self.aio = None if async_client is None else AsyncReads(self)

    def for_tenant(self, tenant: str) -> Self:
        """Give the store of one tenant; see `Store.for_tenant`.

        The server limits names to letters of ASCII, digits, `_` and `-`, 64 of them at most.
        """
        bound = super().for_tenant(tenant)
        check_tenant_name(tenant)
        return bound

    def check_tenants(self) -> None:
        """Reject tenants in a collection of a framework."""
        if not self._layout.has_terms:
            raise StoreError(
                f"{self.name} is opened with a framework's `layout`, where this package keeps no "
                "tenants apart. Make a collection of its own, without `layout`."
            )

    @property
    def keys(self) -> Keys:
        """Properties with text and id."""
        return self._layout.keys

    @property
    def terms_remedy(self) -> str:
        """See `Store.terms_remedy`."""
        return (
            "It finds the words of the server's tokenization, and no parts of compounds or of "
            "unspaced scripts. To search our terms, make a new collection without `layout`, and "
            "add the documents there: a framework would show a property with terms as metadata."
        )

    def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """Create the collection and store the record; see `Store.create`.

        For a new field in an existing collection, all documents that have it are written again,
        because the server filters by properties, not by the payload.
        """
        check_field_names(record.fields)
        with self._asking("Making"):
            found = self._configuration()
            if found is None:
                made = self._layout.recorded(record)
                make(self.client, self.collection, self._layout, made)
                return
            record = self._layout.recorded(record)
            recorded = read_record(self.name, found)
            if recorded == record and not check_shape(self.name, found, self._layout, record):
                return
            refuse(self._findings(found, record))
            record = adopted(
                self.name,
                recorded,
                record,
                adopt=adopt,
                count=lambda: sum(one.count() for one in parts(self, record)),
            )
            self._add_fields(found, record, recorded.fields if recorded else {})
            self._handle().config.update(**changes(found, record))

    def record(self) -> CollectionRecord | None:
        """Return the record; see `Store.record`. It is in the collection's description."""
        with self._asking("Reading the record of"):
            found = self._configuration()
            return None if found is None else read_record(self.name, found)

    def write_record(self, record: CollectionRecord) -> None:
        """Replace the record; see `Store.write_record`. The server's k1 and b are set with it."""
        with self._asking("Recording in"):
            self._handle().config.update(**changes(self._configured(), record))

    def check(self, record: CollectionRecord) -> list[Finding]:
        """Check the collection against the record; see `Store.check`."""
        with self._asking("Checking"):
            found = self._configuration()
            return (
                [no_collection(self.collection)] if found is None else self._findings(found, record)
            )

    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Reject an invalid filter; see `Store.check_filter`."""
        check_filter(filter, fields, self._layout.keys)

    def matching(self, values: Mapping[str, Sequence[Any]]) -> Any:
        """Make a filter; see `Store.matching`."""
        return matching(values)

    def with_ids(self, filter: Any, ids: Sequence[Id] | None = None) -> Any:
        """Make the filter to send; see `Store.with_ids`.

        The client takes UUIDs alone for ids, which are the documents' own where they are UUIDs.
        """
        if ids is None:
            return filter
        among = Filter.by_id().contains_any([self._layout.object_id(id_) for id_ in ids])
        return among if filter is None else among & filter

    def tenants(self) -> list[str]:
        """List the tenants; see `Store.tenants`. One whose documents were deleted is still one."""
        check_whole(self.name, self.tenant)
        with self._asking("Listing the tenants of"):
            enabled = self._configured().multi_tenancy_config.enabled
            return sorted(self._handle().tenants.get()) if enabled else []

    def delete_tenant(self, tenant: str) -> None:
        """Delete a tenant; see `Store.delete_tenant`."""
        with self.for_tenant(tenant)._asking("Deleting from"):
            self._handle().tenants.remove([tenant])

    def check_documents(self, documents: Sequence[Document], record: CollectionRecord) -> None:
        """Reject what the server has no place for or would change; see `Store.check_documents`."""
        integers = [name for name, kind in record.fields.items() if kind == "integer"]
        in_properties = not self._layout.has_terms and not self._layout.keys.node
        for document in documents:
            self._layout.object_id(document.id)
            self._layout.check_payload(document)
            for name in document.payload if in_properties else integers:
                value = document.payload.get(name)
                for one in value if isinstance(value, (list, tuple)) else [value]:
                    check_number(one, f"The field {name!r} of the document {document.id!r}")

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; see `Store.upsert`.

        Raises:
            StoreError: The server refused some documents, which are named, or all of them.
        """
        with self._asking("Writing to"):
            # Asked for anew: a server makes a collection that is gone by guessing at its types.
            found = self._configured()
            check_use(self.name, found.multi_tenancy_config.enabled, self.tenant)
            recorded = read_record(self.name, found)
            write(self.name, self._handle(), self._layout, points, recorded)

    def renew_terms(self, points: Sequence[Point], record: CollectionRecord) -> None:
        """Write the terms of points again; see `Store.renew_terms`."""
        if not self._layout.has_terms:
            raise StoreError(f"{self.name} cannot get BM25 terms. {self.terms_remedy}")
        self.upsert(points)

    def delete(self, ids: Sequence[Id]) -> None:
        """Delete documents; see `Store.delete`."""
        places = [self._layout.object_id(id_) for id_ in ids]
        with suppress(UnknownTenant), self._asking("Deleting from"):
            for start in range(0, len(places), PAGE):
                self._delete(Filter.by_id().contains_any(places[start : start + PAGE]))

    def delete_matching(self, filter: Any) -> None:
        """Delete documents that pass a filter; see `Store.delete_matching`.

        The server deletes up to 10,000 per request, or as many as it is set to.
        """
        matching = Filter.by_id().not_equal(_NO_OBJECT) if filter is None else filter
        with suppress(UnknownTenant), self._asking("Deleting from"):
            while self._delete(matching):
                pass

    def searching(self, query: Query, limit: int, filter: Any) -> Flow[RankedLists]:
        """Search, for blocking and for async callers."""
        nothing: RankedLists = {DENSE: [], BM25: []}
        return self._flow(
            "Searching", search(self._ask, self._layout, query, limit, filter), nothing
        )

    def retrieving(self, ids: Sequence[Id], vectors: bool) -> Flow[dict[Id, Point]]:
        """Look up documents, for blocking and for async callers."""

        def flow() -> Flow[dict[Id, Point]]:
            encoder = (yield aside(self._encoder)) if vectors else None
            return (yield from retrieve(self._ask, self._layout, ids, encoder))

        return self._flow("Reading", flow(), {})

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Iterate over all documents; see `Store.scan`.

        The server has no cursor over filtered documents. Where more than 9,000 pass the filter, it
        is asked which of each page of all documents pass.
        """
        with suppress(UnknownTenant):
            yield from self._scan(filter, vectors)

    def count(self, *, filter: Any = None) -> int:
        """Count documents; see `Store.count`."""
        with suppress(UnknownTenant), self._asking("Counting"):
            return 0 if self._configuration() is None else self._count(filter)
        return 0

    def _scan(self, filter: Any, vectors: bool) -> Iterator[Point]:
        with self._asking("Reading"):
            encoder = self._encoder() if vectors else None
            is_counted = filter is not None and self._count(filter) <= _MOST_FILTERED
        place: dict[str, Any] = {"offset": 0, "filters": filter} if is_counted else {"after": None}
        while True:
            with self._asking("Reading"):
                arguments = {**reading(self._layout, vectors), **place}
                found = self._handle().query.fetch_objects(limit=PAGE, **arguments).objects
                passing = found
                if filter is not None and not is_counted:
                    passing = self._passing(found, filter)
            for one in passing:
                yield self._layout.read_point(one, encoder)
            if len(found) < PAGE:
                return
            if is_counted:
                place["offset"] += PAGE
            else:
                place["after"] = found[-1].uuid

    def move_alias(self, alias: str) -> None:
        """Move an alias here; see `Store.move_alias`. The server must be of 1.32 or later.

        Like a collection's name, an alias begins with a capital letter, and is made to.
        """
        alias = alias[:1].upper() + alias[1:]
        with self._asking("Moving an alias to"):
            if self.client.alias.exists(alias_name=alias):
                self.client.alias.update(alias_name=alias, new_target_collection=self.collection)
            elif self.client.collections.exists(alias):
                raise StoreError(taken(alias))
            else:
                self.client.alias.create(alias_name=alias, target_collection=self.collection)

    def _delete(self, matching: Any) -> int:
        """Delete objects, and return how many there were."""
        deleted = self._handle().data.delete_many(where=matching)
        if deleted.failed:
            raise StoreError(
                f"{self.name} did not delete {deleted.failed} of {deleted.matches} documents. "
                "Delete them again."
            )
        return int(deleted.matches)

    def _encoder(self) -> BM25Encoder:
        recorded = read_record(self.name, self._configured())
        return BM25Encoder() if recorded is None else encoder_of(recorded)

    def _findings(self, found: Any, record: CollectionRecord) -> list[Finding]:
        findings = check_shape(self.name, found, self._layout, record)
        if findings or read_record(self.name, found) is not None:
            return findings
        # The size of vectors is not part of the configuration, and the same for all tenants.
        sizes: list[int] = []
        for one in parts(self, record):
            query = one._handle().query
            objects = query.fetch_objects(limit=1, include_vector=self._layout.include_vector)
            vectors = [self._layout.read_vector(each) for each in objects.objects]
            sizes = [len(vector) for vector in vectors if vector]
            if sizes:
                break
        return [
            Finding(
                "dim",
                "error",
                f"{self.name} holds vectors of {size} numbers, and the embedder gives "
                f"{record.dim}.",
                f"Make the embedder with dim={size}, or a new collection.",
            )
            for size in sizes
            if size != record.dim
        ]

    def _add_fields(self, found: Any, record: CollectionRecord, known: Mapping[str, str]) -> None:
        """Add the properties of new fields, and their values to the documents that have them.

        Interrupted, it is done again by the next call, because the record is written after it.
        """
        new = record.fields.keys() - known.keys()
        have = {one.name for one in found.properties}
        for name in sorted(record.fields.keys() - have):
            self._handle().config.add_property(
                self._layout.field_property(name, record.fields[name])
            )
        for one in parts(self, record) if new and self._layout.has_terms else ():
            waiting: list[Point] = []
            for point in one.scan(vectors=True):
                if new & point.document.payload.keys():
                    waiting.append(point)
                if len(waiting) == PAGE:
                    write(self.name, one._handle(), self._layout, waiting, record)
                    waiting = []
            write(self.name, one._handle(), self._layout, waiting, record)
