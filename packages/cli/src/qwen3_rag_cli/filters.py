"""Reads `--filter FIELD=VALUE`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from qwen3_rag.errors import InputError
from qwen3_rag_cli.formats import KINDS
from qwen3_rag_cli.index import FIELDS

__all__ = ["parse_filters"]


def parse_filters(
    filters: Sequence[str], paths: Callable[[], Sequence[str]]
) -> dict[str, list[str]]:
    """Return the values that each field may have; a hit must match one for each.

    Args:
        filters: The values from the command line.
        paths: Lists the paths of the indexed files.

    Raises:
        InputError: A filter is not `FIELD=VALUE`, its field is unknown, or no file has its value.
    """
    wanted: dict[str, list[str]] = {}
    for given in filters:
        name, equals, value = given.partition("=")
        if not equals or not value:
            raise InputError(f"`--filter` must be FIELD=VALUE, got {given!r}.")
        if name not in FIELDS:
            raise InputError(f"`--filter` can be on {', '.join(sorted(FIELDS))}, got {name!r}.")
        if name == "kind" and value not in KINDS:
            raise InputError(f"`--filter kind=` must be one of {', '.join(KINDS)}, got {value!r}.")
        values = _matching(value, paths()) if name == "path" else [value]
        wanted.setdefault(name, []).extend(values)
    return {name: list(dict.fromkeys(values)) for name, values in wanted.items()}


def _matching(pattern: str, paths: Sequence[str]) -> list[str]:
    """List the files that match a pattern: a glob, a file, or a folder that contains them."""
    folder = pattern.removeprefix("./").rstrip("/")
    matching = [
        path
        for path in paths
        if path == folder or path.startswith(f"{folder}/") or fnmatchcase(path, pattern)
    ]
    if not matching:
        raise InputError(
            f"No indexed file matches path={pattern!r}. The index has {len(paths)} files"
            + (f", the first is {paths[0]!r}." if paths else ".")
            + " Give a file, a folder, or a pattern such as '*.md'."
        )
    return matching
