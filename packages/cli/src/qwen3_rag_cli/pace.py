"""`Pace`: how often to do what takes time itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Pace"]

# Share of the whole time that it may take.
SHARE = 0.05


class Pace:
    """Tells when something is due, by how long it took the last time."""

    def __init__(self, least: float = 0.0) -> None:
        """Begin now.

        Args:
            least: Seconds after which it is due at the earliest.
        """
        self._least, self._cost, self._last = least, 0.0, time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time to do it again."""
        return time.monotonic() - self._last >= max(self._least, self._cost / SHARE)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Do it, and measure how long it takes."""
        start = time.monotonic()
        yield
        self._last = time.monotonic()
        self._cost = self._last - start
