"""Watches files and folders, and calls a function whenever something in them has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path

import watchfiles

from qwen3_rag.errors import InputError

__all__ = ["watch"]

# Milliseconds: of quiet after which changes are complete, as of a program that writes many files;
# that one waits for it at most; and after which to look whether the folders are still the same.
QUIET, LONGEST, TICK = 300, 5_000, 500

# Seconds after which to try again what failed.
RETRY = 30.0


def watch(
    paths: Sequence[Path], counts: Callable[[Path], bool], update: Callable[[], bool]
) -> None:
    """Call a function now, and again after each change, until the process is interrupted.

    Args:
        paths: Files and folders, absolute. One that is missing, or is replaced by another, is
            watched as soon as it is there.
        counts: Whether a change of a file or folder matters.
        update: Reads the paths, and returns whether it is to be called again soon, because
            something else than the paths made it fail.

    Raises:
        InputError: The system cannot watch so many folders.
        KeyboardInterrupt: The process was interrupted, or told to end.
    """
    while True:
        with closing(_changes(paths, counts)) as changes:
            next(changes)  # from now on none is missed, also while they are read
            until = time.monotonic() + RETRY if update() else float("inf")
            while not next(changes) and time.monotonic() < until:
                pass


def _changes(paths: Sequence[Path], counts: Callable[[Path], bool]) -> Generator[bool, None, None]:
    """Yield whether something has changed, again and again, until something has."""
    found = _identities(paths)
    there = [path for path, identity in zip(paths, found, strict=True) if identity is not None]
    if not there:
        while True:
            time.sleep(TICK / 1000)
            yield _identities(paths) != found

    try:
        for changes in watchfiles.watch(
            *there,
            watch_filter=lambda _, name: counts(Path(name)),
            debounce=LONGEST,
            step=QUIET,
            rust_timeout=TICK,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        ):
            # A folder that was deleted and made again is another one, which is not watched yet.
            yield bool(changes) or _identities(paths) != found
    except RuntimeError as error:
        raise InputError(
            f"These folders cannot be watched: {error}. Raise the system's limit (on Linux "
            "fs.inotify.max_user_watches), name fewer folders, or set the variable "
            "WATCHFILES_FORCE_POLLING=1, which looks at all files again and again."
        ) from error


def _identities(paths: Sequence[Path]) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino))
    return found
