"""Updates an index from files, so that an interrupted run can be continued.

For each group of chunks the manifest marks them dirty, the collection is changed and written to the
disk, and the manifest marks them clean. Whatever a killed run left dirty is written again by the
next run. The index is published at the end, and now and then in a long run, where a file ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeAlias

from qwen3_rag.integration import Closing
from qwen3_rag_cli import chunking
from qwen3_rag_cli.chunking import Chunk, Chunking
from qwen3_rag_cli.embedders import Embedders
from qwen3_rag_cli.formats import kind_of
from qwen3_rag_cli.index import FIELDS, Index
from qwen3_rag_cli.models import Models
from qwen3_rag_cli.pace import Pace
from qwen3_rag_cli.reading import Content, Reader, Unusable, digest_of
from qwen3_rag_cli.selection import Found, LeftOut, Selection, Skipped
from qwen3_rag_cli.spool import Spool
from qwen3_rag_hybrid import Document, HybridSearcher

__all__ = ["Indexing", "Summary"]

# Chunks per write. Groups are filled in the order of the files, so that a continued run forms the
# same batches and computes exactly the same vectors.
GROUP = 64

# Chunks of a new index whose mean length is measured, once, before the first is written.
SAMPLED = 1000

# Number of unchanged files to record at once.
RECORDED = 256

# Seconds after which a long run publishes what it has.
INTERVAL = 60.0

#: Called with the number of bytes processed, the number of chunks embedded, and the current file.
Progress: TypeAlias = Callable[[float, int, str], None]


@dataclass
class Summary:
    """The result of a run.

    Attributes:
        files: Files under the given paths that are in the index now.
        unchanged: Files that were in the index already.
        indexed: Files that were new or changed.
        removed: Files that were removed from the index.
        kept: Files that are in the index and on the disk, and are not selected any more.
        chunks: Number of chunks in the whole index now.
        embedded: Number of chunks that were embedded.
        renewed: Number of chunks whose BM25 terms were of another release, and were renewed.
        damage: What was damaged in the index, so that all was indexed anew; empty if nothing was.
        skipped: Files that could not be indexed, and why.
        notes: Files that were indexed with a remark.
        left_out: What was not to be indexed, by reason.
        unused: Options with patterns that nothing matches.
    """

    files: int = 0
    unchanged: int = 0
    indexed: int = 0
    removed: int = 0
    kept: int = 0
    chunks: int = 0
    embedded: int = 0
    renewed: int = 0
    damage: str = ""
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[Skipped] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


@dataclass
class _Group:
    """Changes written together: `stale` chunks are deleted; `done` files are then complete.

    The texts of `kept` documents are in the index already, and their payloads are replaced.
    """

    documents: list[Document] = field(default_factory=list)
    kept: list[Document] = field(default_factory=list)
    written: list[tuple[str, str, str]] = field(default_factory=list)
    stale: list[tuple[str, str]] = field(default_factory=list)
    done: list[tuple[str, str, str]] = field(default_factory=list)
    size: float = 0.0


class Indexing(Closing):
    """One run over a selection of files."""

    def __init__(
        self,
        index: Index,
        models: Models,
        settings: Chunking,
        encoding: str | None = None,
        embedders: Embedders | None = None,
    ) -> None:
        """Read the tokenizer. The model is loaded only if there is something to embed.

        Args:
            index: The index, open for writing.
            models: The models to use.
            settings: How files are divided.
            encoding: The encoding of text that is not UTF-8; `None` to detect it.
            embedders: Keeps the embedding model open; it is closed at the end when omitted.

        Raises:
            StoreError: The index was made with other models.
            ModelError: The checkpoint is missing or cannot be read.
            BackendError: The model's server does not answer, or does not run this model.
            InputError: An option applies to none of the models.
        """
        self.summary = Summary(damage=index.damage)
        self._index = index
        self._chunking = settings
        models.check_options(reranks=False)
        index.check_name(models)
        self._embedders, self._is_kept = embedders or Embedders(), embedders is not None
        self._embedder = self._embedders.of(models)
        fingerprint = index.check_models(models, models.identity(self._embedder))
        self.summary.renewed = index.renew()
        self._settings = f"{chunking.VERSION} {settings.tokens} {settings.overlap} {fingerprint}"
        if encoding is not None:
            self._settings += f" {encoding}"
        self._reader = Reader(encoding)
        self._count = models.token_counter()
        self._searcher: HybridSearcher | None = None
        self._pending: Sequence[Found] = ()
        self._unsaved: list[_Group] = []
        self._saving, self._publishing = Pace(0.0), Pace(INTERVAL)
        index.reconcile()
        self._record = {
            # An address may be one machine's own.
            **models.record(servers=not index.manifest.is_shared),
            "chunk_tokens": settings.tokens,
            "overlap": settings.overlap,
            "encoding": encoding,
        }
        index.manifest.write_record(self._record)

    def plan(self, selection: Selection, *, prune: bool = False) -> list[Found]:
        """Remove deleted files from the index, and list new or changed ones.

        Args:
            selection: The files to index.
            prune: Whether files are removed that still exist and are not selected.
        """
        self.summary.skipped += selection.skipped
        self.summary.left_out, self.summary.unused = selection.left_out, selection.unused
        indexed = self._index.manifest.files()
        pending, present = [], set()
        for found in selection.files:
            try:
                digest = digest_of(found.path)
            except Unusable as error:
                self.summary.skipped.append(Skipped(found.key, error.reason, error.keep))
                continue
            present.add(found.key)
            if indexed.get(found.key) == (digest, self._settings):
                self.summary.unchanged += 1
            else:
                pending.append(found)
        kept = tuple(skipped.key for skipped in self.summary.skipped if skipped.keep)
        inside = self._index.place.base.scope(selection.roots)
        for path in self._index.manifest.paths():
            if not inside(path) or path in present or _under(path, kept):
                continue
            if not prune and selection.is_there(self._index.place.base.path_of(path)):
                self.summary.kept += 1
            else:
                self._remove([path])
        return pending

    def run(self, pending: Sequence[Found], progress: Progress) -> Summary:
        """Index the planned files.

        Args:
            pending: The files that `plan` returned.
            progress: Called for each file.
        """
        self._pending = pending
        listed = set(self._index.manifest.paths())
        group = _Group()
        for found in pending:
            progress(0, 0, found.key)
            try:
                content = self._reader.read(found.path)
                pieces = Spool(self._chunks(content))
            except Unusable as error:
                self.summary.skipped.append(Skipped(found.key, error.reason, error.keep))
                if not error.keep and found.key in listed:
                    self._remove([found.key])
                progress(found.size, 0, found.key)
                continue
            self.summary.notes += [Skipped(found.key, note) for note in content.notes]
            with pieces:
                group = self._gather(found, content.digest, pieces, group, progress)
            group.done.append((found.key, content.digest, self._settings))
            self.summary.indexed += 1
            is_due = self._publishing.is_due
            if is_due or (not group.documents and len(group.done) >= RECORDED):
                group = self._write(group, found.key, progress)
            if is_due:
                self._publish()
        self._write(group, "", progress)
        self._publish()
        self.summary.files = self.summary.unchanged + self.summary.indexed
        self.summary.chunks = self._index.manifest.count()
        return self.summary

    def close(self) -> None:
        """Record what was written, close the model, and end the process that reads files."""
        try:
            self._save()
        finally:
            if not self._is_kept:
                self._embedders.close()
            self._reader.close()

    def _gather(
        self, found: Found, file: str, pieces: Spool, group: _Group, progress: Progress
    ) -> _Group:
        """Add a file's new chunks to the group, and write the group whenever it is full."""
        manifest = self._index.manifest
        known = manifest.chunks(found.key)
        stale = set(known)
        share = found.size / max(len(pieces), 1)
        for number, piece in enumerate(pieces):
            id_ = f"{found.key}#{number}"
            stale.discard(id_)
            group.size += share
            digest = _digest(piece)
            is_known = known.get(id_) == digest
            if is_known and not manifest.is_shared:
                continue
            payload = {
                "path": found.key,
                "kind": kind_of(found.path),
                "heading": piece.heading,
                **piece.place.payload(),
            }
            payload |= manifest.state(digest, file, self._settings, len(pieces))
            document = Document(id_, piece.text, payload)
            if is_known:
                group.kept.append(document)
            else:
                group.documents.append(document)
                group.written.append((id_, found.key, digest))
            if len(group.documents) >= GROUP or len(group.kept) >= RECORDED:
                group = self._write(group, found.key, progress)
        group.stale += [(id_, found.key) for id_ in sorted(stale)]
        return group

    def _chunks(self, content: Content) -> Iterator[Chunk]:
        return chunking.chunks(content.sections, self._count, self._chunking)

    def _sample(self) -> Iterator[str]:
        """Chunk the first files of a new index, to measure the mean length for BM25."""
        for found in self._pending:
            with suppress(Unusable):  # `run` reports it
                for piece in self._chunks(self._reader.read(found.path)):
                    yield piece.text

    def _write(self, group: _Group, key: str, progress: Progress) -> _Group:
        manifest = self._index.manifest
        searcher = self._open() if group.documents else None
        touched = [(id_, path) for id_, path, _ in group.written] + group.stale
        if touched:
            manifest.mark_dirty(touched)
        if searcher is not None:
            share = group.size / len(group.documents)
            self.summary.embedded += searcher.add(
                group.documents,
                tenant=self._index.tenant,
                progress=lambda count: progress(share * count, count, key),
            )
        self._replace_payloads(group.kept)
        stale = [id_ for id_, _ in group.stale]
        if stale:
            self._index.collection.delete(stale)
        self._unsaved.append(group)
        if self._saving.is_due:
            self._save()
        if searcher is None:
            progress(group.size, 0, key)
        return _Group()

    def _save(self) -> None:
        """Write the collection to the disk, and mark clean what is in it then.

        Marked before, it would be lost without a trace if the machine lost power.
        """
        groups, self._unsaved = self._unsaved, []
        if not any(group.written or group.stale or group.done for group in groups):
            return
        with self._saving.measured():
            self._index.flush()
            self._index.manifest.mark_clean(
                written=[one for group in groups for one in group.written],
                deleted=[id_ for group in groups for id_, _ in group.stale],
                done=[one for group in groups for one in group.done],
            )

    def _publish(self) -> None:
        self._save()
        with self._publishing.measured():
            self._index.publish()

    def _replace_payloads(self, documents: Sequence[Document]) -> None:
        """Write documents whose vectors are in the collection with their new payloads."""
        if not documents:
            return
        collection = self._index.collection
        points = collection.retrieve([document.id for document in documents], vectors=True)
        collection.upsert(
            [
                replace(points[document.id], document=document)
                for document in documents
                if document.id in points  # otherwise another machine removed it
            ]
        )

    def _remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            self._index.remove(path)
            self.summary.removed += 1

    def _open(self) -> HybridSearcher:
        if self._searcher is None:
            self._searcher = HybridSearcher(self._index.store, self._embedder)
            is_new = self._index.collection.record() is None
            self._searcher.create(
                fields=FIELDS,
                sample=islice(self._sample(), SAMPLED) if is_new else None,
                tenants=self._index.tenant is not None,
            )
            self._index.manifest.write_record(self._record)
        return self._searcher


def _digest(chunk: Chunk) -> str:
    """Hash all stored data of a chunk."""
    parts = (chunk.text, chunk.heading, *map(str, chunk.place.payload().values()))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _under(path: str, keys: Sequence[str]) -> bool:
    return any(path == key or path.startswith(f"{key.rstrip('/')}/") for key in keys)
