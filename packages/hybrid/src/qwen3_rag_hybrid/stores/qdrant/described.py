"""`Described`: what is found out about a Qdrant collection, as flows."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from qdrant_client import AsyncQdrantClient, QdrantClient, models

from qwen3_rag.errors import StoreError
from qwen3_rag.integration import Call, Flow
from qwen3_rag_hybrid.documents import Point
from qwen3_rag_hybrid.stores.base import is_recent
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.stores.qdrant.layouts import Layout, VectorNames
from qwen3_rag_hybrid.stores.qdrant.points import read_point
from qwen3_rag_hybrid.stores.qdrant.requests import Requests
from qwen3_rag_hybrid.stores.qdrant.shape import (
    check_sample,
    check_shape,
    missing_indexes,
)
from qwen3_rag_hybrid.stores.qdrant.tenants import TENANT
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.short import missing_short
from qwen3_rag_hybrid.stores.tenants import check_use

__all__ = ["RECORD", "Described"]

RECORD = "qwen3_rag"
_SAMPLED = 20  # points of another program to look at


@dataclass
class _Found:
    """What was found out about a collection, shared with the operations of its tenants.

    Attributes:
        names: The names of its vectors; `None` before anything was found out.
        tenants: Whether it has tenants.
        at: When it was found out, by `time.monotonic`.
    """

    names: VectorNames | None = None
    tenants: bool = False
    at: float = -math.inf


class Described:
    """A collection, or one of its tenants, and what it is; sends requests by either client."""

    def __init__(
        self,
        client: QdrantClient,
        async_client: AsyncQdrantClient | None,
        collection: str,
        *,
        layout: Layout,
        is_local: bool,
    ) -> None:
        """Set the arguments of `QdrantStore`; no request is sent.

        Args:
            client: Sends the requests of blocking callers.
            async_client: Sends those of async callers.
            collection: Name of the collection.
            layout: Where the collection has what.
            is_local: Whether the client runs in local mode.
        """
        self._requests = Requests(client, async_client, collection)
        self._name = self._requests.name
        self._collection = collection
        self._layout = layout
        self._found = _Found()
        self._is_local = is_local

    def for_layout(self, layout: Layout) -> Self:
        """Give the same operations for the documents of a tenant's layout."""
        bound = copy.copy(self)
        bound._layout = layout
        return bound

    def _indexes(self, record: CollectionRecord) -> dict[str, Any]:
        """Give the types of the indexes on the declared fields and on the tenant."""
        kinds: dict[str, Any] = {
            field: models.PayloadSchemaType(kind)
            for field, kind in self._layout.keys.stored(record.fields).items()
        }
        if record.tenants:
            keyword = models.KeywordIndexType.KEYWORD
            kinds[TENANT] = models.KeywordIndexParams(type=keyword, is_tenant=True)
        return kinds

    def _has_tenants(self, *, writing: bool = False) -> Flow[bool]:
        if writing or not is_recent(self._found.at):
            asked = partial(_get_info, self._collection)
            info = yield from self._requests.write(asked) if writing else self._asked(asked)
            self._record_in(info)
        return self._found.tenants

    def _asked(self, request: Callable[[QdrantClient], Any]) -> Flow[Any]:
        return (yield self._requests.ask(request))

    def _check_use(self, *, writing: bool = False) -> Flow[None]:
        """Check that a tenant is named where there are tenants, and only there.

        Args:
            writing: Whether to look at the collection anew, as patient with the server as a write.
        """
        has_tenants = yield from self._has_tenants(writing=writing)
        check_use(self._name, has_tenants, self._layout.tenant)

    def _findings(self, record: CollectionRecord) -> Flow[list[Finding]]:
        info: models.CollectionInfo = yield self._info()
        names = self._layout.names(info.config.params)
        findings = check_shape(self._name, info.config.params, names, record.dim)
        findings += missing_short(self._name, record.short_dim, names.short_dim)
        if not findings and (yield from self._recorded()) is None:
            # Another program wrote the points.
            findings = check_sample(self._name, (yield from self._sample()), names.sparse)
        if not self._is_local:  # in local mode, indexes have no effect
            findings += missing_indexes(self._name, self._indexes(record), info.payload_schema)
        return findings

    def _sample(self) -> Flow[list[Point]]:
        records, _ = yield self._requests.ask(
            lambda client: client.scroll(
                self._collection, limit=_SAMPLED, with_payload=True, with_vectors=True
            )
        )
        return (yield from self._points(records))

    def _recorded(self) -> Flow[CollectionRecord | None]:
        return self._record_in((yield self._info()))

    def _record_in(self, info: models.CollectionInfo) -> CollectionRecord | None:
        metadata: Mapping[str, Any] = info.config.metadata or {}
        values = metadata.get(RECORD)
        try:
            record = None if values is None else CollectionRecord.from_dict(values)
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"The record of the collection {self._collection!r} cannot be read ({error}). A "
                "later release of qwen3-rag-hybrid may have written it: update this one."
            ) from error
        self._found.names = self._layout.names(info.config.params)
        self._found.tenants = record is not None and record.tenants
        self._found.at = time.monotonic()
        return record

    def _count(self, filter: Any) -> Flow[int]:
        counted = yield self._requests.ask(
            lambda client: client.count(self._collection, count_filter=filter, exact=True)
        )
        return int(counted.count)

    def _points(self, records: Sequence[models.Record]) -> Flow[list[Point]]:
        names = yield from self._vector_names()
        return [read_point(record, self._layout, names) for record in records]

    def _vector_names(self) -> Flow[VectorNames]:
        """Find the names of the vectors, once."""
        if self._found.names is None:
            yield from self._recorded()
        assert self._found.names is not None
        return self._found.names

    def _exists(self) -> Call:
        return self._requests.ask(lambda client: client.collection_exists(self._collection))

    def _info(self) -> Call:
        return self._requests.ask(partial(_get_info, self._collection))


def _get_info(collection: str, client: QdrantClient) -> models.CollectionInfo:
    return client.get_collection(collection)
