"""What is in an index: its files, and how it was made. Needs no model."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from qwen3_rag_cli import folders
from qwen3_rag_cli.filters import parse_filters
from qwen3_rag_cli.formats import Kind, kind_of
from qwen3_rag_cli.index import Index
from qwen3_rag_cli.models import Models

__all__ = ["IndexedFile", "description", "indexed_files"]


@dataclass(frozen=True)
class IndexedFile:
    """A file in an index.

    Attributes:
        path: Its path in the index.
        kind: What it was divided as.
        chunks: Number of its chunks.
        complete: Whether all of them are there; otherwise a run was interrupted.
    """

    path: str
    kind: Kind
    chunks: int
    complete: bool


def indexed_files(index: Index, paths: Sequence[str] = ()) -> list[IndexedFile]:
    """List the files in an index, in order.

    Args:
        index: The index.
        paths: Files, folders and patterns to list; everything when empty.

    Raises:
        InputError: One of them matches no file.
    """
    counts, complete = index.manifest.counts(), index.manifest.files()
    chosen = list(dict.fromkeys([*counts, *complete]))
    if paths:
        filters = [f"path={path}" for path in paths]
        chosen = parse_filters(filters, index.manifest.paths, index.place.base)["path"]
    return [
        IndexedFile(path, kind_of(Path(path)), counts.get(path, 0), path in complete)
        for path in sorted(chosen)
    ]


def description(index: Index) -> dict[str, Any]:
    """Describe an index: where it is, what is in it, and how it was made."""
    record, made = index.collection.record(), index.manifest.record()
    found: dict[str, Any] = {"store": str(index.place)}
    if record is None:
        return {**found, "state": "empty"}
    if index.has_tenants and index.tenant is None:
        found["tenants"] = index.store.tenants()
    else:
        files = indexed_files(index)
        kinds = Counter(file.kind for file in files)
        found |= {} if index.tenant is None else {"tenant": index.tenant}
        found |= {"files": len(files), "kinds": dict(sorted(kinds.items()))}
        found |= {"chunks": index.collection.count()}
        if incomplete := [file.path for file in files if not file.complete]:
            found["incomplete"] = incomplete
    models = Models.from_record(made)
    found |= {
        "model": record.model,
        "fingerprint": record.fingerprint,
        "reranker": models.reranking if models else None,
        "dim": record.dim,
        "chunk_tokens": made.get("chunk_tokens"),
        "overlap": made.get("overlap"),
        "bm25": dict(record.encoder),
    }
    if models is not None:
        for name, server in (
            ("server", models.embedding_server),
            ("reranker_server", models.reranking_server),
        ):
            found |= {} if server is None else {name: server.base_url}
    if (path := index.place.path) is not None:
        found |= _on_disk(path)
    return found


def _on_disk(path: Path) -> dict[str, Any]:
    """Measure what an index takes, and when it was last changed."""
    found = {path.name: [path.stat()]} if path.is_file() else _statuses(path)
    found.pop("lock", None)
    status = list(chain.from_iterable(found.values()))
    # Searching writes to some files of a folder, but never to the manifest.
    telling = found.get(folders.MANIFEST, status)
    changed = max((one.st_mtime for one in telling), default=path.stat().st_mtime)
    return {
        # Of files with holes, which stores make, only what they take.
        "bytes": sum(_size(one) for one in status),
        "changed": datetime.fromtimestamp(changed).astimezone().isoformat(timespec="seconds"),
    }


def _statuses(folder: Path) -> dict[str, list[os.stat_result]]:
    """Return the status of all files below a folder, by name."""
    found: dict[str, list[os.stat_result]] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # of a process that writes meanwhile
                found.setdefault(name, []).append(os.stat(os.path.join(parent, name)))
    return found


def _size(status: os.stat_result) -> int:
    blocks: int | None = getattr(status, "st_blocks", None)  # missing on Windows
    return status.st_size if blocks is None else blocks * 512
