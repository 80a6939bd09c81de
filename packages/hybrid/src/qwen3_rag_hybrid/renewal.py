"""Renews the BM25 vectors of a collection that another version of the encoder filled."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from qwen3_rag.errors import StoreError
from qwen3_rag.integration import progress_bar
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid.lengths import encoder_for
from qwen3_rag_hybrid.stores.base import Store
from qwen3_rag_hybrid.stores.record import same_terms

__all__ = ["renew_bm25"]

_SAMPLED = 10_000  # documents whose mean length is measured
_BATCH = 256  # documents to read and write at once


def renew_bm25(store: Store, encoder: BM25Encoder | None = None, *, progress: bool = False) -> int:
    """Encode all texts of a collection for BM25 again. Nothing is embedded and no model is needed.

    The record is written last. If the call is interrupted, a collection of another encoder version
    is therefore still refused, and calling again renews all of it.

    Args:
        store: The collection.
        encoder: The encoder to use. When omitted, a collection of another version gets one for the
            mean length of its texts.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        The number of documents renewed; 0 if the collection has this encoder's vectors already.

    Raises:
        StoreError: The collection does not exist, has no record, or cannot be written.
    """
    record = store.record()
    if record is None:
        raise StoreError(
            f"{store.name} does not exist, or has no record of the encoder that filled it. Call "
            "`HybridSearcher.create` first, with `adopt=True` if it has documents."
        )
    if encoder is None:
        if same_terms(record.encoder, BM25Encoder().parameters):
            return 0
        encoder = encoder_for([point.document.text for point in islice(store.scan(), _SAMPLED)])
    if dict(record.encoder) == encoder.parameters:
        return 0
    ids = [point.document.id for point in store.scan()]
    with progress_bar(progress, len(ids), "Renewing BM25", "document") as on_done:
        for start in range(0, len(ids), _BATCH):
            points = store.retrieve(ids[start : start + _BATCH], vectors=True).values()
            store.upsert(
                [
                    replace(point, sparse=encoder.encode_document(point.document.text))
                    for point in points
                ]
            )
            if on_done is not None:
                on_done(len(points))
    store.write_record(replace(record, encoder=encoder.parameters))
    return len(ids)
