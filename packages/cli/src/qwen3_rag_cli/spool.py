"""Keeps the chunks of one file until all are known, on disk if they are many."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator

from qwen3_rag_cli.chunking import Chunk

__all__ = ["Spool"]

#: Bytes to keep in memory.
IN_MEMORY = 16_000_000


class Spool:
    """The chunks of a file: counted, and complete, before the first one is written to the index."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        """Take all chunks; an error among them leaves nothing behind."""
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed by __exit__
        self._count = 0
        try:
            for chunk in chunks:
                pickle.dump(chunk, self._file)
                self._count += 1
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Chunk]:
        self._file.seek(0)
        for _ in range(self._count):
            chunk: Chunk = pickle.load(self._file)
            yield chunk

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
