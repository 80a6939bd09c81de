"""Reads files in another process, which is ended when it takes too long or too much memory.

A small file can be made so that its reader takes hours or all memory, and a library in C can crash.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from qwen3_rag_cli.reading.readers import read
from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.sections import Section

__all__ = ["Apart"]

#: Seconds that a file may take, and more for each million bytes of it.
SECONDS, SECONDS_PER_MB = 60.0, 20.0

# Bytes of memory, and more for each byte of a file.
MEMORY, MEMORY_PER_BYTE = 4_000_000_000, 100


class Apart:
    """A process that reads one file after the other; it is started when the first one comes."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """Start nothing yet.

        Args:
            seconds: Seconds that a small file may take.
        """
        self._seconds = seconds
        self._process: Any = None
        self._connection: Connection | None = None

    def read(self, source: Source, size: int) -> Iterator[Section]:
        """Read a file's sections; its notes are added when all are read.

        Args:
            source: The file.
            size: Its size in bytes.

        Raises:
            Unusable: It cannot be read, or takes too long or too much memory.
        """
        left = self._seconds + SECONDS_PER_MB * size / 1e6
        connection = self._started()
        is_done = False
        try:
            connection.send((str(source.path), source.encoding, size, left))
            while True:
                begun = time.monotonic()
                if not connection.poll(max(left, 0.0)):
                    raise Unusable(
                        "takes too long to be read; it may be damaged or made to do harm. Save it "
                        "again, or leave it out with --exclude"
                    )
                # Not the time in which the sections are worked on here.
                left -= time.monotonic() - begun
                received = connection.recv()
                if isinstance(received, Section):
                    yield received
                    continue
                is_done = True
                notes, error = received
                source.notes += notes
                if error is not None:
                    raise error
                return
        except (EOFError, OSError):
            raise Unusable(
                "made its reader crash or run out of memory; it may be damaged or made to do harm. "
                "Save it again, or leave it out with --exclude"
            ) from None
        finally:
            # Another file may have begun when this one is given up.
            if not is_done and self._connection is connection:
                self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _started(self) -> Connection:
        if self._connection is None:
            # Not forked: torch's threads would be missing in the copy.
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        return self._connection


def _serve(connection: Connection) -> None:
    """Read the files that are asked for, until the other end is closed."""
    # Ctrl-C is for the command, which then closes its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries warn of parts of a file that they leave out, such as charts.
    warnings.simplefilter("ignore")
    # Each thread of numpy, which one library imports, would take from the memory below.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    while True:
        try:
            path, encoding, size, seconds = connection.recv()
        except EOFError:
            return
        _limit(size, seconds)
        source = Source(Path(path), encoding)
        error: Exception | None = None
        try:
            for section in read(source):
                connection.send(section)
        except (Unusable, ImportError) as refused:
            error = refused
        except MemoryError:
            error = Unusable(
                "needs too much memory to be read; it may be made to do harm. Divide it, or leave "
                "it out with --exclude"
            )
        connection.send((source.notes, error))


def _limit(size: int, seconds: float) -> None:
    """Limit memory and time, where the system can."""
    if sys.platform == "win32":
        return
    import resource

    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    limits = {
        resource.RLIMIT_AS: MEMORY + MEMORY_PER_BYTE * size,
        # The command ends a process that takes too long, unless it was itself killed.
        resource.RLIMIT_CPU: int(used + seconds) + 10,
    }
    for kind, limit in limits.items():
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
        # macOS does not limit memory.
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, most))
