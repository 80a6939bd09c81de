"""Progress bars, shown only on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(
    show: bool, total: int, label: str, unit: str
) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar while the context is open.

    Args:
        show: Whether the caller asked for a progress bar.
        total: Total number of units.
        label: What is being done.
        unit: Name of the unit.

    Yields:
        A function to call with the number of newly finished units, or `None` without a bar.
    """
    if not show:
        yield None
        return
    # With `disable=None`, tqdm shows nothing if there is no terminal.
    with tqdm(total=total, desc=label, unit=unit, disable=None, leave=False) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance
