"""Judges what both sides got from a server, and renders it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qwen3_rag.backends import Role

OWN = "`Remote`"
TEI_CLASS = "LlamaIndex TextEmbeddingInference"

ALLOWED_ANGLE = 1e-4
"""Maximum of 1 minus a cosine."""

ALLOWED_DIFFERENCE = 2e-3
"""Maximum difference of probabilities."""

EMBEDDING = {
    "query": "queries get the instruction",
    "plain": "plain text",
    "code": "newlines and tabs",
    "control": "text with a control token",
    "long": "text longer than the server takes, cut before its end token",
    "short": "64 numbers, of unit length",
}
RERANKING = {
    "plain": "probabilities, best first",
    "instructed": "another instruction",
    "long": "one document is longer than the server takes",
}

Check = dict[str, Any]


def judgements(role: Role, seen: Mapping[str, Any], expected: Mapping[str, Any]) -> list[Check]:
    """Compare each result with the engine's.

    Args:
        role: What was computed.
        seen: Vectors, or pairs of index and score in a class's order, or errors, by name.
        expected: The engine's results.

    Returns:
        For each check its name, a verdict ("right", "wrong", "error") and the figure or message.
    """
    names = EMBEDDING if role == "embedding" else RERANKING
    judge = _vector if role == "embedding" else _scores
    checks = []
    for key, name in names.items():
        if isinstance(seen[key], str):
            verdict, figure = "error", seen[key]
        else:
            good, figure = judge(seen[key], expected[key])
            verdict = "right" if good else "wrong"
        checks.append({"check": name, "verdict": verdict, "figure": figure})
    return checks


def table(result: Mapping[str, Any]) -> str:
    """Render one set-up, in Markdown."""
    sides = result["checks"]
    rows = [f"| {result['setup']} | {' | '.join(sides)} |", "|---" * (1 + len(sides)) + "|"]
    for lines in zip(*sides.values(), strict=True):
        rows.append(f"| {lines[0]['check']} | {' | '.join(map(_said, lines))} |")
    return "\n".join(rows) + "\n"


def _vector(seen: Sequence[float], expected: Sequence[float]) -> tuple[bool, str]:
    found, right = np.asarray(seen), np.asarray(expected)
    if len(found) != len(right):
        return False, f"{len(found)} numbers"
    length = float(np.linalg.norm(found))
    cosine = float(found @ right) / length
    good = cosine > 1 - ALLOWED_ANGLE and abs(length - 1) < ALLOWED_ANGLE
    return good, f"cosine {cosine:.4f}" + (
        "" if abs(length - 1) < 1e-3 else f", length {length:.3f}"
    )


def _scores(seen: Sequence[Any], expected: Sequence[Any]) -> tuple[bool, str]:
    found, right = dict(map(tuple, seen)), dict(expected)
    if found.keys() != right.keys():
        return False, f"{len(found)} scores of {len(right)}"
    difference = max(abs(found[index] - right[index]) for index in right)
    order = [index for index, _ in seen] == [index for index, _ in expected]
    text = f"off by up to {difference:.4f}" + ("" if order else ", another order")
    return difference <= ALLOWED_DIFFERENCE and order, text


def _said(check: Check) -> str:
    figure = check["figure"].replace("|", "/").replace("\n", " ")[:90]
    word = {"right": "yes", "wrong": "**no**", "error": "error"}[check["verdict"]]
    return f"{word} ({figure})"
