"""Fills a new collection from an index of another model, or renews an index's BM25 terms."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from qwen3_rag.errors import InputError, StoreError
from qwen3_rag_cli import folders
from qwen3_rag_cli.models import Models, Runtime
from qwen3_rag_cli.places import Place
from qwen3_rag_cli.shared_manifest import PROGRAM, SharedManifest
from qwen3_rag_hybrid import Store, open_store, reindex, renew_bm25

__all__ = ["Choice", "reindexed", "renewed"]


@dataclass(frozen=True)
class Choice:
    """The values from the command line.

    Attributes:
        model: The embedding model; `None` for the source's.
        reranker: The reranker; `None` for the source's.
        dim: Vector size; `None` for the model's.
        short_dim: Size of short vectors, 0 for none; `None` for the source's.
        alias: An alias to move; `None` for none.
        runtime: Where the model runs.
    """

    model: str | None
    reranker: str | None
    dim: int | None
    short_dim: int | None
    alias: str | None
    runtime: Runtime


def reindexed(source: Place, target: Place, choice: Choice, *, progress: bool) -> dict[str, object]:
    """Fill a new collection with the documents of another one.

    Args:
        source: The collection to read.
        target: The collection to make.
        choice: The model, and what else was chosen.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        Both addresses, the number of documents, and how many were embedded.

    Raises:
        InputError: One of the two is an index of files in a folder.
        StoreError: The source does not exist, or the target holds other documents.
    """
    for place in (source, target):
        if place.folder is not None and (place is target or folders.holds_index(place.folder)):
            raise InputError(
                f"{str(place)!r} is a folder, and an index in a folder belongs to its files. Index "
                "the files into the other store: `qwen3-rag index PATHS --store ADDRESS`."
            )
    with closing(open_store(source.address)) as old, closing(open_store(target.address)) as new:
        made = SharedManifest(old).record()
        models = _models(old, made, choice)
        models.check_options(reranks=False)
        extra = None
        if made:
            extra = {PROGRAM: {**made, **models.record(servers=False)}}
        with models.embedder() as embedder:
            embedded = reindex(
                old,
                new,
                embedder,
                extra=extra,
                short_dim=choice.short_dim,
                alias=choice.alias,
                progress=progress,
            )
        return {
            "source": str(source),
            "target": str(target),
            "model": models.embedding,
            "documents": _count(new),
            "embedded": embedded,
            "alias": choice.alias,
        }


def renewed(place: Place, *, wait: float, progress: bool) -> dict[str, object]:
    """Renew the BM25 terms of an index, and measure the mean length of its texts.

    Args:
        place: Where the index is.
        wait: Seconds to wait for another process that writes to a folder.
        progress: Whether to show a progress bar on a terminal.

    Raises:
        StoreError: The index does not exist, or a later release made it.
    """
    missing = StoreError(f"There is no index at {str(place)!r}. Name another one.")
    if place.folder is not None and not place.folder.exists():
        raise missing
    folder = None if place.folder is None else folders.collection_in(place.folder, wait)
    with closing(folder or open_store(place.address)) as collection:
        if collection.record() is None:
            raise missing
        # What a killed run of `index` left is for its next run to publish.
        is_published = folder is not None and folder.is_published
        count = renew_bm25(collection, measure=True, progress=progress)
        if folder is not None and is_published:
            folder.publish()
        return {"source": str(place), "documents": _count(collection), "renewed": count}


def _count(store: Store) -> int:
    """Count the documents, those of all tenants."""
    record = store.record()
    if record is None or not record.tenants:
        return store.count()
    return sum(store.for_tenant(tenant).count() for tenant in store.tenants())


def _models(old: Store, made: dict[str, Any], choice: Choice) -> Models:
    record = old.record()
    recorded = Models.from_record(made)
    if recorded is None and record is not None:
        recorded = Models.chosen(record.model, None)
    return Models.chosen(
        choice.model,
        choice.reranker,
        dim=choice.dim,
        runtime=choice.runtime,
        recorded=recorded,
    )
