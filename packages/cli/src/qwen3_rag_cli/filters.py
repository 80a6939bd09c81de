"""Reads `--filter FIELD=VALUE`."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from fnmatch import translate

from qwen3_rag.errors import InputError
from qwen3_rag.integration import full_path
from qwen3_rag_cli.formats import KINDS
from qwen3_rag_cli.index import FIELDS
from qwen3_rag_cli.places import Base

__all__ = ["parse_filters"]


def parse_filters(
    filters: Sequence[str], paths: Callable[[], Sequence[str]], base: Base
) -> dict[str, list[str]]:
    """Return the values that each field may have; a hit must match one for each.

    Args:
        filters: The values from the command line.
        paths: Lists the paths of the indexed files.
        base: What they are relative to.

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
        values = _matching(value, paths(), base) if name == "path" else [value]
        wanted.setdefault(name, []).extend(values)
    return {name: list(dict.fromkeys(values)) for name, values in wanted.items()}


def _matching(pattern: str, paths: Sequence[str], base: Base) -> list[str]:
    """List the files that match: a file, a folder that contains them, or a glob.

    A file or folder is relative to the current folder, as git takes it, or to that of the index.
    """
    forms = [pattern]
    if "\\" in pattern:
        forms.append(pattern.replace("\\", "/"))
    for form in forms:
        keys = [key for path in (form, _real(form)) if (key := base.from_here(path)) is not None]
        named = form.removeprefix("./").rstrip("/")
        for found in (
            *(_at(key, paths) for key in keys),
            _at(named, paths) + _like(form, paths),
            *(_like(key, paths) for key in keys),
        ):
            if found:
                return found
    if any(_is_base(folder, base) for folder in (pattern, _real(pattern))):
        is_here = base.scope([base.folder])  # others' files are in an index on a server, too
        if found := [path for path in paths if is_here(path)]:
            return found
    raise InputError(
        f"No indexed file matches path={pattern!r}. The index has {len(paths)} files"
        + (f", the first is {paths[0]!r}." if paths else ".")
        + " Give a file, a folder, or a pattern such as '*.md'."
    )


def _at(name: str, paths: Sequence[str]) -> list[str]:
    name = _composed(name)
    inside = f"{name}/"
    return [path for path in paths if (_composed(path) + "/").startswith(inside)]


def _is_base(folder: str, base: Base) -> bool:
    """Tell whether a name is that of the index's folder, of which no path in the index tells."""
    try:
        return full_path(folder) == base.folder
    except InputError:
        return False


def _like(pattern: str, paths: Sequence[str]) -> list[str]:
    matches = re.compile(translate(_composed(pattern))).match
    return [path for path in paths if matches(_composed(path))]


def _composed(text: str) -> str:
    """Return one of the forms that Unicode has for the same text, as file systems do, too."""
    return unicodedata.normalize("NFC", text)


def _real(path: str) -> str:
    """Return a path without the links in it; as it is where that cannot be told."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return path
