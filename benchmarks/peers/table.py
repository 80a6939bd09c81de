"""Evaluates the results of `observe` and prints both sides in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXACT = 1e-4
"""Tolerance of cosines and lengths."""

LEAST_TICKS = 10
"""Minimum ticks of the event loop while all documents are embedded; a blocked loop ticks once."""

Seen = Mapping[str, Any]


def judgements(seen: Seen) -> dict[str, tuple[bool, str]]:
    """Judge each check: name to whether it passed and the measured value."""
    short = max(abs(norm - 1) for norm in seen["short_norms"])
    found = {
        "instruction applied": (
            seen["query_to_card"] > 1 - EXACT,
            f"cosine {seen['query_to_card']:.4f} to the model card's vector"
            + (", the bare text's vector" if seen["query_to_bare"] > 1 - EXACT else ""),
        ),
        "newlines kept": (
            seen["code_to_card"] > 1 - EXACT > seen["code_to_flat"],
            f"cosine {seen['code_to_card']:.4f} to the model card's vector",
        ),
        "MRL normalised": (
            short < EXACT,
            f"length {seen['short_norms'][0]:.4f} at {seen['short_dim']} numbers",
        ),
        "scores kept": (None not in seen["scores"], ""),
        "inputs unchanged": (seen["keeps_inputs"], ""),
        "long documents read to the end": (seen["reads_the_end"], ""),
        "event loop goes on in async calls": (seen["async"]["ticks"] >= LEAST_TICKS, ""),
    }
    if seen["queries_apart"] is not None:
        found["cache tells queries from documents"] = (seen["queries_apart"], "")
    return found


def defects(seen: Seen) -> list[str]:
    """List the failed checks."""
    return [name for name, (good, _) in judgements(seen).items() if not good]


def table(framework: str, theirs: Seen, own: Seen) -> str:
    """Render the table of one framework, in Markdown."""
    rows = [f"| {framework} | {_versions(theirs)} | {_versions(own)} |", "|---|---|---|"]
    left, right = judgements(theirs), judgements(own)
    rows += [f"| {name} | {_said(*left[name])} | {_said(*right[name])} |" for name in left]
    for name, worth in theirs["ndcg@10"].items():
        rows.append(f"| nDCG@10, {name} | {worth:.3f} | {own['ndcg@10'][name]:.3f} |")
    for name, seconds in theirs["seconds"].items():
        rows.append(_seconds(name, seconds, own["seconds"][name]))
    rows.append(_seconds("documents, async", theirs["async"]["seconds"], own["async"]["seconds"]))
    missing = [name for name, (good, _) in left.items() if good]
    rows.append("\nNot a defect of these versions: " + (", ".join(missing) or "none") + ".\n")
    return "\n".join(rows)


def _versions(seen: Seen) -> str:
    return ", ".join(f"{name} {version}" for name, version in seen["versions"].items())


def _said(good: bool, figure: str) -> str:
    return ("yes" if good else "**no**") + (f" ({figure})" if figure else "")


def _seconds(name: str, theirs: float, own: float) -> str:
    return f"| {name}, s | {theirs:.2f} | {own:.2f}, {theirs / own:.1f} times as fast |"
