"""Files to an index that holds exactly what is in them, however often that was interrupted.

Knows the order of writes that makes it so; the rooms it calls know files, chunks, models and
stores. Per group of chunks: the manifest notes that they are about to change, the store changes
them, the manifest notes that it did. A run that was killed in between is finished by the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_cli import chunking
from qwen3_rag_cli.chunking import Chunk, Chunking
from qwen3_rag_cli.contents import Unusable, read
from qwen3_rag_cli.files import Found, Selection, Skipped, kind_of, scope
from qwen3_rag_cli.models import Models, token_counter
from qwen3_rag_cli.store import FIELDS, Store
from qwen3_rag_hybrid import Document, HybridSearcher

__all__ = ["Indexing", "Summary"]

# Chunks per write. Groups are filled in the order of the files, so that a run which takes up
# after a kill makes the same groups and, batch for batch, the very same vectors.
GROUP = 64

# Files without anything to write are noted in steps of this many.
NOTED = 256


@dataclass
class Summary:
    """What a run did.

    Attributes:
        files: Files in the index, of those looked at.
        unchanged: Files that were in the index as they are.
        indexed: Files that were not.
        removed: Files that left the index.
        chunks: Chunks in the whole index now.
        embedded: Chunks that went through the model.
        skipped: Files that were meant but could not be used.
        notes: Files that were used, with something to say about them.
    """

    files: int = 0
    unchanged: int = 0
    indexed: int = 0
    removed: int = 0
    chunks: int = 0
    embedded: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[Skipped] = field(default_factory=list)


@dataclass
class _Group:
    """What is written together."""

    documents: list[Document] = field(default_factory=list)
    written: list[tuple[str, str, str]] = field(default_factory=list)
    stale: list[tuple[str, str]] = field(default_factory=list)
    done: list[tuple[str, str, str]] = field(default_factory=list)
    size: float = 0.0


class Indexing:
    """One run over a selection of files."""

    def __init__(self, store: Store, models: Models, settings: Chunking) -> None:
        """Open nothing but the tokenizer; the model is loaded when there is something to embed.

        Raises:
            StoreError: The index was made with other models.
            ModelError: The checkpoint is not there or cannot be read.
        """
        self.summary = Summary()
        self._store = store
        self._models = models
        self._chunking = settings
        source = models.source()
        store.check(models, source.fingerprint)
        self._settings = (
            f"{chunking.VERSION} {settings.tokens} {settings.overlap} {source.fingerprint}"
        )
        self._count = token_counter(source)
        self._searcher: HybridSearcher | None = None
        store.reconcile()
        store.manifest.write_record(
            {
                "model": models.embedding,
                "reranker": models.reranking,
                "chunk_tokens": settings.tokens,
                "overlap": settings.overlap,
            }
        )

    def plan(self, selection: Selection) -> list[Found]:
        """Take out what is gone, and tell which files have to be read again."""
        self.summary.skipped += selection.skipped
        indexed = self._store.manifest.files()
        pending, present = [], set()
        for found in selection.files:
            try:
                digest = read(found.path).digest
            except Unusable as error:
                self.summary.skipped.append(Skipped(found.key, error.reason, error.keep))
                continue
            present.add(found.key)
            if indexed.get(found.key) == (digest, self._settings):
                self.summary.unchanged += 1
            else:
                pending.append(found)
        kept = tuple(skipped.key for skipped in self.summary.skipped if skipped.keep)
        inside = scope(selection.roots, self._store.base)
        self._remove(
            path
            for path in self._store.manifest.paths()
            if inside(path) and path not in present and not _under(path, kept)
        )
        return pending

    def run(self, pending: Sequence[Found], progress: Callable[[float, str], None]) -> Summary:
        """Bring the planned files into the index.

        Args:
            pending: From `plan`.
            progress: Called with bytes that are done and the file being worked on.
        """
        group = _Group()
        for found in pending:
            progress(0, found.key)
            try:
                content = read(found.path)
            except Unusable as error:
                self.summary.skipped.append(Skipped(found.key, error.reason, error.keep))
                if not error.keep:
                    self._remove([found.key])
                progress(found.size, found.key)
                continue
            if content.note:
                self.summary.notes.append(Skipped(found.key, content.note))
            group = self._gather(found, content.text, group, progress)
            group.done.append((found.key, content.digest, self._settings))
            self.summary.indexed += 1
            if not group.documents and len(group.done) >= NOTED:
                group = self._write(group, found.key, progress)
        self._write(group, "", progress)
        self.summary.files = self.summary.unchanged + self.summary.indexed
        self.summary.chunks = self._store.manifest.count()
        return self.summary

    def close(self) -> None:
        """Let go of the model."""
        if self._searcher is not None:
            self._searcher.embedder.close()

    def _gather(
        self, found: Found, text: str, group: _Group, progress: Callable[[float, str], None]
    ) -> _Group:
        """Add a file's chunks to the group, writing it each time it is full."""
        kind = kind_of(found.path)
        name = PurePosixPath(found.key).name
        pieces = list(chunking.chunks(text, kind, name, self._count, self._chunking))
        known = self._store.manifest.chunks(found.key)
        ids = [f"{found.key}#{number}" for number in range(len(pieces))]
        share = found.size / max(len(pieces), 1)
        for id_, piece in zip(ids, pieces, strict=True):
            group.size += share
            digest = _digest(piece)
            if known.get(id_) == digest:
                continue
            payload = {
                "path": found.key,
                "kind": kind,
                "heading": piece.heading,
                "line": piece.line,
                "end_line": piece.end_line,
            }
            group.documents.append(Document(id_, piece.text, payload))
            group.written.append((id_, found.key, digest))
            if len(group.documents) >= GROUP:
                group = self._write(group, found.key, progress)
        group.stale += [(id_, found.key) for id_ in sorted(known.keys() - set(ids))]
        return group

    def _write(self, group: _Group, key: str, progress: Callable[[float, str], None]) -> _Group:
        manifest = self._store.manifest
        searcher = self._open() if group.documents else None
        touched = [(id_, path) for id_, path, _ in group.written] + group.stale
        if touched:
            manifest.begin(touched)
        if searcher is not None:
            self.summary.embedded += searcher.add(group.documents)
        stale = [id_ for id_, _ in group.stale]
        if stale:
            self._store.legs.delete(stale)
        manifest.commit(written=group.written, deleted=stale, done=group.done)
        progress(group.size, key)
        return _Group()

    def _remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            ids = sorted(self._store.manifest.chunks(path))
            self._store.manifest.begin((id_, path) for id_ in ids)
            if ids:
                self._store.legs.delete(ids)
            self._store.manifest.commit(deleted=ids, gone=[path])
            self.summary.removed += 1

    def _open(self) -> HybridSearcher:
        if self._searcher is None:
            self._searcher = HybridSearcher(
                self._store.legs, self._models.embedder(), encoder=BM25Encoder()
            )
            self._searcher.create(fields=FIELDS)
        return self._searcher


def _digest(chunk: Chunk) -> str:
    """Of all that is stored of a chunk."""
    parts = (chunk.text, chunk.heading, str(chunk.line), str(chunk.end_line))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _under(path: str, keys: Sequence[str]) -> bool:
    return any(path == key or path.startswith(f"{key.rstrip('/')}/") for key in keys)
