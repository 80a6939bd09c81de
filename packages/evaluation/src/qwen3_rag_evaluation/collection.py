"""`Collection`: documents, queries and judgements, read from folders in BEIR's format or JSONL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen3_rag.errors import InputError
from qwen3_rag_evaluation.metrics import Grades
from qwen3_rag_evaluation.runs import read_qrels

__all__ = ["Collection", "read_collection"]

_SPLITS = ("test", "dev", "train")


@dataclass(frozen=True)
class Collection:
    """What a retrieval is measured with.

    Attributes:
        name: Its name in reports.
        documents: Texts by id, with the title before the text.
        queries: Questions by id; each has a relevant document.
        qrels: For each query, the grades of its judged documents by id. A grade above 0 is
            relevant.
    """

    name: str
    documents: Mapping[str, str] = field(repr=False)
    queries: Mapping[str, str] = field(repr=False)
    qrels: Mapping[str, Grades] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.documents:
            raise InputError(f"The collection {self.name!r} has no documents.")
        if not self.queries:
            raise InputError(f"The collection {self.name!r} has no queries.")
        for query in self.queries:
            grades = self.qrels.get(query, {})
            relevant = [id_ for id_, grade in grades.items() if grade > 0]
            if not relevant:
                raise InputError(
                    f"The query {query!r} of {self.name!r} has no relevant document, so every "
                    "ranking would get 0. Leave it out, or judge a document."
                )
            missing = [id_ for id_ in relevant if id_ not in self.documents]
            if missing:
                raise InputError(
                    f"The query {query!r} of {self.name!r} has the relevant document "
                    f"{missing[0]!r}, which is not in the collection."
                )


def read_collection(folder: str | Path, *, split: str | None = None) -> Collection:
    """Read a collection in BEIR's format.

    The folder has `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`), and
    judgements in `qrels.tsv` or `qrels/SPLIT.tsv` (`query-id`, `corpus-id`, `score`). Queries
    without a relevant document are left out.

    Args:
        folder: The folder.
        split: Name of the judgements in `qrels/`; defaults to the first of test, dev, train.

    Raises:
        InputError: A file is missing or has another format; the message names the line.
    """
    place = Path(folder)
    qrels = read_qrels(_qrels_of(place, split))
    queries = {
        id_: text
        for id_, _, text in _texts(place / "queries.jsonl")
        if any(grade > 0 for grade in qrels.get(id_, {}).values())
    }
    documents = {
        id_: f"{title}\n{text}" if title else text
        for id_, title, text in _texts(place / "corpus.jsonl")
    }
    return Collection(place.resolve().name, documents, queries, qrels)


def _qrels_of(folder: Path, split: str | None) -> Path:
    single = folder / "qrels.tsv"
    if split is None and single.is_file():
        return single
    names = [split] if split else _SPLITS
    for name in names:
        file = folder / "qrels" / f"{name}.tsv"
        if file.is_file():
            return file
    there = sorted(path.stem for path in (folder / "qrels").glob("*.tsv"))
    raise InputError(
        f"{str(folder)!r} has no judgements {' or '.join(f'qrels/{name}.tsv' for name in names)}. "
        + (f"There are: {', '.join(there)}." if there else "Add them, or `qrels.tsv`.")
    )


def _texts(file: Path) -> Iterator[tuple[str, str, str]]:
    """Read each line's id, title and text."""
    seen: set[str] = set()
    try:
        lines = file.open(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read: {error.strerror}.") from error
    with lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            id_, title, text = _record(line, f"line {number} of {str(file)!r}")
            if id_ in seen:
                raise InputError(f"Line {number} of {str(file)!r} has the id {id_!r} again.")
            seen.add(id_)
            yield id_, title, text


def _record(line: str, where: str) -> tuple[str, str, str]:
    try:
        found: Any = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where.capitalize()} is no JSON: {error}.") from error
    id_ = found.get("_id") if isinstance(found, dict) else None
    text = found.get("text") if isinstance(found, dict) else None
    title = (found.get("title") or "") if isinstance(found, dict) else None
    if not (isinstance(id_, str) and id_ and isinstance(text, str) and isinstance(title, str)):
        raise InputError(
            f'{where.capitalize()} must be an object such as {{"_id": "1", "text": "..."}}, got '
            f"{line.strip()[:80]!r}."
        )
    return id_, title, text
