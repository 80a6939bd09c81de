"""Which files and folders the rules of git, and those in `.qwen3ragignore`, leave out."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from qwen3_rag_cli.gitignore import Patterns

__all__ = ["GIT", "OURS", "Rules", "RulesError"]

#: Names of the files with rules, which hold for the folder they are in and all below it.
GIT, OURS = ".gitignore", ".qwen3ragignore"

#: The folder, or in a working tree elsewhere the file, that makes a folder a repository.
REPOSITORY = ".git"

# What is longer is no list of rules, and would take long to match.
LONGEST = 1_000_000


class RulesError(Exception):
    """A file with rules cannot be read, so that nobody knows what it leaves out."""


@dataclass(frozen=True)
class _File:
    """The rules of one file.

    Attributes:
        name: How it is called when it is named as the reason.
        patterns: The rules.
        below: The path of the folder in question, relative to that of the file.
    """

    name: str
    patterns: Patterns
    below: bytes = b""


@dataclass(frozen=True)
class Rules:
    """The rules that hold for what is in one folder.

    Attributes:
        files: The files with rules, those first that have the last word.
        in_repository: Whether the folder belongs to a git repository.
        fold: Whether upper and lower case are the same there.
    """

    files: tuple[_File, ...] = ()
    in_repository: bool = False
    fold: bool = False

    @classmethod
    def above(cls, folder: Path, base: Path) -> Rules:
        """Collect the rules that hold for a folder, without those in it.

        They count from the top of its repository, or from the folder of the index, whichever is
        higher. A folder that they ignore was named all the same, so none of them holds in it.

        Args:
            folder: A folder, absolute.
            base: The folder that an index belongs to.

        Raises:
            RulesError: Some of them cannot be read.
        """
        parents = folder.parents
        tops = [base] if base in parents else []
        tops += [one for one in _up_to_mount(folder) if _is_there(one / REPOSITORY)][:1]
        highest = min((len(top.parts) for top in tops), default=len(folder.parts))
        rules = cls()
        for parent in reversed(parents):
            if len(parent.parts) < highest:
                continue
            rules = rules.inside(parent)
            name = folder.parts[len(parent.parts)]
            if rules.ignored_by(name, is_folder=True):
                return cls(in_repository=rules.in_repository)
            rules = rules.below(name)
        return rules

    @classmethod
    def all(cls, name: str) -> Rules:
        """Give rules that ignore everything.

        Args:
            name: The file that they are said to be in.
        """
        return cls((_File(name, Patterns(b"*")),))

    def below(self, name: str) -> Rules:
        """Give the rules that hold for a folder in this one, without those in it."""
        prefix = os.fsencode(name) + b"/"
        return replace(
            self, files=tuple(replace(file, below=file.below + prefix) for file in self.files)
        )

    def inside(self, folder: Path, names: Collection[str] | None = None) -> Rules:
        """Add the rules in a folder, which hold for what is in it.

        Args:
            folder: The folder that these rules are for.
            names: What is in it; looked up when omitted.

        Raises:
            RulesError: They cannot be read.
        """
        if names is None:
            names = {name for name in (REPOSITORY, GIT, OURS) if _is_there(folder / name)}
        ours = [file for file in self.files if file.name == OURS]
        git = [file for file in self.files if file.name != OURS]
        fold = self.fold
        is_repository = REPOSITORY in names
        if is_repository:  # the rules of another one do not hold in it
            settings = _settings(folder)
            fold = settings.get("core.ignorecase") == "true"
            git = list(_everywhere(folder, settings, fold))
        if GIT in names:
            git = [*_read(folder / GIT, GIT, fold), *git]
        if OURS in names:
            ours = [*_read(folder / OURS, OURS, fold), *ours]
        return Rules((*ours, *git), self.in_repository or is_repository, fold)

    def ignored_by(self, name: str, *, is_folder: bool) -> str | None:
        """Tell which file has the rule that ignores a file or folder; `None` if none does."""
        path = os.fsencode(name) + b"/" * is_folder
        for file in self.files:
            is_ignored = file.patterns.decide(file.below + path)
            if is_ignored is not None:
                # Ours take back what git ignores, and those in a folder what those above it do.
                return file.name if is_ignored else None
        return None


def _everywhere(top: Path, settings: Mapping[str, str], fold: bool) -> Iterator[_File]:
    """Read the rules of a repository, and those of the user, that are not in its folders."""
    yield from _read(_common(top) / "info" / "exclude", ".git/info/exclude", fold)
    own = settings.get("core.excludesfile")
    if own is None:
        home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
        own = f"{home}/git/ignore"
    if own:
        yield from _read(top / os.path.expanduser(own), "core.excludesFile", fold)


def _common(top: Path) -> Path:
    """Find the folder with the data of a repository, which several working trees may share."""
    found = top / REPOSITORY
    with suppress(OSError, ValueError):
        if found.is_file():
            text = found.read_text(errors="surrogateescape")
            found = top / text.removeprefix("gitdir:").strip()
            found = found / (found / "commondir").read_text(errors="surrogateescape").strip()
    return found


def _settings(top: Path) -> dict[str, str]:
    """Ask git for those of its settings that matter; without git nobody has made any."""
    git = shutil.which("git")
    if git is None:
        return {}
    asked = [
        git,
        "-C",
        str(top),
        "config",
        "-z",
        "--get-regexp",
        r"^core\.(excludesfile|ignorecase)$",
    ]
    # Hooks set variables that name another repository.
    others = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_WORK_TREE")}
    try:
        said = subprocess.run(asked, env=others, capture_output=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = [os.fsdecode(entry).partition("\n") for entry in said.split(b"\0") if entry]
    return {name: value for name, _, value in pairs}


def _read(path: Path, name: str, fold: bool) -> Iterator[_File]:
    """Read a file of rules; one that is missing, or is a folder, has none.

    Raises:
        RulesError: It cannot be read.
    """
    try:
        # A pipe would block, and so do files of the system, although they look like any other.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise RulesError(f"{str(path)!r} is not a regular file")
            text = file.read(LONGEST + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return
    except OSError as error:
        raise RulesError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    if len(text or b"") > LONGEST:
        raise RulesError(f"{str(path)!r} has more than {LONGEST:,} bytes")
    yield _File(name, Patterns(text or b"", fold=fold))


def _up_to_mount(folder: Path) -> Iterator[Path]:
    for parent in (folder, *folder.parents):
        yield parent
        if os.path.ismount(parent):
            return


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)
