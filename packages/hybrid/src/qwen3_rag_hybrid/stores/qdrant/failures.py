"""The errors of the embedded engine and of the disk under it, as `StoreError`s with a remedy."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from qwen3_rag.errors import Qwen3RagError, StoreError
from qwen3_rag_hybrid.errors import DamagedError
from qwen3_rag_hybrid.stores.record import LaterFormatError

__all__ = ["disk_remedy", "engine_errors"]

_FULL = "The disk is full. Free some space, and run it again: what was written before is kept."
_DENIED = (
    "This user may not write there. Change the permissions or the user, or choose another folder; "
    "what was published there can be opened with `read_only=True`."
)
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _DENIED,
    errno.EMFILE: "This process has too many files open. Raise the limit with `ulimit -n`.",
    errno.EIO: "The disk failed. Check it, and restore the folder from a copy.",
}
# Windows has numbers of its own.
_WINDOWS = {5: errno.EACCES, 19: errno.EROFS, 39: errno.ENOSPC, 112: errno.ENOSPC}


@contextmanager
def engine_errors(action: str, damaged: str = "") -> Iterator[None]:
    """Convert the engine's errors, which are plain `Exception`s, and those of the disk.

    Args:
        action: What is being done, for the message.
        damaged: What to do about damaged files, where any other error means that; otherwise empty.
    """
    try:
        yield
    except (Qwen3RagError, MemoryError):
        raise
    except LaterFormatError as error:
        raise StoreError(
            f"{action} failed: {error}. A later release of this package wrote it: update this one."
        ) from error
    except BaseException as error:
        # A panic of the engine derives from BaseException, so `except Exception` does not catch it.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        remedy = _remedy(error)
        told = f"{action} failed: {str(error).rstrip('.')}."
        if damaged and not remedy:
            raise DamagedError(f"{told} {damaged}", _reason(error)) from error
        raise StoreError(f"{told} {remedy}".rstrip()) from error


def disk_remedy(error: OSError) -> str:
    """Return what to do about an error of the system; empty if that is not known."""
    number = getattr(error, "winerror", None)
    return _REMEDIES.get(_WINDOWS.get(number, 0) if number else error.errno or 0, "")


def _reason(error: BaseException) -> str:
    """Return what is damaged, without where that is."""
    if isinstance(error, FileNotFoundError | NotADirectoryError) and error.filename is not None:
        return f"{os.path.basename(os.fspath(error.filename))} is missing"
    return str(error)


def _remedy(error: BaseException) -> str:
    if isinstance(error, OSError):
        return disk_remedy(error)
    text = str(error)
    if "WouldBlock" in text:  # the engine's own lock, which a fork inherits
        return (
            "A process forked from one that had it open still holds it. End that process; start "
            "workers by spawning, or open the folder after forking."
        )
    for found in re.findall(r"os error (\d+)", text):
        number = int(found)
        if os.name == "nt":
            number = _WINDOWS.get(number, 0)
        if number in _REMEDIES:
            return _REMEDIES[number]
    return ""
