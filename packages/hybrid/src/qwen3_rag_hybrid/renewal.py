"""Renews the BM25 vectors of a collection that another version of the encoder filled."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from qwen3_rag.errors import StoreError
from qwen3_rag.integration import progress_bar
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid.lengths import fitting_length
from qwen3_rag_hybrid.stores.base import Store
from qwen3_rag_hybrid.stores.record import RENEWING

__all__ = ["renew_bm25"]

_SAMPLED = 10_000  # documents whose mean length is measured
_BATCH = 256  # documents to read and write at once


def renew_bm25(store: Store, encoder: BM25Encoder | None = None, *, progress: bool = False) -> int:
    """Encode all texts of a collection for BM25 again. Nothing is embedded and no model is needed.

    A collection of a framework, which has no terms yet, gets them, where the store can add them. If
    it has them, the documents that the framework added since then get theirs.

    The new record is written last, and until then the collection is refused. If the call is
    interrupted, calling again renews all of it.

    Args:
        store: The collection.
        encoder: The encoder to use. When omitted, a collection of an earlier version keeps its
            parameters, except that the mean length of its texts is measured; an interrupted call is
            ended with its encoder.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        The number of documents renewed; 0 if the collection has this encoder's vectors already.

    Raises:
        StoreError: The collection does not exist, has no record, was filled by a later release, or
            cannot be written.
    """
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
    if encoder is None and (record.has_present_terms or record.is_being_renewed):
        encoder = record.bm25
    elif encoder is None:
        sample = [point.document.text for point in islice(store.scan(), _SAMPLED)]
        encoder = replace(record.bm25, avg_len=fitting_length(sample))
    renewed = replace(record, encoder=encoder.parameters)
    if not record.has_terms:
        store.renew_terms([], renewed)  # refused before everything is read, if it cannot be
    points = store.lacking_terms() if renewed == record else store.scan()
    ids = [point.document.id for point in points]
    if renewed != record and record.has_present_terms:
        # Else a collection with both the old and the new weights would pass for one of the old.
        begun = {**encoder.parameters, "encoder_version": RENEWING}
        store.write_record(replace(record, encoder=begun))
    with progress_bar(progress, len(ids), "Renewing BM25", "document") as on_done:
        for start in range(0, len(ids), _BATCH):
            read = store.retrieve(ids[start : start + _BATCH], vectors=True).values()
            store.renew_terms(
                [replace(one, sparse=encoder.encode_document(one.document.text)) for one in read],
                renewed,
            )
            if on_done is not None:
                on_done(len(read))
    if renewed != record:
        store.write_record(renewed)
    return len(ids)
