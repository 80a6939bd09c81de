"""Embeds the documents of a collection anew, into another collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from qwen3_rag import Qwen3Embedder
from qwen3_rag.errors import InputError, StoreError
from qwen3_rag.integration import check_count, progress_bar
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid.documents import Document, Id
from qwen3_rag_hybrid.searcher import HybridSearcher
from qwen3_rag_hybrid.stores.base import Store, parts
from qwen3_rag_hybrid.stores.findings import refuse, tenant_finding
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.tenants import check_whole

__all__ = ["reindex"]

_MARK = "reindex"  # key in the new collection's record
_SAMPLED = 10_000  # texts whose mean length is measured for BM25
_ROUNDS = 3  # what changed meanwhile is carried over at most twice


def reindex(
    source: Store,
    target: Store,
    embedder: Qwen3Embedder,
    *,
    encoder: BM25Encoder | None = None,
    fields: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
    short_dim: int | None = None,
    alias: str | None = None,
    batch_size: int = 256,
    progress: bool = False,
) -> int:
    """Fill a new collection with the documents of another one, embedded by another model.

    If `source` has tenants, so has the new collection, each with its own documents.

    If the call is interrupted, call it again: it continues where it stopped, and embeds at most one
    batch twice. What is added to `source`, changed or deleted in it meanwhile is carried over at
    the end. `source` is not changed.

    Args:
        source: The collection to read, or one tenant of it, whose documents then fill a collection
            without tenants. It needs no record: pass the names of its fields to the store.
        target: The collection to make. It must not exist, be empty, or be of an interrupted call.
        embedder: The model of the new collection.
        encoder: Its BM25 encoder; when omitted, the mean length of the texts is measured.
        fields: Its declared payload fields; those of `source` when omitted.
        extra: What to keep in its record; when omitted, what `source` has there.
        short_dim: Size of its short vectors, as in `HybridSearcher.create`; 0 for none. That of
            `source` when omitted.
        alias: An alias to move to `target` when it is complete, for stores that have them. Whoever
            opens the collection by the alias then uses the new one.
        batch_size: Number of documents to embed and write at once.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        The number of documents that were embedded by this call.

    Raises:
        InputError: `batch_size` or `short_dim` is out of range, the store of `target` has no
            aliases or is that of one tenant, or it cannot hold one of the documents.
        StoreError: `source` does not exist, `target` holds other documents or cannot keep tenants
            apart, the alias is the name of a collection, or a store fails.
        ModelError: The checkpoint is missing or broken.
        BackendError: The model could not be run, or was closed.
    """
    check_count(batch_size, "batch_size", 1, required=True)
    if alias is not None and not target.has_aliases:
        raise InputError(
            f"`alias` is {alias!r}, and a {type(target).__name__} has no aliases. Leave it out, "
            "and open the new collection by its own name."
        )
    check_whole(target.name, target.tenant)
    embedded = 0
    if not _is_complete(source, target):
        searcher = HybridSearcher(target, embedder, encoder=encoder)
        _create(source, searcher, fields, extra, short_dim, measure=encoder is None)
        for _ in range(_ROUNDS):
            written = _copy(source, searcher, batch_size, progress)
            embedded += written
            if not written:
                break
        _write_mark(source, target, is_complete=True)
    if alias is not None:
        target.move_alias(alias)
    return embedded


def _is_complete(source: Store, target: Store) -> bool:
    """Check that `target` may be filled, and tell whether an earlier call has done so."""
    record = target.record()
    mark = None if record is None else record.extra.get(_MARK)
    if mark in (_mark(source, is_complete=False), _mark(source, is_complete=True)):
        return bool(mark["complete"])
    if any(part.count() for part in _parts(target)):
        raise StoreError(
            f"{target.name} holds documents that were not copied from {_lower(source.name)}. "
            "Choose the name of a new collection."
        )
    return False


def _create(
    source: Store,
    searcher: HybridSearcher,
    fields: Mapping[str, str] | None,
    extra: Mapping[str, Any] | None,
    short_dim: int | None,
    *,
    measure: bool,
) -> None:
    """Make the target, unless an earlier call has."""
    target, record, made = searcher.store, source.record(), searcher.store.record()
    tenants = record is not None and record.tenants and source.tenant is None
    if made is not None and made.tenants and not tenants:
        refuse([tenant_finding(target.name, has=True)])
    if fields is None and record is not None:
        known = target.field_types
        fields = {name: kind for name, kind in record.fields.items() if kind in known}
    if short_dim is None and made is None and record is not None:
        short_dim = _short_dim_of(source.name, record, searcher)
    sample = None
    if measure and made is None:
        read = chain.from_iterable(part.scan() for part in _parts(source))
        sample = [point.document.text for point in islice(read, _SAMPLED)]
    searcher.create(fields=fields, sample=sample, tenants=tenants, short_dim=short_dim or None)
    if extra is None:
        extra = {} if record is None else record.extra
    _write_mark(source, target, is_complete=False, extra=extra)


def _short_dim_of(name: str, record: CollectionRecord, searcher: HybridSearcher) -> int | None:
    """Return the size of the source's short vectors, if the target's can have it."""
    short_dim, embedder = record.short_dim, searcher.embedder
    if short_dim is not None and short_dim >= (dim := embedder.dim or embedder.warm_up().dim):
        raise InputError(
            f"{name} has short vectors of {short_dim} numbers, and the whole vectors of the new "
            f"collection have {dim}. Pass a smaller `short_dim`, or `short_dim=0` for no short "
            "vectors."
        )
    return short_dim


def _mark(source: Store, *, is_complete: bool) -> dict[str, Any]:
    """Say in the target's record where its documents are from."""
    mark = {"source": source.name, "complete": is_complete}
    return mark if source.tenant is None else {**mark, "tenant": source.tenant}


def _write_mark(
    source: Store, target: Store, *, is_complete: bool, extra: Mapping[str, Any] | None = None
) -> None:
    record = target.record()
    assert record is not None
    mark = _mark(source, is_complete=is_complete)
    kept = {**(record.extra if extra is None else extra), _MARK: mark}
    if record.extra != kept:
        target.write_record(replace(record, extra=kept))


def _parts(store: Store) -> list[Store]:
    record = store.record()
    return [store] if record is None else parts(store, record)


def _copy(source: Store, searcher: HybridSearcher, batch_size: int, progress: bool) -> int:
    """Make the target's documents those of the source; return how many were embedded."""
    # A cursor might not outlive the embedding of what it found.
    ids = [(part, [point.document.id for point in part.scan()]) for part in _parts(source)]
    embedded = 0
    with progress_bar(
        progress, sum(len(some) for _, some in ids), "Reindexing", "document"
    ) as on_done:
        for part, some in ids:
            # The documents of one tenant alone fill a collection without tenants.
            tenant = part.tenant if source.tenant is None else None
            embedded += _copy_part(part, some, searcher, tenant, batch_size, on_done)
    for gone in set(searcher.tenants()) - {part.tenant for part, _ in ids}:
        searcher.delete_tenant(gone)
    return embedded


def _copy_part(
    source: Store,
    ids: Sequence[Id],
    searcher: HybridSearcher,
    tenant: str | None,
    batch_size: int,
    on_done: Callable[[int], None] | None,
) -> int:
    """Copy all documents of a collection, or of one tenant; return how many were embedded."""
    target = searcher.store if tenant is None else searcher.store.for_tenant(tenant)
    embedded = 0
    for start in range(0, len(ids), batch_size):
        page = ids[start : start + batch_size]
        documents = [point.document for point in source.retrieve(page).values()]
        new = _without_known(target, documents)
        embedded += searcher.add(new, batch_size=batch_size, tenant=tenant)
        if on_done is not None:
            on_done(len(page))
    gone = {point.document.id for point in target.scan()} - set(ids)
    if gone:
        searcher.delete(sorted(gone, key=str), tenant=tenant)
    return embedded


def _without_known(target: Store, documents: Sequence[Document]) -> list[Document]:
    """Leave out documents whose text the target has, and bring their payloads up to date."""
    known = {
        id_: point.document for id_, point in target.retrieve([d.id for d in documents]).items()
    }
    new, changed = [], []
    for document in documents:
        found = known.get(document.id)
        if found is None or found.text != document.text:
            new.append(document)
        elif found.payload != document.payload:
            changed.append(document)
    if changed:
        points = target.retrieve([document.id for document in changed], vectors=True)
        target.upsert(
            [replace(points[one.id], document=one) for one in changed if one.id in points]
        )
    return new


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
