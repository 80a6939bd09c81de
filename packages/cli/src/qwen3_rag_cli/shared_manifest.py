"""The manifest of an index in a collection that several machines may share.

What `Manifest` keeps in rows is kept with the chunks themselves, so every machine sees the same. A
chunk and what is kept of it are written at once, so nothing has to be marked dirty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from qwen3_rag_hybrid import Store

__all__ = ["PROGRAM", "STATE", "SharedManifest"]

#: Field of a chunk's payload.
STATE = "index"

#: Key in a collection's record.
PROGRAM = "qwen3-rag-cli"


class SharedManifest:
    """Files and chunks of a collection, read when they are first asked for.

    Documents of other programs are left alone.

    Attributes:
        is_shared: Whether the rows are in the collection, for several machines; here, they are.
    """

    is_shared = True

    def __init__(self, collection: Store) -> None:
        """Read nothing yet."""
        self._collection = collection

    def record(self) -> dict[str, Any]:
        """Return the values that `write_record` stored; empty for a new index."""
        record = self._collection.record()
        return {} if record is None else dict(record.extra.get(PROGRAM, {}))

    def write_record(self, values: Mapping[str, Any]) -> None:
        """Store values that describe the index, if the collection exists."""
        record = self._collection.record()
        if record is not None and record.extra.get(PROGRAM) != dict(values):
            extra = {**record.extra, PROGRAM: dict(values)}
            self._collection.write_record(replace(record, extra=extra))

    def files(self) -> dict[str, tuple[str, str]]:
        """Return digest and settings of each file whose chunks are all in the index."""
        found = {}
        for path, chunks in self._states.items():
            [first, *others] = chunks.values()
            same = all(_of_file(one) == _of_file(first) for one in others)
            if same and first.get("chunks") == len(chunks):
                found[path] = (str(first.get("file")), str(first.get("settings")))
        return found

    def paths(self) -> list[str]:
        """List every file that has chunks in the index, in order."""
        return sorted(self._states)

    def chunks(self, path: str) -> dict[str, str | None]:
        """Return the digest of each chunk of a file."""
        return {id_: state.get("chunk") for id_, state in self._states.get(path, {}).items()}

    def count(self) -> int:
        """Count the documents in the collection."""
        return self._collection.count()

    def counts(self) -> dict[str, int]:
        """Count the chunks of each file, in order."""
        return {path: len(self._states[path]) for path in self.paths()}

    def state(self, digest: str, file: str, settings: str, chunks: int) -> dict[str, Any]:
        """Return what to add to a chunk's payload.

        Args:
            digest: The chunk's digest.
            file: The file's digest.
            settings: How the file was split, and the model.
            chunks: Number of chunks of the file.
        """
        return {STATE: {"chunk": digest, "chunks": chunks, "file": file, "settings": settings}}

    def mark_dirty(self, chunks: Iterable[tuple[str, str]]) -> None:
        """Do nothing: a partly written file is told by its chunks."""

    def mark_clean(
        self,
        *,
        written: Iterable[tuple[str, str, str]] = (),
        deleted: Iterable[str] = (),
        done: Iterable[tuple[str, str, str]] = (),
        gone: Sequence[str] = (),
    ) -> None:
        """Do nothing: the collection has it all."""

    def close(self) -> None:
        """Do nothing: the collection is closed by its owner."""

    @cached_property
    def _states(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        """What is kept of each chunk, by path and id."""
        found: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        if self._collection.record() is None:
            return found
        for point in self._collection.scan():
            payload = point.document.payload
            path, state = payload.get("path"), payload.get(STATE)
            if isinstance(path, str) and isinstance(state, Mapping):
                found[path][str(point.document.id)] = state
        return found


def _of_file(state: Mapping[str, Any]) -> tuple[Any, ...]:
    return state.get("file"), state.get("settings"), state.get("chunks")
