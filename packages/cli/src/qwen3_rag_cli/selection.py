"""What is to be indexed and what is not, and how both are called."""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Literal, TypeAlias

from qwen3_rag.errors import InputError

__all__ = ["Choice", "Found", "LeftOut", "Reason", "Selection", "Skipped", "bytes_of", "is_hidden"]

#: Why a file or folder is left out.
Reason: TypeAlias = Literal[
    "extra",
    "ignored",
    "excluded",
    "hidden",
    "tools",
    "repository",
    "lock",
    "minified",
    "generated",
    "format",
    "include",
    "link",
]

#: Beginnings of hidden names: that of Unix, and that of the files with which Office locks others.
HIDDEN = (".", "~$")

# Files that Windows writes into folders and hides.
_OF_WINDOWS = frozenset({"desktop.ini", "thumbs.db"})

#: Bytes of the largest file that is indexed without being named.
LARGEST = 20_000_000

# Examples of what is left out for one reason.
EXAMPLES = 3


@dataclass(frozen=True)
class Found:
    """A file to index.

    Attributes:
        key: Its path in the index, with `/` as the separator.
        path: Its path on disk.
        size: Its size in bytes when it was found.
    """

    key: str
    path: Path
    size: int


@dataclass(frozen=True)
class Skipped:
    """A file that is not indexed, or is indexed with a remark.

    Attributes:
        key: Its path in the index.
        reason: The reason, human-readable.
        keep: Whether its chunks stay in the index, since the file may be unchanged but currently
            unreadable.
    """

    key: str
    reason: str
    keep: bool = False


@dataclass
class LeftOut:
    """Files and folders that are left out for one reason.

    Attributes:
        reason: The reason.
        detail: What belongs to it: the file with the rule, the suffix, the extra to install, or
            where a link leads.
        files: Number of files.
        folders: Number of folders, whose content is not looked at.
        examples: The first of them.
    """

    reason: Reason
    detail: str = ""
    files: int = 0
    folders: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, key: str, *, is_folder: bool) -> None:
        """Count one."""
        if is_folder:
            self.folders += 1
        else:
            self.files += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(key)


@dataclass
class Selection:
    """The files that `find` found.

    Attributes:
        files: Files to index, ordered by key, each once.
        skipped: Files that match but cannot be used.
        left_out: What is not to be indexed, by reason.
        unused: Options with patterns that nothing matches.
        roots: The absolute form of the paths that `find` was called with.
        identities: Device and number of each file to index, by which a file is known again
            under another name.
        closed: Folders that were not looked into, so that changes in them do not matter.
    """

    files: list[Found] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    roots: list[Path] = field(default_factory=list)
    identities: dict[tuple[int, int], str] = field(default_factory=dict)
    closed: frozenset[Path] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether no files matched."""
        return not self.files and not self.skipped

    def is_there(self, path: Path) -> bool:
        """Tell whether a file exists, and not only as another name of one to index.

        A file that was renamed in upper and lower case alone is found under its old name on some
        systems.
        """
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        identity = (status.st_dev, status.st_ino)
        return stat.S_ISREG(status.st_mode) and identity not in self.identities


class Choice:
    """Which files in folders the user wants."""

    def __init__(
        self,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        *,
        ignore: bool = True,
        max_size: int | None = LARGEST,
    ) -> None:
        """Compile the patterns.

        Args:
            include: Glob patterns that a file's name or path must match, instead of the known
                suffixes. `*` matches `/` too.
            exclude: Glob patterns of files and folders to leave out.
            ignore: Whether the rules of git and of `.qwen3ragignore` hold.
            max_size: Bytes of the largest file; `None` for no limit.
        """
        self.ignore, self.max_size = ignore, max_size
        self.patterns = [("--include", given) for given in include]
        self.patterns += [("--exclude", given) for given in exclude]
        self._include = [_Pattern(given) for given in include]
        self._exclude = [_Pattern(given) for given in exclude]

    @property
    def includes(self) -> bool:
        """Whether patterns say which files to take."""
        return bool(self._include)

    def included(self, path: str, used: set[tuple[str, str]], *, is_hidden: bool = False) -> bool:
        """Tell whether a pattern takes a file; a hidden one only a pattern that names hidden ones.

        Args:
            path: Its path, relative to a folder that was named.
            used: Receives the patterns that match.
            is_hidden: Whether its name is a hidden one.
        """
        patterns = [one for one in self._include if one.is_of_hidden or not is_hidden]
        return _match(patterns, path, "--include", used)

    def excluded(self, path: str, used: set[tuple[str, str]]) -> bool:
        """Tell whether a pattern leaves out a file or folder; the arguments are as above."""
        return _match(self._exclude, path, "--exclude", used)


class _Pattern:
    def __init__(self, given: str) -> None:
        self.given = given
        pattern = unicodedata.normalize("NFC", given).removeprefix("./")
        pattern = pattern.rstrip("/") or pattern
        self.is_of_hidden = is_hidden(pattern.rpartition("/")[2])
        self._match = re.compile(translate(pattern)).match

    def matches(self, path: str) -> bool:
        path = unicodedata.normalize("NFC", path)
        return bool(self._match(path.rpartition("/")[2]) or self._match(path))


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is hidden, on any system."""
    return name.startswith(HIDDEN) or name.casefold() in _OF_WINDOWS


def _match(
    patterns: Sequence[_Pattern], path: str, option: str, used: set[tuple[str, str]]
) -> bool:
    found = False
    for pattern in patterns:
        if pattern.matches(path):
            used.add((option, pattern.given))
            found = True
    return found


def bytes_of(text: str) -> int | None:
    """Read a size such as `500kB`, `20 MB` or `none`, for no limit.

    Raises:
        InputError: It is no size.
    """
    if text.strip().lower() == "none":
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMG]?)B?\s*", text, re.I | re.A)
    if found is None:
        raise InputError(
            f"`--max-size` must be a size such as 500kB, 20MB or 1GB, or none, got {text!r}."
        )
    return int(float(found[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[found[2].lower()])
