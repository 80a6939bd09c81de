"""Matches paths with the lines of a `.gitignore`, as git's own `dir.c` and `wildmatch.c` do.

Libraries differ from git where `*`, `**`, sets and folders meet, or take exponential time.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Patterns"]

_STARS = b"**"  # a component that stands for any number of folders
_SPECIAL = re.compile(rb"[*?\[\\]")
_TOKEN = re.compile(rb"\*+|/|\\.|.", re.S)
_SET = re.compile(
    # A bracket in the first place, or with a backslash, is a member; a class has one in it.
    rb"\[(?P<not>[!^]?)(?P<items>(?>\[:[^\]]*:\]|\\.|[^\\])(?>\[:[^\]]*:\]|\\.|[^\]\\])*)\]",
    re.S,
)
_ITEM = re.compile(rb"\[:(?P<name>[^\]]*):\]|\\(?P<escaped>.)|(?P<plain>.)", re.S)
_CLASSES = {
    b"alnum": string.ascii_letters + string.digits,
    b"alpha": string.ascii_letters,
    b"blank": " \t",
    b"cntrl": "".join(map(chr, (*range(32), 127))),
    b"digit": string.digits,
    b"graph": string.digits + string.ascii_letters + string.punctuation,
    b"lower": string.ascii_lowercase,
    b"print": string.digits + string.ascii_letters + string.punctuation + " ",
    b"punct": string.punctuation,
    b"space": string.whitespace,
    b"upper": string.ascii_uppercase,
    b"xdigit": string.hexdigits,
}


class _Unreadable(Exception):
    """Git reads a pattern in no way, so that it matches nothing."""


@dataclass(frozen=True)
class _Glob:
    """A pattern with wildcards.

    Attributes:
        place: Its line.
        ignores: Whether it ignores what it matches, or takes it back.
        of_folders: Whether it is for folders alone.
        parts: What the components of a path match; `None` is any number of them.
    """

    place: int
    ignores: bool
    of_folders: bool
    parts: Sequence[re.Pattern[bytes] | None]

    def matches(self, components: Sequence[bytes]) -> bool:
        """Tell whether a path's components match; it takes time by their number, squared."""
        part = at = 0
        stars, resumed = -1, 0  # the last `**`, and the first component behind what it stands for
        while at < len(components):
            if part < len(self.parts):
                wanted = self.parts[part]
                if wanted is None:
                    stars, resumed = part, at
                    part += 1
                    continue
                if wanted.fullmatch(components[at]):
                    part, at = part + 1, at + 1
                    continue
            if stars < 0:
                return False
            resumed += 1
            part, at = stars + 1, resumed
        return part == len(self.parts)


class Patterns:
    """The patterns of one file."""

    def __init__(self, text: bytes, *, fold: bool = False) -> None:
        """Read a file's text.

        Args:
            text: Its bytes; paths are bytes for git, and `?` is one of them.
            fold: Whether upper and lower case are the same.
        """
        self._fold = fold
        # Most patterns are names or paths without wildcards, sometimes thousands, so they are
        # looked up: by name, or by path with a slash in front. The last one decides.
        self._plain: dict[bytes, tuple[int, bool]] = {}
        self._plain_folders: dict[bytes, tuple[int, bool]] = {}
        self._globs: list[_Glob] = []
        for place, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n")):
            self._add(place, _trimmed(line))
        self._globs.reverse()

    def decide(self, path: bytes) -> bool | None:
        """Tell whether a path is ignored; `None` if no pattern matches.

        Args:
            path: Relative to the folder of the patterns, a folder's with a slash at its end.
        """
        is_folder, path = path.endswith(b"/"), path.removesuffix(b"/")
        path = path.lower() if self._fold else path
        components = path.split(b"/")
        found: tuple[int, bool | None] = (-1, None)
        for table in (self._plain, self._plain_folders) if is_folder else (self._plain,):
            for key in (components[-1], b"/" + path):
                found = max(found, table.get(key, found), key=lambda one: one[0])
        for glob in self._globs:
            if glob.place < found[0]:
                break
            if (is_folder or not glob.of_folders) and glob.matches(components):
                return glob.ignores
        return found[1]

    def _add(self, place: int, line: bytes) -> None:
        if line.startswith(b"#"):
            return
        ignores, line = not line.startswith(b"!"), line.removeprefix(b"!")
        of_folders, line = line.endswith(b"/"), line.removesuffix(b"/")
        if not line:
            return
        is_name, line = b"/" not in line, line.removeprefix(b"/")
        if not _SPECIAL.search(line):
            line = line.lower() if self._fold else line
            table = self._plain_folders if of_folders else self._plain
            table[line if is_name else b"/" + line] = (place, ignores)
            return
        try:
            parts = _parts(line, self._fold)
        except _Unreadable:
            return
        self._globs.append(_Glob(place, ignores, of_folders, [None, *parts] if is_name else parts))


def _trimmed(line: bytes) -> bytes:
    """Remove the end of a line, and the spaces before it but one that has a backslash."""
    line = line.removesuffix(b"\r")
    short = line.rstrip(b" ")
    is_escaped = (len(short) - len(short.rstrip(b"\\"))) % 2
    return line[: len(short) + is_escaped]


def _parts(line: bytes, fold: bool) -> list[re.Pattern[bytes] | None]:
    """Compile the components of a pattern.

    Raises:
        _Unreadable: It has a set without an end, or ends in a backslash.
    """
    parts: list[re.Pattern[bytes] | None] = []
    # A component is pieces with any characters in between. The first place that a piece fits is
    # taken and no other one tried, which takes linear time.
    pieces, stars = [b""], b""

    def end() -> None:
        nonlocal pieces, stars
        if pieces == [b"", b""] and len(stars) > 1:
            parts.append(None)
        else:
            first, *between = pieces
            last = between.pop() if between else None
            expression = first + b"".join(b"(?>.*?%b)" % piece for piece in between)
            expression += b"" if last is None else b".*" + last
            parts.append(re.compile(expression, re.S | (re.I if fold else 0)))
        pieces, stars = [b""], b""

    at = 0
    while at < len(line):
        found = _SET.match(line, at) if line[at : at + 1] == b"[" else _TOKEN.match(line, at)
        if found is None or found[0] == b"\\":
            raise _Unreadable
        at = found.end()
        token = found[0]
        if token in (b"/", b"\\/"):
            end()
        elif token.startswith(b"*"):
            pieces.append(b"")
            stars = token
        elif token.startswith(b"["):
            pieces[-1] += _set(found)
        elif token == b"?":
            pieces[-1] += b"."
        else:
            pieces[-1] += re.escape(token[-1:])
    end()
    return parts


def _set(found: re.Match[bytes]) -> bytes:
    """Write a set of characters for `re`.

    Raises:
        _Unreadable: It names a class that there is not.
    """
    members: set[int] = set()
    before: int | None = None
    items = list(_ITEM.finditer(found["items"]))
    place = 0
    while place < len(items):
        item = items[place]
        place += 1
        if item["name"] is not None:
            if item["name"] not in _CLASSES:
                raise _Unreadable
            members.update(_CLASSES[item["name"]].encode())
            before = None
        elif item["plain"] == b"-" and before is not None and place < len(items):
            members.update(range(before, _value(items[place]) + 1))
            before = None
            place += 1
        else:
            before = _value(item)
            members.add(before)
    listed = b"".join(re.escape(bytes([one])) for one in sorted(members))
    if found["not"]:
        return b"[^%b]" % listed if listed else b"."
    return b"[%b]" % listed if listed else b"(?!)"


def _value(item: re.Match[bytes]) -> int:
    return (item["escaped"] or item["plain"] or b"[")[0]
