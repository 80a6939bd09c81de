"""Finds the files to index below the given paths, and counts what it leaves out."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from qwen3_rag.errors import InputError
from qwen3_rag.integration import full_path
from qwen3_rag_cli import derived, formats
from qwen3_rag_cli.console import size
from qwen3_rag_cli.ignoring import REPOSITORY, Rules, RulesError
from qwen3_rag_cli.places import STORE, Base
from qwen3_rag_cli.selection import Choice, Found, LeftOut, Reason, Selection, Skipped, is_hidden

__all__ = ["find"]

#: Folders that programs fill, by name and by its end.
TOOLS_FOLDERS = frozenset(
    {
        *("__pycache__", "node_modules", "bower_components", "site-packages", "venv"),
        *("__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"),
    }
)
TOOLS_ENDS = (".egg-info", ".dist-info")

#: What is in a virtual environment of Python or conda, and the tag of a cache.
TOOLS_SIGNS = frozenset({"pyvenv.cfg", "conda-meta", "CACHEDIR.TAG"})

# Suffixes that name a format; others, as of mailboxes and old logs, are all different.
_SUFFIX = re.compile(r"\.[\w+~#-]{1,16}", re.ASCII)

#: Where links lead to that are not followed.
SAME, OUTSIDE, NOWHERE = "to what is indexed already", "out of the folders", "nowhere"

# Device and number.
_Identity: TypeAlias = tuple[int, int]

_DEFAULT = Choice()


def find(
    paths: Sequence[Path],
    *,
    base: Base,
    choice: Choice = _DEFAULT,
    leave_out: Path | None = None,
) -> Selection:
    """Collect the files below `paths`.

    Args:
        paths: Folders and files. A file is taken whatever its name is, and whatever rules say.
        base: What keys are relative to.
        choice: Which files in folders are wanted.
        leave_out: A folder or file to leave out: that of the index.

    Raises:
        InputError: A path does not exist, is that of the index, or cannot be in an index with this
            base.
    """
    walk = _Walk(base, choice, leave_out)
    for given in paths:
        root = full_path(given)
        if not root.exists():
            raise InputError(
                f"There is no file or folder {str(given)!r}. To remove deleted files from the "
                "index, index the folder they were in."
            )
        base.key_of(root)
        walk.add(root)
    return walk.selection()


@dataclass(frozen=True)
class _Folder:
    """A folder to look into.

    Attributes:
        path: Where it is, as it is reached.
        root: The named folder that it was reached from.
        rules: The rules that hold for it, without those in it.
    """

    path: Path
    root: Path
    rules: Rules


class _Walk:
    def __init__(self, base: Base, choice: Choice, leave_out: Path | None) -> None:
        self._base, self._choice = base, choice
        self._store = None if leave_out is None else _identity(leave_out)
        self._roots: list[Path] = []
        self._real_roots: list[Path] = []
        self._found: dict[str, Found] = {}
        self._identities: dict[_Identity, str] = {}
        self._skipped: list[Skipped] = []
        self._left_out: dict[str, tuple[Reason, str, bool]] = {}
        self._used: set[tuple[str, str]] = set()
        self._links: list[tuple[Path, Path]] = []
        self._rules: dict[Path, Rules] = {}
        self._seen: set[_Identity] = set()
        self._closed: set[Path] = set()
        self._missing: dict[formats.Format, str | None] = {}

    def add(self, root: Path) -> None:
        """Take a named file, or what is wanted in a named folder."""
        real = Path(os.path.realpath(root))
        if self._store is not None and self._store in map(_identity, (real, *real.parents)):
            raise InputError(f"{str(root)!r} belongs to the index itself. Name other files.")
        self._roots.append(root)
        if not root.is_dir():
            self._take(root, is_named=True)
            return
        self._real_roots.append(real)
        try:
            rules = Rules.above(root, self._base.folder) if self._choice.ignore else Rules()
        except RulesError as error:
            self._skip(root, str(error), keep=True)
        else:
            self._walk(_Folder(root, root, rules), set())

    def selection(self) -> Selection:
        """Follow the links that were met, and give what was found."""
        # What they lead to has its own name, if it is to be indexed; so they come last.
        for path, root in self._links:
            self._follow(path, root)
        left_out: dict[tuple[Reason, str], LeftOut] = {}
        named = {self._name_of(root) for root in self._roots}
        for key, (reason, detail, is_folder) in self._left_out.items():
            if key not in self._found and key not in named:
                one = left_out.setdefault((reason, detail), LeftOut(reason, detail))
                one.add(key, is_folder=is_folder)
        has_folders = bool(self._real_roots)
        return Selection(
            files=[self._found[key] for key in sorted(self._found)],
            # A file can be found through several paths.
            skipped=sorted(set(self._skipped), key=lambda skipped: skipped.key),
            left_out=sorted(left_out.values(), key=lambda one: (one.reason, one.detail)),
            unused=[
                f"{option} {pattern!r}"
                for option, pattern in self._choice.patterns
                if has_folders and (option, pattern) not in self._used
            ],
            roots=self._roots,
            identities=self._identities,
            # A link may lead into such a folder.
            closed=frozenset(one for one in self._closed if _identity(one) not in self._seen),
        )

    def _walk(self, start: _Folder, seen: set[_Identity]) -> None:
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder.path) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
            except OSError as error:
                self._skip(folder.path, f"cannot be read: {error.strerror or error}", keep=True)
                continue
            identity = _identity(folder.path)
            if identity is not None:
                if identity in seen or identity == self._store:  # mounted in itself, too
                    continue
                seen.add(identity)
                self._seen.add(identity)
            inner = self._inside(folder, {entry.name for entry in entries})
            if inner is not None:
                waiting += reversed(list(self._judged(inner, entries)))

    def _inside(self, folder: _Folder, names: set[str]) -> _Folder | None:
        """Give a folder with the rules in it; `None` if it is left out for what is in it."""
        if folder.path != folder.root:
            if TOOLS_SIGNS & names:
                self._leave_out(folder.path, "tools", is_folder=True)
                return None
            if REPOSITORY in names and folder.rules.in_repository:
                self._leave_out(folder.path, "repository", is_folder=True)
                return None
        if not self._choice.ignore:
            return folder
        try:
            return replace(folder, rules=folder.rules.inside(folder.path, names))
        except RulesError as error:
            # Without its rules, what they keep secret would be indexed.
            self._skip(folder.path, str(error), keep=True)
            return None

    def _judged(self, folder: _Folder, entries: list[os.DirEntry[str]]) -> Iterator[_Folder]:
        """Take the files that are wanted in a folder, and give the folders to look into."""
        for entry in entries:
            path = folder.path / entry.name
            if entry.name in (REPOSITORY, STORE):
                self._closed.add(path)
                continue
            is_link = entry.is_symlink() or getattr(entry, "is_junction", bool)()
            is_folder = _is_folder(entry)
            left_out = self._place_reason(path, folder, is_folder, is_link)
            if left_out is not None:
                self._leave_out(path, *left_out, is_folder=is_folder)
            elif is_link:
                self._links.append((path, folder.root))
            elif is_folder:
                yield _Folder(path, folder.root, folder.rules.below(entry.name))
            else:
                self._take_wanted(path, folder.root)

    def _place_reason(
        self, path: Path, folder: _Folder, is_folder: bool, is_link: bool
    ) -> tuple[Reason, str] | None:
        """Tell why a file or folder is left out for where it is and how it is called."""
        name, relative = path.name, path.relative_to(folder.root).as_posix()
        if self._choice.excluded(relative, self._used):
            return "excluded", ""
        if is_hidden(name) and (
            is_folder or not self._choice.included(relative, self._used, is_hidden=True)
        ):
            return "hidden", ""
        by = folder.rules.ignored_by(name, is_folder=is_folder)
        if by is None and is_link and is_folder:  # for git a link is a file
            by = folder.rules.ignored_by(name, is_folder=False)
        if by is not None:
            return "ignored", by
        is_of_tools = name in TOOLS_FOLDERS or name.endswith(TOOLS_ENDS)
        return ("tools", "") if is_folder and is_of_tools else None

    def _take_wanted(self, path: Path, root: Path) -> None:
        """Take a file if its name is one of a file that is wanted."""
        known, suffix = formats.of(path), path.suffix.lower()
        if self._choice.includes:
            relative = path.relative_to(root).as_posix()
            if not self._choice.included(relative, self._used, is_hidden=is_hidden(path.name)):
                self._leave_out(path, "include")
                return
        elif (kind := derived.by_name(path.name)) is not None:
            self._leave_out(path, kind)
            return
        elif known is None:
            self._leave_out(path, "format", suffix if _SUFFIX.fullmatch(suffix) else "")
            return
        if known is not None and (package := self._missing_of(known)) is not None:
            self._leave_out(path, "extra", f"{suffix} {package}")
        else:
            self._take(path)

    def _take(self, path: Path, *, is_named: bool = False) -> None:
        key = self._base.key_of(path)
        if not _encodable(key):
            self._skip(path, "has a name that is not valid UTF-8. Rename it")
            return
        try:
            status = path.stat()
            # Opening a named pipe would block.
            if not stat.S_ISREG(status.st_mode):
                self._skip(path, "is not a regular file")
                return
            identity = (status.st_dev, status.st_ino)
            if identity == self._store or (not is_named and self._is_unwanted(path, status)):
                return
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            self._skip(path, f"cannot be read: {error.strerror or error}", keep=not gone)
            return
        other = self._identities.setdefault(identity, key) if status.st_ino else key
        if other == key:
            self._found[key] = Found(key, path, status.st_size)
        else:
            self._leave_out(path, "link", SAME)

    def _is_unwanted(self, path: Path, status: os.stat_result) -> bool:
        """Leave out a file for what is in it.

        Raises:
            OSError: It cannot be read.
        """
        limit = self._choice.max_size
        if limit is not None and status.st_size > limit:
            told = f"has {size(status.st_size)}, more than {size(limit)}"
            self._skip(path, f"{told}; name it, or give --max-size")
            return True
        if self._choice.includes or formats.kind_of(path) != "code":
            return False
        reason = derived.by_content(path)
        if reason is not None:
            self._leave_out(path, reason)
        return reason is not None

    def _missing_of(self, format_: formats.Format) -> str | None:
        if format_ not in self._missing:  # looking for a library takes longer than all the rest
            self._missing[format_] = format_.missing
        return self._missing[format_]

    def _follow(self, path: Path, root: Path) -> None:
        """Take what a link leads to, if that is in the folders and was not taken yet."""
        try:
            target = Path(os.path.realpath(path, strict=True))
        except OSError:
            self._leave_out(path, "link", NOWHERE)
            return
        is_folder, lineage = target.is_dir(), (target, *target.parents)
        if self._store is not None and self._store in map(_identity, lineage):
            return
        top = next((one for one in self._real_roots if one in lineage), None)
        if top is None:
            self._leave_out(path, "link", OUTSIDE, is_folder=is_folder)
            return
        try:
            rules = self._rules_at(target.parent, top) if target != top else Rules()
        except RulesError as error:
            self._skip(path, str(error), keep=True)
            return
        # Otherwise a link would show what is to be kept secret.
        by = rules.ignored_by(target.name, is_folder=is_folder)
        if by is not None:
            self._leave_out(path, "ignored", by, is_folder=is_folder)
        elif not is_folder:
            self._take_wanted(path, root)
        elif _identity(target) in self._seen:
            self._leave_out(path, "link", SAME, is_folder=True)
        else:
            self._walk(_Folder(path, root, rules.below(target.name)), self._seen)

    def _rules_at(self, folder: Path, top: Path) -> Rules:
        """Collect the rules that hold in a folder below another.

        Raises:
            RulesError: They cannot be read.
        """
        if not self._choice.ignore:
            return Rules()
        if folder not in self._rules:
            if folder == top:
                rules = Rules.above(folder, self._base.folder)
            else:
                rules = self._rules_at(folder.parent, top)
                by = rules.ignored_by(folder.name, is_folder=True)
                if by is not None:
                    self._rules[folder] = Rules.all(by)
                    return self._rules[folder]
                rules = rules.below(folder.name)
            self._rules[folder] = rules.inside(folder)
        return self._rules[folder]

    def _skip(self, path: Path, reason: str, *, keep: bool = False) -> None:
        self._skipped.append(Skipped(self._name_of(path), reason, keep))

    def _leave_out(
        self, path: Path, reason: Reason, detail: str = "", *, is_folder: bool = False
    ) -> None:
        self._left_out[self._name_of(path)] = (reason, detail, is_folder)
        if is_folder:
            self._closed.add(path)

    def _name_of(self, path: Path) -> str:
        """Return a key that can be written, also of a name that is no text."""
        return self._base.key_of(path).encode("utf-8", "replace").decode("utf-8")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(path: Path) -> _Identity | None:
    """Return what tells a file or folder apart from all others; `None` if the system cannot."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
