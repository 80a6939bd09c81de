"""Renews the BM25 vectors of a collection that another version of the encoder filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, islice

from qwen3_rag.errors import StoreError
from qwen3_rag.integration import progress_bar
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid.documents import Id
from qwen3_rag_hybrid.lengths import fitting_length
from qwen3_rag_hybrid.stores.base import Store, parts
from qwen3_rag_hybrid.stores.record import RENEWING, CollectionRecord
from qwen3_rag_hybrid.stores.tenants import check_whole

__all__ = ["renew_bm25"]

_SAMPLED = 10_000  # documents whose mean length is measured
_BATCH = 256  # documents to read and write at once


def renew_bm25(
    store: Store,
    encoder: BM25Encoder | None = None,
    *,
    measure: bool = False,
    progress: bool = False,
) -> int:
    """Encode all texts of a collection for BM25 again. Nothing is embedded and no model is needed.

    A collection of a framework, which has no terms yet, gets them, where the store can add them. If
    it has them, the documents that the framework added since then get theirs.

    The new record is written last, and until then the collection is refused. If the call is
    interrupted, calling again renews all of it.

    Args:
        store: The collection; with tenants, not the store of one of them.
        encoder: The encoder to use. When omitted, a collection of an earlier version keeps its
            parameters, except that the mean length of its texts is measured; an interrupted call is
            ended with its encoder.
        measure: Whether to measure the mean length in a collection of this version too. Only
            without `encoder`.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        The number of documents renewed; 0 if the collection has this encoder's vectors already.

    Raises:
        InputError: The store is that of one tenant.
        StoreError: The collection does not exist, has no record, was filled by a later release, or
            cannot be written.
    """
    check_whole(store.name, store.tenant)
    record = store.record()
    if record is None:
        raise StoreError(
            f"{store.name} does not exist, or has no record of the encoder that filled it. Call "
            "`HybridSearcher.create` first, with `adopt=True` if it has documents."
        )
    if record.is_of_later_encoder:
        raise StoreError(
            f"{store.name} was filled by a later release of qwen3-rag, with version "
            f"{record.encoder['encoder_version']} of the BM25 encoder. Update this one."
        )
    is_new = record.has_present_terms or record.is_being_renewed
    if encoder is None and is_new and not measure:
        encoder = record.bm25
    stores = parts(store, record)
    if encoder is None:
        read = chain.from_iterable(one.scan() for one in stores)
        sample = [point.document.text for point in islice(read, _SAMPLED)]
        encoder = replace(record.bm25, avg_len=fitting_length(sample))
    renewed = replace(record, encoder=encoder.parameters)
    if not record.has_terms:
        store.renew_terms([], renewed)  # refused before everything is read, if it cannot be
    ids = []
    for one in stores:
        points = one.lacking_terms() if renewed == record else one.scan()
        ids.append([point.document.id for point in points])
    if renewed != record and record.has_present_terms:
        # Else a collection with both the old and the new weights would pass for one of the old.
        begun = {**encoder.parameters, "encoder_version": RENEWING}
        store.write_record(replace(record, encoder=begun))
    total = sum(map(len, ids))
    with progress_bar(progress, total, "Renewing BM25", "document") as on_done:
        for one, of_one in zip(stores, ids, strict=True):
            _renew(one, of_one, renewed, on_done)
    if renewed != record:
        store.write_record(renewed)
    return total


def _renew(
    store: Store, ids: Sequence[Id], record: CollectionRecord, on_done: Callable[[int], None] | None
) -> None:
    encode = record.bm25.encode_document
    for start in range(0, len(ids), _BATCH):
        read = store.retrieve(ids[start : start + _BATCH], vectors=True).values()
        store.renew_terms([replace(one, sparse=encode(one.document.text)) for one in read], record)
        if on_done is not None:
            on_done(len(read))
