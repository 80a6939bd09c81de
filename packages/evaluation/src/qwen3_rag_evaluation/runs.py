"""Runs and judgements in the formats of TREC."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from qwen3_rag.errors import InputError
from qwen3_rag_evaluation.metrics import Grades, by_score

__all__ = ["Run", "read_qrels", "read_run", "write_qrels", "write_run"]

#: The documents that were found for each query, best first.
Run: TypeAlias = Mapping[str, Sequence[str]]


def write_run(run: Run, file: str | Path, *, name: str = "qwen3-rag") -> None:
    """Write a run that trec_eval and its kin read.

    They order by score alone, so each document gets a score from its rank.

    Args:
        run: The run.
        file: The file to write.
        name: The run's name, which stands in every line.

    Raises:
        InputError: An id or the name is empty or has a space, which the format cannot hold.
    """
    lines = []
    _check(name)
    for query, found in run.items():
        _check(query)
        for rank, id_ in enumerate(found, 1):
            _check(id_)
            lines.append(f"{query} Q0 {id_} {rank} {len(found) - rank + 1} {name}\n")
    Path(file).write_text("".join(lines), encoding="utf-8")


def read_run(file: str | Path) -> dict[str, list[str]]:
    """Read a run, ordered as trec_eval does: by score, and equal scores by id, both descending.

    Args:
        file: A file of lines `QUERY Q0 DOCUMENT RANK SCORE NAME`.

    Raises:
        InputError: It cannot be read, or a line has another format.
    """
    scores: dict[str, dict[str, float]] = {}
    for where, parts in _lines(Path(file)):
        if len(parts) != 6:
            raise InputError(f"{where} must have 6 columns, got {len(parts)}.")
        query, _, id_, _, score, _ = parts
        found = scores.setdefault(query, {})
        if id_ in found:
            raise InputError(f"{where} has the document {id_!r} of {query!r} again.")
        found[id_] = _number(score, where)
    return {query: by_score(found) for query, found in scores.items()}


def write_qrels(qrels: Mapping[str, Grades], file: str | Path) -> None:
    """Write judgements that `read_qrels` and trec_eval read.

    Args:
        qrels: For each query, the grades of documents.
        file: The file to write.

    Raises:
        InputError: An id is empty or has a space, or a grade is no whole number.
    """
    lines = []
    for query, grades in qrels.items():
        _check(query)
        for id_, grade in grades.items():
            _check(id_)
            if grade != int(grade):
                raise InputError(
                    f"The grade of {id_!r} for {query!r} must be a whole number, got {grade!r}."
                )
            lines.append(f"{query} 0 {id_} {int(grade)}\n")
    Path(file).write_text("".join(lines), encoding="utf-8")


def read_qrels(file: str | Path) -> dict[str, dict[str, float]]:
    """Read judgements in TREC's format, or in BEIR's with its heading.

    Args:
        file: A file of lines `QUERY 0 DOCUMENT GRADE`, or of `query-id`, `corpus-id`, `score`.

    Raises:
        InputError: It cannot be read, or a line has another format.
    """
    qrels: dict[str, dict[str, float]] = {}
    for where, parts in _lines(Path(file)):
        if parts[0] == "query-id":  # the heading
            continue
        if len(parts) not in (3, 4):
            raise InputError(f"{where} must have 3 columns, or 4 in TREC's format: {parts}.")
        query, id_, grade = parts[0], parts[-2], _number(parts[-1], where)
        if qrels.setdefault(query, {}).setdefault(id_, grade) != grade:
            raise InputError(f"{where} judges {id_!r} for {query!r} again, with another grade.")
    return qrels


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Read the columns of each line that has some, with the place for messages."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{str(file)!r} cannot be read: {error}.") from error
    for number, line in enumerate(text.split("\n"), 1):
        parts = line.split("\t") if "\t" in line else line.split()
        if parts:
            yield f"Line {number} of {str(file)!r}", [part.strip() for part in parts]


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where} has {text!r} where a number belongs.")
    return number


def _check(name: str) -> None:
    if not name or any(map(str.isspace, name)):
        raise InputError(
            f"{name!r} cannot be written in TREC's format, whose names are not empty and have no "
            "spaces. Rename it."
        )
