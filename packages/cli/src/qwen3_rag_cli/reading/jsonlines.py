"""Reads JSON lines, record by record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from qwen3_rag_cli.reading.source import Source
from qwen3_rag_cli.reading.tables import record_text
from qwen3_rag_cli.reading.unusable import Unusable
from qwen3_rag_cli.sections import Block, Section, joined

__all__ = ["parsed", "read_json_lines"]


def read_json_lines(source: Source) -> Iterator[Section]:
    """Read records; each is a block of the lines `name: value`."""
    yield from joined(_records(source), (source.name,), "line")


def parsed(text: str, where: str = "") -> Any:
    """Parse JSON, numbers as they are written.

    Args:
        text: The JSON.
        where: Where in its file the text is, for messages.

    Raises:
        Unusable: It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:
        raise Unusable(f"has no valid JSON{where}: {error}. Correct or remove it") from None


def _records(source: Source) -> Iterator[Block]:
    for number, line in enumerate(source.lines(), 1):
        if not line.strip():
            continue
        where = f" in line {number}"
        record = parsed(line, where)
        try:
            text = record_text(record)
        except RecursionError:
            raise _too_deep(where) from None
        if text:
            yield Block(number, text)


def _too_deep(where: str) -> Unusable:
    return Unusable(f"has lists or objects{where} that are too deep in each other to be read")
