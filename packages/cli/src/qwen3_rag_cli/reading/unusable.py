"""The exception for a file that is not indexed."""

from __future__ import annotations

__all__ = ["Unusable"]


class Unusable(Exception):
    """A file cannot be read, or has no text.

    Attributes:
        reason: What is wrong with it and what to do, with the file as the subject of the sentence.
        keep: Whether its chunks stay in the index, since the file may be unchanged.
    """

    def __init__(self, reason: str, *, keep: bool = False) -> None:
        # Both, so that it can be pickled: readers may run in a process of their own.
        super().__init__(reason, keep)
        self.reason = reason
        self.keep = keep

    def __reduce__(self) -> tuple[object, ...]:
        return _made, (self.reason, self.keep)


def _made(reason: str, keep: bool) -> Unusable:
    return Unusable(reason, keep=keep)
