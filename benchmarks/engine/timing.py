"""Timing of the implementations: find each one's best batch size, then time them alternately.

The speed of a machine drifts, so implementations alternate in each round, and only times of the
same run are compared.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

__all__ = ["QWEN3_RAG", "Row", "Side", "compare", "note", "ratio", "seconds"]

QWEN3_RAG = "qwen3-rag"

#: A row of a table, as it is written to JSON.
Row = dict[str, Any]

PAUSE = 0.3
"""Seconds between two measurements, in which the threads of the previous one go to sleep."""


WARM_UP = 4
"""Texts to warm up with."""

BRIEF = 1.0
"""Seconds. A batch size that takes less is timed three times, so that an outlier does not win."""


@dataclass(frozen=True)
class Side:
    """An implementation.

    Attributes:
        who: Name in the table.
        run: Processes items (texts to embed or pairs to rerank) with a batch size, which is 0 if
            the implementation has none.
        sweep: Batch sizes to try; empty if there is no choice.
        default: Its default batch size, which is timed in addition to the best one.
        rounds: Maximum number of rounds.
        cut: Context manager that removes layers from the model, to make the sweep faster.
    """

    who: str
    run: Callable[[Sequence[Any], int], object]
    sweep: tuple[int, ...] = ()
    default: int = 0
    rounds: int = sys.maxsize
    cut: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class _Entry:
    """An implementation with a batch size."""

    side: Side
    size: int
    setting: str
    sweep: dict[int, float]


def compare(sides: Sequence[Side], rounds: Sequence[Sequence[Any]], about: Row) -> Iterator[Row]:
    """Time the implementations alternately on the same items.

    Args:
        sides: The implementations, including qwen3-rag.
        rounds: The items of each round; the first are used to warm up and to find the best batch.
        about: Additional entries in every row.

    Yields:
        A row per implementation and batch size.
    """
    first, *others = rounds
    entries = [entry for side in sides for entry in _entries(side, first)]
    runs: list[list[float]] = [[] for _ in entries]
    for number, items in enumerate(others):
        for entry, times in zip(entries, runs, strict=True):
            if number < entry.side.rounds:
                entry.side.run(
                    first[:1], entry.size
                )  # warm the caches again after the previous implementation
                times.append(seconds(entry.side.run, items, entry.size))
    for entry, times in zip(entries, runs, strict=True):
        note(f"  {entry.side.who} {entry.setting}: {median(times):.2f} s")
        row = {**about, "who": entry.side.who, "setting": entry.setting, "runs": times}
        yield {**row, "sweep": entry.sweep} if entry.sweep else row


def _entries(side: Side, items: Sequence[Any]) -> list[_Entry]:
    side.run(items[:WARM_UP], side.default)
    if not side.sweep:
        return [_Entry(side, side.default, f"batch {side.default}" if side.default else "", {})]
    sizes = [
        size for size in side.sweep if size < 2 * len(items)
    ]  # larger sizes give the same single batch
    with side.cut():
        swept = {size: _least(side.run, items, size) for size in sizes}
    best = min(swept, key=lambda size: swept[size])
    found = _Entry(side, best, f"batch {best}, its best", swept)
    if not side.default:
        return [found]
    if min(best, len(items)) == min(side.default, len(items)):
        return [replace(found, size=side.default, setting="its best batch is its default")]
    return [found, _Entry(side, side.default, f"batch {side.default}, its default", {})]


def _least(work: Callable[..., object], *arguments: object) -> float:
    """Time a call; take the best of three if it is short."""
    once = seconds(work, *arguments)
    return once if once > BRIEF else min(once, *(seconds(work, *arguments) for _ in range(2)))


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """Time a call."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def ratio(row: Row, own: Row) -> float:
    """Compute the median time relative to qwen3-rag."""
    return float(median(row["runs"]) / median(own["runs"]))


def note(text: str) -> None:
    """Print progress to stderr."""
    print(text, file=sys.stderr, flush=True)
