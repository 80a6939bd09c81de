"""The errors of a collection in a folder that callers may want to tell apart."""

from __future__ import annotations

from pathlib import Path

from qwen3_rag.errors import StoreError

__all__ = ["DamagedError", "InUseError"]


class DamagedError(StoreError):
    """The files of a collection are not as they were written.

    Attributes:
        reason: What was found, for callers who can advise something else.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class InUseError(StoreError):
    """A folder is open for writing, elsewhere or in this process.

    Attributes:
        holder: Who has it open, for callers who can advise something else.
        is_own: Whether it is this process.
        is_published: Whether the folder can be read meanwhile.
    """

    def __init__(self, folder: Path, holder: str, *, is_own: bool, is_published: bool) -> None:
        self.holder, self.is_own, self.is_published = holder, is_own, is_published
        if is_own:
            remedy = "Close the other searcher or store first, or use `with`, which closes it."
        elif is_published:
            remedy = "Wait for it with `wait=SECONDS`, or search with `read_only=True`."
        else:
            remedy = "Wait for it with `wait=SECONDS`: nothing was published to be read meanwhile."
        super().__init__(
            f"{str(folder)!r} is held by {holder}. One at a time can write to it. {remedy}"
        )
