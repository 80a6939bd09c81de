"""Progress bars, shown only on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from tqdm.auto import tqdm

__all__ = ["Progress", "progress_bar"]

#: Whether to show a progress bar on a terminal; or a function that is called instead, from time to
#: time and from another thread, with the number of newly finished units.
Progress: TypeAlias = bool | Callable[[int], None]


@contextmanager
def progress_bar(
    show: Progress, total: int, label: str, unit: str
) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar while the context is open, or call the caller's function.

    Args:
        show: What the caller asked for.
        total: Total number of units.
        label: What is being done.
        unit: Name of the unit.

    Yields:
        A function to call with the number of newly finished units, or `None` without a bar.
    """
    if callable(show) or not show:
        yield show or None
        return
    # With `disable=None`, tqdm shows nothing if there is no terminal.
    with tqdm(total=total, desc=label, unit=unit, disable=None, leave=False) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance
