"""`MilvusStore`: a collection accessed through any `MilvusClient`, of a server or Milvus Lite."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from qwen3_rag.errors import InputError, InputTypeError, MissingExtraError, StoreError
from qwen3_rag_hybrid.documents import Document, Id, Keys, Point
from qwen3_rag_hybrid.stores.findings import Finding, adopted, no_collection, refuse, taken
from qwen3_rag_hybrid.stores.milvus.filters import (
    check_filter,
    matching,
    with_places,
    within,
)
from qwen3_rag_hybrid.stores.milvus.rows import to_scalars
from qwen3_rag_hybrid.stores.reads import AsyncReads
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.tenants import check_whole

try:
    from pymilvus import AsyncMilvusClient, MilvusClient
except ImportError as error:
    raise MissingExtraError(
        "A collection behind a Milvus client needs the package 'pymilvus'. Install it with: "
        'pip install "qwen3-rag-hybrid[milvus]"'
    ) from error

from qwen3_rag_hybrid.stores.milvus.access import (
    OWN,
    PAGE,
    RECORD,
    STRONG,
    Use,
    guard_of,
)
from qwen3_rag_hybrid.stores.milvus.foreign import Found, foreign_layout
from qwen3_rag_hybrid.stores.milvus.schema import check_schema, index_parameters, make_schema
from qwen3_rag_hybrid.stores.milvus.searching import Searching

__all__ = ["MilvusStore"]


class MilvusStore(Searching):
    """A collection accessed through your own `MilvusClient`: a server, or a file of Milvus Lite.

    Milvus computes BM25 itself, of the terms of `qwen3_rag.lexical`. Writes through one client wait
    for each other. Filters are strings, Milvus's filter expressions. Closing the client is up to
    you.

    Example:
        ```python
        client = MilvusClient("index.db")
        searcher = HybridSearcher(MilvusStore(client, "documents"), embedder)
        searcher.create(fields={"path": "keyword"})
        searcher.add([Document("a", "Paris is the capital of France.", {"path": "a.md"})])
        searcher.search("What is the capital of France?", filter='payload["path"] == "a.md"')
        ```
    """

    has_aliases: ClassVar[bool] = True
    field_types = ("keyword", "integer", "float", "bool", "datetime", "uuid")

    can_have_tenants = True
    term_forms = ("terms",)

    def __init__(
        self,
        client: MilvusClient,
        collection: str,
        *,
        async_client: AsyncMilvusClient | None = None,
        layout: str | None = None,
        dense: str | None = None,
        sparse: str | None = None,
        text_key: str | None = None,
        id_key: str | None = None,
        payload_key: str | None = None,
        terms_key: str | None = None,
        primary_key: str | None = None,
        tenant_key: str | None = None,
    ) -> None:
        """Set the collection's name; no request is sent before the first use.

        Args:
            client: A `pymilvus.MilvusClient`.
            collection: Name of the collection.
            async_client: A `pymilvus.AsyncMilvusClient` for the same server, which `asearch` then
                uses, on the event loop that it was made in. Without one, async methods call
                `client` on one thread.
            layout: `"langchain"`, `"llama-index"` or `"haystack"` for a collection as that
                framework's class for Milvus makes it, which sets the names below. Milvus's own BM25
                searches the texts, if the collection has it.
            dense: Field with the dense vector, `"dense"` when omitted.
            sparse: Field with the sparse vector that Milvus computes of the terms, `"bm25"` when
                omitted.
            text_key: Field with the document's text, `"text"` when omitted.
            id_key: Field with the document's own id, as JSON, `"_id"` when omitted.
            payload_key: Field with the document's payload, `"payload"` when omitted. A layout has
                none when omitted: metadata are fields of their own.
            terms_key: Field with the terms of the text, `"terms"` when omitted.
            primary_key: Field with the primary key, `"pk"` when omitted, which is derived from the
                document's id; with a layout, it is the id.
            tenant_key: Field with the document's tenant, `"tenant"` when omitted, in a collection
                with tenants.

        Raises:
            InputTypeError: A client is of another class.
            InputError: The layout is unknown, or does not have a name that is given.
        """
        if not isinstance(client, MilvusClient):
            raise InputTypeError(
                f"`client` must be a pymilvus.MilvusClient, got {type(client).__name__}. The "
                "searcher's async methods work with it too: they call it on a thread."
            )
        if async_client is not None and not isinstance(async_client, AsyncMilvusClient):
            raise InputTypeError(
                "`async_client` must be a pymilvus.AsyncMilvusClient, got "
                f"{type(async_client).__name__}."
            )
        self.client = client
        self.async_client = async_client
        self.collection = collection
        given = {
            "dense": dense,
            "sparse": sparse,
            "text": text_key,
            "id": id_key,
            "payload": payload_key,
            "terms": terms_key,
            "primary": primary_key,
            "tenant": tenant_key,
        }
        named = {key: name for key, name in given.items() if name is not None}
        self._foreign = None if layout is None else foreign_layout(layout, named)
        self._names = replace(OWN, **named) if self._foreign is None else self._foreign.names
        self._found: Found | None = None
        self._use = Use()
        self._guard = guard_of(client)
        self.aio = None if async_client is None else AsyncReads(self)

    @property
    def keys(self) -> Keys:
        """Payload fields that hold text and id."""
        return self._names.keys if self._foreign is None else self._foreign.keys

    @property
    def terms_remedy(self) -> str:
        """See `Store.terms_remedy`."""
        return (
            "Milvus cannot add BM25 to a collection. For our terms, make a new collection without "
            "`layout`; for Milvus's own BM25 of the texts, make one with the framework's BM25 "
            "function or with `create()` under another name. Add the documents there."
        )

    def create(self, record: CollectionRecord, *, adopt: bool = False) -> None:
        """Create the collection and store the record; see `Store.create`.

        An existing collection that matches is used unchanged, except that the record and missing
        indexes on the vectors are added. Payload fields get no index.
        """
        with self._asking("Making", self._guard):
            if not self.client.has_collection(self.collection):
                record = self._as_found(record)
                self._make(record)
            elif self._recorded() != record:
                record = self._take_over(record, adopt)
            self._make_indexes(record)
            if self._recorded() != record:
                raise StoreError(f"{self.name} did not keep its record. Update Milvus to 2.6.")
            self.client.load_collection(self.collection)

    def record(self) -> CollectionRecord | None:
        """Return the record; see `Store.record`."""
        with self._asking("Reading the record of"):
            if not self.client.has_collection(self.collection):
                return None
            return self._recorded()

    def write_record(self, record: CollectionRecord) -> None:
        """Replace the record; see `Store.write_record`."""
        with self._asking("Recording", self._guard):
            self._write_record(record)

    def check(self, record: CollectionRecord) -> list[Finding]:
        """Check the collection against the record; see `Store.check`."""
        with self._asking("Checking"):
            if not self.client.has_collection(self.collection):
                return [no_collection(self.collection)]
            description = self.client.describe_collection(self.collection)
            if self._foreign is None:
                return check_schema(self.name, description, self._indexes(), self._names, record)
            self._found = found = Found.of(description, self._indexes())
            vectors = self._sample(found) if self._recorded() is None else []
            return self._foreign.check_schema(self.name, found, record, vectors)

    def check_filter(self, filter: Any, fields: Mapping[str, str]) -> None:
        """Reject an invalid filter; see `Store.check_filter`."""
        check_filter(filter, fields, self._names)

    def matching(self, values: Mapping[str, Sequence[Any]]) -> Any:
        """Make a filter; see `Store.matching`."""
        return matching(values, self._names)

    def with_ids(self, filter: Any, ids: Sequence[Id] | None = None) -> Any:
        """Make the filter to send; see `Store.with_ids`."""
        placed = None if self.selects_all(filter) else filter
        if placed and self._foreign is None:
            placed = with_places(placed, self._names, self._key)
        if ids is None:
            return placed
        among = self._among(ids)
        return f"{among} and ({placed})" if placed else among

    def selects_all(self, filter: Any) -> bool:
        """Whether a filter is empty; see `Store.selects_all`."""
        return filter is None or not filter.strip()

    def check_tenants(self) -> None:
        """Reject tenants in a collection of a framework."""
        if self._foreign is not None:
            raise StoreError(
                f"{self.name} is opened with a framework's `layout`, where this package keeps no "
                "tenants apart. Make a collection of its own, without `layout`."
            )

    def tenants(self) -> list[str]:
        """List the tenants; see `Store.tenants`. Reads the tenants of all documents."""
        check_whole(self.name, self.tenant)
        with self._asking("Listing the tenants of"):
            record = self._recorded()
            if record is None or not record.tenants:
                return []
            self._load()
        return sorted({row[self._names.tenant] for row in self._rows("", [self._names.tenant])})

    def check_documents(self, documents: Sequence[Document], record: CollectionRecord) -> None:
        """Reject documents that are too long for Milvus; see `Store.check_documents`."""
        with self._asking("Checking documents for"):
            for document in documents:
                if self._foreign is None:
                    to_scalars(document, self._names, self.tenant)
                else:
                    self._foreign.to_scalars(document, self._described())

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; see `Store.upsert`.

        Raises:
            InputError: Milvus cannot hold one of the documents; none is written then.
        """
        with self._asking("Writing to", self._guard):
            self._ready(writing=True)
            recorded = None if self._foreign else self._use.record
            short_dim = None if recorded is None else recorded.short_dim
            rows = [self._row(point, short_dim) for point in points]
            for start in range(0, len(rows), PAGE):  # a server accepts 64 MB per request
                self.client.upsert(self.collection, rows[start : start + PAGE])

    def renew_terms(self, points: Sequence[Point], record: CollectionRecord) -> None:
        """Write the terms of points again; see `Store.renew_terms`."""
        if self._foreign is not None:
            raise StoreError(f"{self.name} cannot get BM25 terms. {self.terms_remedy}")
        self.upsert(points)

    def delete(self, ids: Sequence[Id]) -> None:
        """Delete documents; see `Store.delete`."""
        with self._asking("Deleting from", self._guard):
            self._ready(writing=True)
            for page in self._pages(ids):
                self.client.delete(self.collection, filter=page)

    def delete_matching(self, filter: Any) -> None:
        """Delete documents that pass a filter; see `Store.delete_matching`."""
        with self._asking("Deleting from", self._guard):
            self._ready(writing=True)
            matching = within(self.tenant, filter, self._names)
            if not matching:
                has_numbers = self._foreign is not None and self._described().has_numbers
                nothing = f"== {-(2**63)}" if has_numbers else '== ""'
                matching = f"not ({self._names.primary} {nothing})"
            self.client.delete(self.collection, filter=matching)

    def scan(self, *, filter: Any = None, vectors: bool = False) -> Iterator[Point]:
        """Iterate over all documents; see `Store.scan`."""
        with self._asking("Reading"):
            self._ready()
            encoder = self._encoder() if vectors else None
        own = within(self.tenant, filter, self._names)
        for row in self._rows(own, self._output(vectors)):
            yield self._read(row, encoder)

    def move_alias(self, alias: str) -> None:
        """Move an alias here; see `Store.move_alias`."""
        with self._asking("Moving an alias to", self._guard):
            if alias in self.client.list_aliases().get("aliases", []):
                self.client.alter_alias(self.collection, alias)
            elif self.client.has_collection(alias):
                raise StoreError(taken(alias))
            else:
                self.client.create_alias(self.collection, alias)

    def count(self, *, filter: Any = None) -> int:
        """Count documents; see `Store.count`."""
        with self._asking("Counting"):
            if not self.client.has_collection(self.collection):
                return 0
            self._ready()
            [row] = self.client.query(
                self.collection,
                filter=within(self.tenant, filter, self._names),
                output_fields=["count(*)"],
                consistency_level=STRONG,
            )
            return int(row["count(*)"])

    def _make(self, record: CollectionRecord) -> None:
        if self._foreign is not None and record.short_dim is not None:
            raise InputError(
                f"`short_dim` adds a field that {self._foreign.framework} does not know. Leave it "
                "out, or make a collection without `layout`."
            )
        self.client.create_collection(
            self.collection,
            schema=make_schema(self._names, record, lite=self._is_lite())
            if self._foreign is None
            else self._foreign.make_schema(record.dim),
            properties={RECORD: json.dumps(record.as_dict())},
            consistency_level=STRONG,
        )

    def _as_found(self, record: CollectionRecord) -> CollectionRecord:
        """Return the record of a collection, which says what BM25 searches."""
        if self._foreign is None:
            return record
        text = self._names.text
        is_new = self._found is None
        is_searched = is_new or self._described().bm25_of(text) is not None
        return replace(record, encoder={"text_field": text} if is_searched else {})

    def _take_over(self, record: CollectionRecord, adopt: bool) -> CollectionRecord:
        """Add the record to an existing collection, if the collection matches it."""
        refuse(self.check(record))
        record = self._as_found(record)
        record = adopted(self.name, self._recorded(), record, adopt=adopt, count=self.count)
        self._write_record(record)
        return record

    def _make_indexes(self, record: CollectionRecord) -> None:
        missing = index_parameters(self._names, record.bm25, record.short_dim, lite=self._is_lite())
        if self._foreign is not None:
            self._found = None
            sparse = missing.pop(self._names.sparse)
            if (field := self._described().bm25_of(self._names.text)) is not None:
                missing[field] = sparse
        for field in self._indexes():
            missing.pop(field, None)
        if missing:
            parameters = self.client.prepare_index_params()
            for field, arguments in missing.items():
                parameters.add_index(field, **arguments)
            self.client.create_index(self.collection, parameters)
            self._found = None
