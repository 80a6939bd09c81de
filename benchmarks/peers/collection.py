"""The collection to search: this repository's guides, or one of the evaluation collections."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.tiny_quality import Collection, read

ROOT = Path(__file__).resolve().parents[2]


def guides(most: int) -> Collection:
    """Make a collection of the guides: sections are documents, headings are queries."""
    documents: list[str] = []
    queries: list[str] = []
    for page in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ):
        sections = _sections(page.read_text(encoding="utf-8"))
        title = sections[0][0]
        for heading, text in sections:
            if text:
                documents.append(text)
                queries.append(heading if heading == title else f"{title}: {heading}")
    chosen = random.Random(0).sample(range(len(queries)), len(queries))[:most]
    return Collection(
        "guides", documents, [queries[place] for place in chosen], [{place} for place in chosen]
    )


def collection(data: Path | None, name: str, most: int) -> Collection:
    """Read a collection by name, or the guides if `data` is `None`."""
    if data is None:
        return guides(most)
    return read(data / "corpora" / name, frozenset(), most)


def _sections(page: str) -> list[tuple[str, str]]:
    """Split a page into headings and texts; ignore `#` in code blocks."""
    found: list[tuple[str, list[str]]] = []
    code = False
    for line in page.splitlines():
        code ^= line.startswith("```")
        if line.startswith("#") and not code:
            found.append((line.lstrip("# "), []))
        elif found:
            found[-1][1].append(line)
    return [(heading, "\n".join(lines).strip()) for heading, lines in found]
