"""Runs the Python examples of a documentation page, with models that need no download."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FRAMEWORK_HEADINGS", "Example", "examples", "headings", "run_examples"]

#: The sections of every framework's guide, so that all guides have the same structure.
FRAMEWORK_HEADINGS = (
    "Install",
    "Five-line start",
    "Swap into an existing pipeline",
    "Full RAG pipeline",
    "Async",
    "Instructions",
    "MRL and storage",
    "The model on a server",
    "Serialisation",
    "Troubleshooting",
)

_FENCED = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```", re.M | re.S)
_PUBLISHED = re.compile(r"Qwen/Qwen3-(Embedding|Reranker)-\d+(\.\d+)?B")


@dataclass(frozen=True)
class Example:
    """One fenced block of Python on a page.

    Attributes:
        page: The file.
        line: The first line of its code on the page.
        code: The code.
    """

    page: Path
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    def run(self, names: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the code; errors name the page and its line.

        Args:
            names: Names that earlier examples defined; this example adds its own.

        Returns:
            The names, including those that the example defines.
        """
        names = {"__name__": self.page.stem} if names is None else names
        exec(compile("\n" * (self.line - 1) + self.code, str(self.page), "exec"), names)
        return names


def examples(page: Path, replace: Mapping[str, str] | None = None) -> list[Example]:
    """Find the Python examples of a page.

    Args:
        page: A Markdown file.
        replace: Replacements for text on the page.

    Raises:
        AssertionError: The page has no examples, or does not contain a text to replace.
    """
    text = page.read_text(encoding="utf-8")
    found = [
        Example(page, text.count("\n", 0, block.start("code")) + 1, block["code"])
        for block in _FENCED.finditer(text)
        if block["language"] == "python"
    ]
    assert found, f"{page} has no Python example."
    for old, new in (replace or {}).items():
        assert any(old in example.code for example in found), f"No example of {page} has {old!r}."
        found = [Example(page, e.line, e.code.replace(old, new)) for e in found]
    return found


def run_examples(page: Path, replace: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a page's examples in order, with `"tiny"` in place of the published models' names.

    Args:
        page: A Markdown file.
        replace: Replacements for text on the page, such as the address of a server. They are made
            before the models' names are replaced.

    Returns:
        The names that the examples define, so that a test can check results and close objects.

    Raises:
        AssertionError: The page has no examples, or does not contain a text to replace.
    """
    names: dict[str, Any] = {"__name__": page.stem}
    for example in examples(page, replace):
        Example(page, example.line, _PUBLISHED.sub("tiny", example.code)).run(names)
    return names


def headings(page: Path) -> list[str]:
    """Return a page's second-level headings, ignoring comments in its examples."""
    return re.findall(r"^## (.+)$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.M)
