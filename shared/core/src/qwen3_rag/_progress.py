"""A progress bar on a terminal; silence in a pipe or a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(
    show: bool, total: int, label: str, unit: str
) -> Iterator[Callable[[int], None] | None]:
    """Show a bar while the context is open.

    Args:
        show: Whether the caller asked for one.
        total: How many units there are.
        label: What is being done.
        unit: What is counted.

    Yields:
        A function to call with a number of finished units, or `None` without a bar.
    """
    if not show:
        yield None
        return
    # `disable=None` is tqdm's way to stay silent where there is no terminal.
    with tqdm(total=total, desc=label, unit=unit, disable=None, leave=False) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance
