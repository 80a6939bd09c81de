"""Compiles the lines of a `.gitignore`, read by pathspec, so that they decide what git decides."""

from __future__ import annotations

import re
import string
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

__all__ = ["Patterns"]

# How pathspec marks the slash at the end of a folder's path.
_SLASH = b"(?P<ps_d>/)"
_OPTIONAL_SLASH = b"(?:(?P<ps_d>/)|$)"

# What it makes of `*`; what is between two of them; and what is between two `**`.
_STAR = b"[^/]*"
_BETWEEN_STAR = re.compile(rb"\[\^/\]\*((?:\[\^/\](?!\*)|(?!\[\^/\])[^/])+)(?=\[\^/\]\*)", re.S)
_BETWEEN_STARS = re.compile(
    rb"(\(\?:/\.\+\)\?/|^\^\(\?:\.\+/\)\?)((?:(?!\(\?:/\.\+\)\?).)+)(?=\(\?:/\.\+\)\?)", re.S
)

# Three stars are two for git, where two mean folders.
_MORE_STARS = re.compile(rb"(^!?|/)\*{3,}(?=/|$)")

# A pattern for names in any folder; `re.escape` puts a backslash before what is special.
_NAME = re.compile(
    rb"\^\(\?:\.\+/\)\?(?P<name>(?:(?P<literal>(?:[\w\x80-\xff!\"%\',:;<=>@`_]|\\\W)+)|"
    rb"(?:\[\^/\]|[^/])+?)(?P<folder>/\??))",
    re.S,
)
_BRACKETS = re.compile(
    rb"\\.|\[(?P<not>[!^]?)(?P<items>(?:\[:\w*:\]|\\.|[^\\])(?:\[:\w*:\]|\\.|[^\]\\])*)\]", re.S
)
_ITEM = re.compile(rb"\[:(?P<name>\w*):\]|\\(?P<escaped>.)|(?P<char>.)", re.S)
_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, (*range(32), 127))),
    "digit": string.digits,
    "graph": string.digits + string.ascii_letters + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.digits + string.ascii_letters + string.punctuation + " ",
    "punct": string.punctuation,
    "space": string.whitespace,
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}


@dataclass(frozen=True)
class _Run:
    """Patterns in a row that all ignore, or all take back.

    Attributes:
        ignores: Whether they ignore.
        literals: Names that they match.
        names: Matches other names.
        paths: Matches paths.
    """

    ignores: bool
    literals: frozenset[bytes]
    names: re.Pattern[bytes]
    paths: re.Pattern[bytes]


class Patterns:
    """The patterns of one file."""

    def __init__(self, text: bytes, *, fold: bool = False) -> None:
        """Compile a file's text.

        Args:
            text: Its bytes; paths are bytes for git, and `?` is one of them.
            fold: Whether upper and lower case are the same.
        """
        self._fold = fold
        made: list[tuple[bytes, bool]] = []
        for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            # What git cannot read never matches.
            with suppress(GitIgnorePatternError, _Never):
                line = _BRACKETS.sub(partial(_as_set, fold=fold), _trimmed(line))
                line = _MORE_STARS.sub(rb"\1**", line)
                if line.endswith(b"/**/"):  # the folders in a folder, not that one
                    line += b"*/"
                expression, ignores = GitIgnoreSpecPattern.pattern_to_regex(line)
                if expression is not None and ignores is not None:
                    made.append((_of_entries(expression), ignores))
        made.reverse()  # the last one that matches decides
        self._runs = [
            self._run([expression for expression, _ in run], ignores)
            for ignores, run in groupby(made, key=itemgetter(1))
        ]

    def decide(self, path: bytes) -> bool | None:
        """Tell whether a path is ignored; `None` if no pattern matches.

        Args:
            path: Relative to the folder of the patterns, a folder's with a slash at its end.
        """
        name = path[path.rfind(b"/", 0, -1) + 1 :]
        literal = name.lower() if self._fold else name
        for run in self._runs:
            if literal in run.literals or run.names.fullmatch(name) or run.paths.fullmatch(path):
                return run.ignores
        return None

    def _run(self, expressions: list[bytes], ignores: bool) -> _Run:
        """Keep apart what is fast to look up, for files with thousands of patterns."""
        literals: set[bytes] = set()
        names, paths = [], []
        for expression in expressions:
            found = _NAME.fullmatch(expression)
            if found is None:
                paths.append(expression)
            elif found["literal"] is None:
                names.append(found["name"])
            else:
                name = re.sub(rb"\\(.)", rb"\1", found["literal"])
                name = name.lower() if self._fold else name
                literals |= {name + b"/"} if found["folder"] == b"/" else {name, name + b"/"}
        flags = re.DOTALL | (re.IGNORECASE if self._fold else 0)
        return _Run(
            ignores,
            frozenset(literals),
            *(re.compile(b"|".join(parts) or b"(?!)", flags) for parts in (names, paths)),
        )


class _Never(Exception):
    """A pattern matches nothing."""


def _trimmed(line: bytes) -> bytes:
    """Remove what git removes from the end of a line, and protect what pathspec would remove."""
    line = line.removesuffix(b"\r")
    while line.endswith(b" ") and not _is_escaped(line):
        line = line[:-1]
    last = line[-1:]
    if last.decode("latin-1").isspace():
        line = line[: -2 if _is_escaped(line) else -1] + b"[" + last + b"]"
    return line


def _is_escaped(line: bytes) -> bool:
    """Whether the last character has a backslash before it that is not escaped itself."""
    before = line[:-1]
    return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1


def _as_set(found: re.Match[bytes], fold: bool) -> bytes:
    """Write a set of characters so that pathspec and `re` read it as git does.

    Raises:
        _Never: Nothing is in the set.
    """
    if found["items"] is None:  # an escaped character outside
        return found[0]
    members: set[int] = set()
    before: int | None = None
    items = list(_ITEM.finditer(found["items"]))
    place = 0
    while place < len(items):
        item = items[place]
        place += 1
        if item["name"] is not None:
            if (name := item["name"].decode()) not in _CLASSES:
                raise _Never
            members.update(_CLASSES[name].encode())
            before = None
        elif item["char"] == b"-" and before is not None and place < len(items):
            members.update(range(before, _value(items[place]) + 1))
            before = None
            place += 1
        else:
            before = _value(item)
            members.add(before)
    if fold:
        members.update(bytes(members).swapcase())
    if found["not"]:
        members = set(range(1, 256)) - members
    members.discard(ord("/"))
    if not members:
        raise _Never
    # No name has a zero, so that it can keep a special character from the first place.
    first = b"]" * (ord("]") in members) + b"\0"
    last = b"-" * (ord("-") in members)
    return b"[" + first + bytes(sorted(members - {ord("]"), ord("-")})) + last + b"]"


def _value(item: re.Match[bytes]) -> int:
    return (item["escaped"] or item["char"] or b"[")[0]


def _of_entries(expression: bytes) -> bytes:
    """Let an expression of pathspec match a file or folder itself, but nothing below it.

    What is below an ignored folder is never looked at. Otherwise `docs/**` would ignore the folder,
    too, and `!docs/kept.md` would come too late.
    """
    if not expression.startswith(b"^"):
        expression = b"^.*" + expression
    if expression.endswith(b"/"):
        expression += b".+"
    expression = expression.replace(_OPTIONAL_SLASH, b"/?").replace(_SLASH, b"/")
    # Take the first place that fits between two wildcards, and never try another: it would only
    # leave less for the rest, and all of them together take exponential time.
    while _STAR + _STAR in expression:
        expression = expression.replace(_STAR + _STAR, _STAR)
    expression = _BETWEEN_STAR.sub(rb"(?>[^/]*?\1)", expression)
    return _BETWEEN_STARS.sub(_first, expression)


def _first(found: re.Match[bytes]) -> bytes:
    is_start = found[1].startswith(b"^")
    lead = b"^(?>(?:.+?/)?" if is_start else b"(?>(?:/.+?)?/"
    return lead + found[2] + b"(?=/))"
