"""`Store`, the file of a cache: an SQLite database of checked entries."""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import TypeVar

import numpy as np

from qwen3_rag._results import FloatArray
from qwen3_rag.errors import BackendError, InputError

__all__ = ["CacheInfo", "Entry", "Store", "cache_info", "clear_cache"]

T = TypeVar("T")

logger = logging.getLogger("qwen3_rag")

#: Marks the database as a cache of this project ("Qw3c").
APPLICATION = 0x51773363
WAIT = 10.0  # seconds for another process that writes
ASKED = 500  # keys in one query; SQLite allows 999 in its oldest versions
TOUCHED = 10_000  # hits whose times are kept in memory before they are written
LEFT = 0.99  # share of the limit that eviction leaves

_HEAD = struct.Struct("<qqq")  # tokens, cut_at, query_cut_at
_UNCOUNTED = -1
_MAGIC = b"SQLite format 3\0"
_PAGE = 4_096  # bytes: the size of the pages that SQLite makes a database of
_CHECK = 8  # bytes of an entry's checksum
#: Errors that mean damage. The queries never change, so one that is wrong means a damaged schema.
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
_TABLE = "CREATE TABLE entries (key BLOB PRIMARY KEY, used INTEGER NOT NULL, entry BLOB NOT NULL)"


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What is kept for one prompt.

    Attributes:
        values: float32, the full vector `[dim]`, or one log-odds `[1]`.
        tokens: Number of tokens read; `None` if not counted.
        cut_at: As in `Output`.
        query_cut_at: As in `Output`.
    """

    values: FloatArray
    tokens: int | None
    cut_at: int
    query_cut_at: int


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache's file holds.

    Attributes:
        entries: Number of vectors and scores.
        size: Bytes in use.
        oldest: When the entry that would be removed first was last used, in seconds since 1970;
            `None` without entries.
    """

    entries: int
    size: int
    oldest: float | None


class Store:
    """The entries in one file. Used by one thread at a time.

    A file that cannot be used stops no caller: that is logged once, and what cannot be read is
    computed again. Only a path to a file of something else is an `InputError`.
    """

    def __init__(self, path: str, max_bytes: int | None) -> None:
        """Store the arguments; the file is opened at first use."""
        self._path, self._max_bytes = path, max_bytes
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._touched: dict[bytes, int] = {}
        self._warned: set[str] = set()

    def get(self, keys: Sequence[bytes], size: int) -> dict[bytes, Entry]:
        """Return the entries that exist, by key.

        Args:
            keys: The keys, each once.
            size: How many numbers an entry must have.
        """
        found = self._try(lambda: self._get(keys, size), "read") or {}
        self._touched.update(dict.fromkeys(found, _now()))
        if len(self._touched) > TOUCHED:
            self.put({})
        return found

    def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Keep entries, and remove the least recently used ones if the file is too large."""
        self._try(lambda: self._put(entries), "written")

    def close(self) -> None:
        """Write the times of the latest hits and close the file."""
        if self._touched:
            self.put({})
        self._disconnect()

    def _get(self, keys: Sequence[bytes], size: int) -> dict[bytes, Entry]:
        connection = self._connect()
        found: dict[bytes, Entry] = {}
        damaged = 0
        for some in _groups(keys, ASKED):
            marks = ",".join("?" * len(some))
            for key, data in connection.execute(
                f"SELECT key, entry FROM entries WHERE key IN ({marks})", some
            ):
                entry = _unpack(key, data)
                if entry is None:
                    damaged += 1
                elif len(entry.values) == size:
                    found[key] = entry
        if damaged:
            self._warn("damaged", f"{damaged} entries are damaged and are computed again.")
        return found

    def _put(self, entries: Mapping[bytes, Entry]) -> None:
        connection = self._connect()
        now = _now()
        touched, self._touched = self._touched, {}
        with _transaction(connection):
            connection.executemany(
                "UPDATE entries SET used = ? WHERE key = ?",
                [(used, key) for key, used in touched.items()],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO entries (key, used, entry) VALUES (?, ?, ?)",
                [(key, now, _pack(key, entry)) for key, entry in entries.items()],
            )
            self._evict(connection)

    def _evict(self, connection: sqlite3.Connection) -> None:
        limit = self._max_bytes
        if limit is None or _size(connection) <= limit:
            return
        while (size := _size(connection)) > LEFT * limit:
            [count] = connection.execute("SELECT count(*) FROM entries").fetchone()
            if not count:
                return
            connection.execute(
                "DELETE FROM entries WHERE rowid IN "
                "(SELECT rowid FROM entries ORDER BY used LIMIT ?)",
                [int(count * (1 - LEFT * limit / size)) + 1],
            )

    def _try(self, work: Callable[[], T], verb: str) -> T | None:
        """Do work on the file; after a failure, warn and start anew at the next use."""
        try:
            return work()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            broken = _is_damage(error)
            same = self._opened == _identity(self._path)
            self._disconnect()
            if not broken:
                self._warn(verb, f"It could not be {verb} ({error}); the model computes instead.")
            elif same:  # else another process has put a new file there
                self._set_aside(error)
        except OSError as error:
            self._disconnect()
            self._warn(verb, f"It could not be {verb} ({error}); the model computes instead.")
        return None

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            folder = os.path.dirname(self._path)
            if folder:
                os.makedirs(folder, exist_ok=True)
            # Before the file is opened, so that one that cannot be opened is known too.
            self._opened = _identity(self._path)
            self._connection = _connect(self._path)
            self._opened = _identity(self._path)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _set_aside(self, error: Exception) -> None:
        aside = f"{self._path}.damaged"
        try:
            # The database last: until then, another process opens the same damaged file.
            for end in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    os.replace(self._path + end, aside + end)
        except OSError as failure:
            self._warn("aside", f"It is damaged ({error}) and cannot be renamed ({failure}).")
        else:
            self._warn(
                "aside", f"It is damaged ({error}), was renamed to {aside}, and starts anew."
            )

    def _warn(self, kind: str, what: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning("The cache %s: %s", self._path, what)


def cache_info(path: str | os.PathLike[str]) -> CacheInfo:
    """Say what a cache's file holds.

    Raises:
        InputError: There is no file, or it is no cache.
        BackendError: It is damaged or cannot be read.
    """

    def read(connection: sqlite3.Connection) -> CacheInfo:
        count, oldest = connection.execute("SELECT count(*), min(used) FROM entries").fetchone()
        if not isinstance(oldest, int | None):
            raise sqlite3.DatabaseError("an entry has no time")
        return CacheInfo(count, _size(connection), None if oldest is None else oldest / 1e9)

    return _with_file(path, read)


def clear_cache(path: str | os.PathLike[str]) -> int:
    """Remove all entries of a cache's file, which may be in use, and return their number.

    Raises:
        InputError: There is no file, or it is no cache.
        BackendError: It is damaged or cannot be written.
    """

    def clear(connection: sqlite3.Connection) -> int:
        removed = connection.execute("DELETE FROM entries").rowcount
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    return _with_file(path, clear)


def _with_file(path: str | os.PathLike[str], work: Callable[[sqlite3.Connection], T]) -> T:
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise InputError(f"There is no cache at {name!r}. Give the path that was given as `cache`.")
    try:
        with closing(_connect(name)) as connection:
            return work(connection)
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise BackendError(
            f"The cache {name!r} cannot be used: {error}. If it is damaged, delete the file."
        ) from error


def _connect(path: str) -> sqlite3.Connection:
    """Open a cache's file, and make its table if it is new.

    Raises:
        InputError: It is a file of something else.
    """
    if _is_foreign(path):
        raise InputError(f"{path!r} is no cache but a file of something else. Give another path.")
    # Used by one thread at a time, but closed by whichever collects it.
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes  # so that damaged text is no error of Python's module
    try:
        if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION,):
            _create(connection, path)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_foreign(path: str) -> bool:
    """Whether a file is neither a database nor what damage leaves of one.

    SQLite writes over files that are shorter than its own header.
    """
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        start = file.read(len(_MAGIC))
    # After a crash there may be zeros, or a page of something else in the place of another.
    is_left_of_one = not any(start) or os.path.getsize(path) % _PAGE == 0
    return not _MAGIC.startswith(start) and not is_left_of_one


def _is_damage(error: Exception) -> bool:
    """Whether an error means a damaged file; else it may pass, or the disk is at fault."""
    # Python's module cannot decode messages that quote a damaged schema. Its own have no code.
    return isinstance(error, UnicodeDecodeError) or (
        getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN
    )


def _create(connection: sqlite3.Connection, path: str) -> None:
    _is_made(connection, path)  # before anything is changed, such as the mode
    connection.execute("PRAGMA journal_mode = WAL")
    with _transaction(connection):
        if _is_made(connection, path):  # by another process in the meantime
            return
        connection.execute(_TABLE)
        connection.execute("CREATE INDEX used ON entries (used)")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")


def _is_made(connection: sqlite3.Connection, path: str) -> bool:
    schema = connection.execute("SELECT sql FROM sqlite_master").fetchall()
    if schema and (_TABLE.encode(),) not in schema:
        raise InputError(
            f"{path!r} is a database of something else, not a cache. Give another path."
        )
    return bool(schema)


class _transaction:
    """Writes all or nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:  # some failures end it
            self._connection.execute("ROLLBACK")


def _size(connection: sqlite3.Connection) -> int:
    """Return the bytes in use; those of removed entries are used again."""
    numbers = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    ]
    return int((numbers[0] - numbers[1]) * numbers[2])


def _pack(key: bytes, entry: Entry) -> bytes:
    tokens = _UNCOUNTED if entry.tokens is None else entry.tokens
    data = _HEAD.pack(tokens, entry.cut_at, entry.query_cut_at)
    data += entry.values.astype("<f4", copy=False).tobytes()
    return data + _checksum(key, data)


def _unpack(key: bytes, packed: object) -> Entry | None:
    """Read an entry; `None` if it is damaged or another key's."""
    if not isinstance(packed, bytes) or len(packed) < _HEAD.size + _CHECK:
        return None
    data = packed[:-_CHECK]
    if _checksum(key, data) != packed[-_CHECK:]:
        return None
    tokens, cut_at, query_cut_at = _HEAD.unpack_from(data)
    values = np.frombuffer(data, dtype="<f4", offset=_HEAD.size).astype(np.float32, copy=False)
    return Entry(values, None if tokens == _UNCOUNTED else tokens, cut_at, query_cut_at)


def _checksum(key: bytes, data: bytes) -> bytes:
    return blake2b(data, key=key, digest_size=_CHECK).digest()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _now() -> int:
    return time.time_ns()


def _groups(values: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    rest = iter(values)
    while group := list(islice(rest, size)):
        yield group
