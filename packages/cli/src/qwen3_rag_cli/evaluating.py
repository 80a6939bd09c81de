"""Prints what `eval run` measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qwen3_rag_cli.console import console, counted, plain, print_json, size
from qwen3_rag_evaluation import Collection, Comparison, Result, corrected

__all__ = ["Compared", "compared", "print_results"]

#: A difference this unlikely to be chance is told as one.
LEVEL = 0.05


@dataclass(frozen=True)
class Compared:
    """A result beside the best one.

    Attributes:
        result: The result.
        difference: How it differs from the best by the first metric; `None` for the best itself.
        p_value: The probability of such a difference by chance, corrected for the number of
            configurations.
    """

    result: Result
    difference: Comparison | None
    p_value: float | None


def compared(results: Sequence[Result]) -> list[Compared]:
    """Order results by the first metric, and compare each with the best.

    Args:
        results: The results, of the same queries.
    """
    metric = next(iter(results[0].scores.values))
    ordered = sorted(results, key=lambda one: -one.scores.interval(metric).mean)
    best, *others = ordered
    differences = {
        one.configuration.described: one.scores.compare(best.scores, metric) for one in others
    }
    p_values = corrected({name: one.p_value for name, one in differences.items()})
    return [
        Compared(one, differences.get(name), p_values.get(name))
        for one in ordered
        for name in [one.configuration.described]
    ]


def print_results(collection: Collection, rows: Sequence[Compared], *, json_: bool) -> None:
    """Print results as a table, best first, or as JSON.

    Args:
        collection: What was searched.
        rows: The results.
        json_: Whether to print JSON.
    """
    if json_:
        print_json(
            {
                "collection": collection.name,
                "documents": len(collection.documents),
                "queries": len(collection.queries),
                "results": [_record(row) for row in rows],
            }
        )
        return
    out = console()
    out.say(
        f"{collection.name}: {counted(len(collection.documents), 'document')}, "
        f"{len(collection.queries):,} queries."
    )
    metrics = [*rows[0].result.scores.values]
    head = "".join(f"{name:>12}" for name in metrics)
    out.print(
        plain(f"{head}{'ms/query':>10}{'vectors':>10}  configuration", "bold"), soft_wrap=True
    )
    for row in rows:
        one = row.result
        means = "".join(f"{one.scores.interval(name).mean:>12.4f}" for name in metrics)
        took = 1e3 * sum(one.cost.seconds.values())
        vectors = size(one.cost.index_bytes) if one.cost.index_bytes else ""
        line = plain(f"{means}{took:>10.1f}{vectors:>10}  ")
        line.append(plain(one.configuration.described))
        line.append(plain(_told(row), "dim"))
        out.print(line, soft_wrap=True)
    cut = {row.result.configuration.model: row.result.cost.cut for row in rows}
    for model, count in cut.items():
        if count:
            out.say(f"{counted(count, 'document')} were too long for {model} and were cut.")
    out.say(f"Best first by {metrics[0]}; differences by a paired t-test with Holm's correction.")


def _told(row: Compared) -> str:
    if row.difference is None or row.p_value is None:
        return "  (best)"
    if not row.difference.better + row.difference.worse:
        return "  (the same for each query)"
    worse = "" if row.p_value < LEVEL else ", which may be chance"
    return f"  ({row.difference.difference.mean:+.4f}, p {row.p_value:.3f}{worse})"


def _record(row: Compared) -> dict[str, Any]:
    one = row.result
    return {
        "name": one.configuration.described,
        "configuration": asdict(one.configuration),
        "metrics": {name: asdict(one.scores.interval(name)) for name in one.scores.values},
        "cost": asdict(one.cost),
        "difference": None if row.difference is None else asdict(row.difference),
        "p_value": row.p_value,
    }
