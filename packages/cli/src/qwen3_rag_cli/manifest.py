"""The manifest of an index: a row for each file and each chunk, and the settings of the index.

Rows are written before and after each change of the collection, so that every chunk in the
collection has a row, even if the process is killed; see `Manifest.mark_dirty`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwen3_rag.errors import StoreError
from qwen3_rag_hybrid import DamagedError

__all__ = ["Manifest"]

FORMAT = 1

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REMEDIES = {
    sqlite3.SQLITE_BUSY: "Another process writes to this index. Wait for it, with --wait SECONDS.",
    sqlite3.SQLITE_FULL: "The disk is full. Free some space, and run the same command again.",
    sqlite3.SQLITE_READONLY: "Change the permissions, or name a folder you may write to.",
    sqlite3.SQLITE_CANTOPEN: "Check the folder's permissions, that the disk is not full, and "
    "that the path has fewer than 500 characters.",
    sqlite3.SQLITE_IOERR: "Check the disk, and whether it is full.",
}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, digest TEXT NOT NULL, settings TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunks (
    id TEXT PRIMARY KEY, path TEXT NOT NULL, digest TEXT  -- NULL: dirty
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chunks_by_path ON chunks (path);
"""


class Manifest:
    """The manifest's rows; only one process at a time can open them to change them.

    Attributes:
        path: The file.
        is_shared: Whether the rows are in the collection, for several machines; here, they are not.
    """

    is_shared = False

    def __init__(self, path: Path, *, begin: Callable[[], Path] | None = None) -> None:
        """Open the file, or create it.

        Args:
            path: The file.
            begin: Copies the folder of a file that must not change, and returns the copy; called
                before the first change. The file may be changed when omitted.

        Raises:
            DamagedError: It is damaged.
            StoreError: It cannot be written, is in use, or has a later format.
        """
        self._begin = begin
        self._open(path)

    def _open(self, path: Path) -> None:
        self.path = path
        with self._errors():
            if self._begin is not None:
                uri = f"{path.as_uri()}?mode=ro&immutable=1"
                self._rows = sqlite3.connect(uri, uri=True)
            else:
                self._rows = sqlite3.connect(path, timeout=1.0)
            try:
                if self._begin is None:
                    self._rows.execute("PRAGMA locking_mode = EXCLUSIVE")
                    self._rows.executescript(_SCHEMA)
                    self._write_format()
                self._check_format()
            except BaseException:
                self._rows.close()
                raise

    def record(self) -> dict[str, Any]:
        """Return the values that `write_record` stored; empty for a new index."""
        with self._errors():
            rows = self._rows.execute("SELECT name, value FROM record WHERE name != 'format'")
            return {name: json.loads(value) for name, value in rows}

    def write_record(self, values: Mapping[str, Any]) -> None:
        """Store values that describe the index."""
        before = self.record()
        if {**before, **values} == before:
            return
        with self._changes():
            self._rows.executemany(
                "INSERT OR REPLACE INTO record VALUES (?, ?)",
                [(name, json.dumps(value)) for name, value in values.items()],
            )

    def files(self) -> dict[str, tuple[str, str]]:
        """Return digest and settings of each file whose chunks are all in the index."""
        with self._errors():
            rows = self._rows.execute("SELECT path, digest, settings FROM files")
            return {path: (digest, settings) for path, digest, settings in rows}

    def paths(self) -> list[str]:
        """List every file that has or may have chunks in the index, in order."""
        with self._errors():
            rows = self._rows.execute(
                "SELECT path FROM files UNION SELECT path FROM chunks ORDER BY path"
            )
            return [path for (path,) in rows]

    def chunks(self, path: str) -> dict[str, str | None]:
        """Return the digest of each chunk of a file, `None` for a dirty one."""
        with self._errors():
            rows = self._rows.execute("SELECT id, digest FROM chunks WHERE path = ?", (path,))
            return dict(rows.fetchall())

    def count(self) -> int:
        """Count the chunks."""
        with self._errors():
            return int(self._rows.execute("SELECT count(*) FROM chunks").fetchone()[0])

    def counts(self) -> dict[str, int]:
        """Count the chunks of each file that has any, in order."""
        with self._errors():
            rows = self._rows.execute(
                "SELECT path, count(*) FROM chunks GROUP BY path ORDER BY path"
            )
            return dict(rows.fetchall())

    def ids(self) -> set[str]:
        """Return the ids of all chunks."""
        with self._errors():
            return {id_ for (id_,) in self._rows.execute("SELECT id FROM chunks")}

    def state(self, digest: str, file: str, settings: str, chunks: int) -> dict[str, Any]:
        """Return what to add to a chunk's payload: nothing, because the rows have it."""
        return {}

    def mark_dirty(self, chunks: Iterable[tuple[str, str]]) -> None:
        """Record that chunks are about to be written or deleted.

        Otherwise a kill between the collection's write and `mark_clean` could leave chunks without
        a row, or rows of a version that no longer exists.

        Args:
            chunks: Id and path of each.
        """
        rows = list(chunks)
        with self._changes():
            self._rows.executemany(
                "DELETE FROM files WHERE path = ?", [(path,) for path in {p for _, p in rows}]
            )
            self._rows.executemany("INSERT OR REPLACE INTO chunks VALUES (?, ?, NULL)", rows)

    def mark_clean(
        self,
        *,
        written: Iterable[tuple[str, str, str]] = (),
        deleted: Iterable[str] = (),
        done: Iterable[tuple[str, str, str]] = (),
        gone: Sequence[str] = (),
    ) -> None:
        """Record the state of the collection in one transaction.

        Args:
            written: Id, path and digest of chunks that were written.
            deleted: Ids of chunks that were deleted.
            done: Path, digest and settings of files that are now complete.
            gone: Paths of files that are no longer in the index.
        """
        with self._changes():
            self._rows.executemany("INSERT OR REPLACE INTO chunks VALUES (?, ?, ?)", written)
            self._rows.executemany("DELETE FROM chunks WHERE id = ?", [(id_,) for id_ in deleted])
            self._rows.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", done)
            self._rows.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])

    def forget(self, ids: Iterable[str] | None = None) -> None:
        """Delete the rows of chunks and of their files, so that the files are indexed again.

        Args:
            ids: Ids of chunks that the collection does not have; all chunks when omitted.
        """
        with self._changes():
            if ids is None:
                self._rows.execute("DELETE FROM files")
                self._rows.execute("DELETE FROM chunks")
                return
            for id_ in ids:
                self._rows.execute(
                    "DELETE FROM files WHERE path = (SELECT path FROM chunks WHERE id = ?)", (id_,)
                )
                self._rows.execute("DELETE FROM chunks WHERE id = ?", (id_,))

    def close(self) -> None:
        """Close the file."""
        self._rows.close()

    def _write_format(self) -> None:
        with self._rows:
            self._rows.execute(
                "INSERT OR IGNORE INTO record VALUES ('format', ?)", (json.dumps(FORMAT),)
            )

    def _check_format(self) -> None:
        found = self._rows.execute("SELECT value FROM record WHERE name = 'format'").fetchone()
        if found != (json.dumps(FORMAT),):
            raise StoreError(
                f"The manifest {str(self.path)!r} has the format {found and found[0]}, and this "
                f"version of qwen3-rag-cli writes {FORMAT}. Upgrade qwen3-rag-cli, or index into "
                "another --store."
            )

    @contextmanager
    def _changes(self) -> Iterator[None]:
        """Change rows in one transaction, in a copy if the file must not change."""
        if self._begin is not None:
            folder = self._begin()
            self._rows.close()
            self._begin = None
            self._open(folder / self.path.name)
        with self._errors(), self._rows:
            yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            told = f"The manifest {str(self.path)!r} cannot be read or written: {error}."
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _DAMAGED:
                reason = f"{self.path.name}: {error}"
                raise DamagedError(f"{told} Index the same paths again.", reason) from error
            remedy = _REMEDIES.get(code, "Check the disk, or index into another --store.")
            raise StoreError(f"{told} {remedy}") from error
