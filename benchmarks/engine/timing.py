"""Timing sides against each other: find each one's best batch, then take turns.

A machine's speed drifts, so sides take turns round by round and only
times of one run are compared.
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

#: A line of a table, as it goes to JSON.
Row = dict[str, Any]

PAUSE = 0.3
"""Seconds between two sides, for the threads of the last one to go to sleep."""


WARM_UP = 4
"""Texts."""

BRIEF = 1.0
"""Seconds. What takes less is swept three times: a single slip would choose a wrong batch size."""


@dataclass(frozen=True)
class Side:
    """One of those compared.

    Attributes:
        who: Name in the table.
        run: Does the work for the items given, in batches of the size given; 0 when the size is
            not its affair. Items are texts to embed, or pairs to rerank.
        sweep: Batch sizes among which to find the best; none when there is nothing to choose.
        default: The batch size it has by itself, timed besides the best.
        rounds: How often it is timed at most.
        cut: Makes the model shallower meanwhile, so that the sweep takes less time.
    """

    who: str
    run: Callable[[Sequence[Any], int], object]
    sweep: tuple[int, ...] = ()
    default: int = 0
    rounds: int = sys.maxsize
    cut: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class _Entry:
    """A side at one batch size."""

    side: Side
    size: int
    setting: str
    sweep: dict[int, float]


def compare(sides: Sequence[Side], rounds: Sequence[Sequence[Any]], about: Row) -> Iterator[Row]:
    """Time each side on what each round has for all of them, in turns.

    Args:
        sides: qwen3-rag among them.
        rounds: Items; the first are for warming up and looking for the best batch.
        about: What every row says besides.

    Yields:
        A row per side and batch size.
    """
    first, *others = rounds
    entries = [entry for side in sides for entry in _entries(side, first)]
    runs: list[list[float]] = [[] for _ in entries]
    for number, items in enumerate(others):
        for entry, times in zip(entries, runs, strict=True):
            if number < entry.side.rounds:
                entry.side.run(first[:1], entry.size)  # the caches are the last side's
                times.append(seconds(entry.side.run, items, entry.size))
    for entry, times in zip(entries, runs, strict=True):
        note(f"  {entry.side.who} {entry.setting}: {median(times):.2f} s")
        row = {**about, "who": entry.side.who, "setting": entry.setting, "runs": times}
        yield {**row, "sweep": entry.sweep} if entry.sweep else row


def _entries(side: Side, items: Sequence[Any]) -> list[_Entry]:
    side.run(items[:WARM_UP], side.default)
    if not side.sweep:
        return [_Entry(side, side.default, f"batch {side.default}" if side.default else "", {})]
    sizes = [size for size in side.sweep if size < 2 * len(items)]  # more would be the same again
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
    """Time a call, a brief one as the best of three."""
    once = seconds(work, *arguments)
    return once if once > BRIEF else min(once, *(seconds(work, *arguments) for _ in range(2)))


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """Time a call."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def ratio(row: Row, own: Row) -> float:
    """How many times as long as qwen3-rag it took, by medians."""
    return float(median(row["runs"]) / median(own["runs"]))


def note(text: str) -> None:
    """Tell how far it has come."""
    print(text, file=sys.stderr, flush=True)
