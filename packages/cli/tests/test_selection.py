"""Which files are taken from folders, and that the rest is told."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import InputError
from qwen3_rag_cli.files import find
from qwen3_rag_cli.places import Base
from qwen3_rag_cli.selection import Choice, Selection

posix = pytest.mark.skipif(os.name != "posix", reason="names and links of POSIX systems")
with_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

# What a pattern of git can have, and names that they tell apart.
PATTERNS = (
    """
a|b|foo|/foo|foo/|/a/|*.md|!x.md|!*.md|docs/**|!docs/x.md|**/b|a/**/b|foo/*|!foo/bar|/*|!/docs
!/docs/|*|**|build/|**/build/|[ab]|[!a]*|[^a]*|[a-c]|?.md|??.md|a\\ b|foo\\ |foo  |\\#c|\\!d|#c|!d
\\[e\\]|[e]|日*|é*|à|a\\*b|z\\\\y|z\\y|*.|*.m?|/docs/*.md|!docs/|foo/**/|**/|*/|/**|**/foo/**|a**b|f**
foo\\|[|[a|[]-]|[z-a]|/|//|docs//x.md|tab\t|!a/|!/a/b|a/b/c|*/b|**/a/**/b|[[:alpha:]]|[\\a]|x.md/|./a
../a|[a-]|[--0]|[[]e]|***|**a|a/***|foo/***/b|\\a|  a|*\\|!|!!d|[[:digit:]a]|[!\\]]|*a*b*.m?
""".strip("\n")
    .replace("\n", "|")
    .split("|")
)
NAMES = """
a|b|foo|bar|a b|foo |x.md|y.md|é.md|à|日本.txt|#c|!d|[e]|build|docs|a*b|z\\y|A.MD|-|foo.bar|tab\t
""".strip("\n").split("|")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without settings of git."""
    (tmp_path / "home").mkdir()
    for name in ("HOME", "XDG_CONFIG_HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return tmp_path / "home"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def touch(folder: Path, *names: str, text: str = "text\n") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def select(folder: Path, *others: Path, store: Path | None = None, **options: Any) -> Selection:
    return find([folder, *others], base=Base(folder), choice=Choice(**options), leave_out=store)


def keys(selection: Selection) -> list[str]:
    return [file.key for file in selection.files]


def left_out(selection: Selection) -> dict[tuple[str, str], tuple[int, int]]:
    return {(one.reason, one.detail): (one.files, one.folders) for one in selection.left_out}


def grow(folder: Path, chance: random.Random, depth: int = 0) -> None:
    """Write a tree of folders, files and rules."""
    for name in chance.sample(NAMES, chance.randint(1, 6)):
        if depth < 3 and chance.random() < 0.5:
            (folder / name).mkdir()
            grow(folder / name, chance, depth + 1)
        else:
            (folder / name).write_text("text")
    if chance.random() < (0.3 if depth else 0.9):
        end = chance.choice(["\n", "\n", "\r\n"])
        text = end.join(chance.choices(PATTERNS, k=chance.randint(1, 5)))
        text = "\ufeff" * (chance.random() < 0.1) + text + end * chance.randint(0, 1)
        (folder / ".gitignore").write_bytes(text.encode())


def git(folder: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True)
    return done.stdout


def check_against_git(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    tree = folder / "tree"
    tree.mkdir(parents=True)
    grow(tree, chance)
    git(tree, "init", "-q")
    if chance.random() < 0.4:
        exclude = tree / ".git" / "info" / "exclude"
        exclude.parent.mkdir(exist_ok=True)
        exclude.write_text("\n".join(chance.choices(PATTERNS, k=2)), encoding="utf-8")
    if chance.random() < 0.4:
        (folder / "own").write_text("\n".join(chance.choices(PATTERNS, k=2)), encoding="utf-8")
        git(tree, "config", "core.excludesFile", str(folder / "own"))
    if chance.random() < 0.1:
        git(tree, "config", "core.ignoreCase", "true")

    listed = git(tree, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    taken = keys(select(tree, include=["*", ".gitignore"], max_size=None))

    assert taken == sorted(name for name in listed.decode().split("\0") if name), f"seed {seed}"


@posix
@with_git
@pytest.mark.parametrize("seed", range(25))
def test_rules_decide_what_git_decides(tmp_path: Path, seed: int) -> None:
    check_against_git(tmp_path / "case", seed)


@posix
@with_git
@pytest.mark.slow
def test_rules_decide_what_git_decides_in_hundreds_of_trees(tmp_path: Path) -> None:
    for seed in range(25, 525):
        check_against_git(tmp_path / str(seed), seed)


def test_a_pattern_with_many_wildcards_takes_no_longer_than_others(tree: Path) -> None:
    touch(tree, "a" * 200, "/".join("a" * 60) + "/c", "kept.md")
    rules = "*a*a*a*a*a*a*a*a*a*a*b\n**/a/**/a/**/a/**/a/**/a/**/b\n" + "*x?\n" * 1_000
    (tree / ".gitignore").write_text(rules)
    begun = time.monotonic()

    assert keys(select(tree)) == ["kept.md"]

    assert time.monotonic() - begun < 20  # or hours, if each wildcard tried all places


def test_what_is_not_taken_is_told_by_kind(tree: Path) -> None:
    touch(tree, "a.md", "b.py", "photo.png", "data.bin", ".env", ".hidden/x.md", "strange")
    touch(tree, "yarn.lock", "package-lock.json", "lib.min.js", "x_pb2.py", "node_modules/m.js")
    touch(tree, "env/pyvenv.cfg", "env/lib/x.py", "cache/CACHEDIR.TAG", "cache/y.md")
    touch(tree, "bundle.js", text="var a=1;" * 1000)
    touch(tree, "made.go", text="// Code generated by protoc-gen-go. DO NOT EDIT.\npackage x\n")
    touch(tree, "written.js", text="var a = 1;\n" * 1000)
    touch(tree, "about.py", text='"""Tells whether code is generated."""\n')
    touch(tree, ".gitignore", text="secret.md\nout/\n")
    touch(tree, "secret.md", "out/page.md", "out/more.md")
    # Of Office, Windows, conda, setuptools and a Maildir.
    touch(tree, "~$report.docx", "Desktop.ini", "conda/conda-meta/history", "conda/lib/this.py")
    touch(tree, "x.egg-info/SOURCES.txt", "cur/17.M1P2.host,S=9:2,S", "cur/18.M3P4.host,S=7:2,S")

    found = select(tree)

    assert keys(found) == ["a.md", "about.py", "b.py", "written.js"]
    assert left_out(found) == {
        ("format", ".png"): (1, 0),
        ("format", ".bin"): (1, 0),
        ("format", ""): (3, 0),
        ("hidden", ""): (4, 1),
        ("ignored", ".gitignore"): (1, 1),
        ("lock", ""): (2, 0),
        ("minified", ""): (2, 0),
        ("generated", ""): (2, 0),
        ("tools", ""): (0, 5),
    }
    assert keys(select(tree, include=["~$*"])) == ["~$report.docx"]
    assert found.skipped == []


def test_named_files_and_folders_are_taken_whatever_rules_say(tree: Path) -> None:
    touch(tree, ".gitignore", text="*.md\nbuild/\n")
    touch(tree, "a.md", "build/b.md", "build/c.txt", ".hidden/d.txt", "x.lock")

    found = select(tree, *(tree / name for name in ("a.md", "build", ".hidden", "x.lock")))

    assert keys(found) == [".hidden/d.txt", "a.md", "build/b.md", "build/c.txt", "x.lock"]
    assert left_out(found) == {("hidden", ""): (1, 0)}


def test_own_rules_add_to_those_of_git_and_take_them_back(tree: Path) -> None:
    touch(tree, ".gitignore", text="generated/\n*.tmp.md\n")
    touch(tree, ".qwen3ragignore", text="!generated/\ndrafts\n")
    touch(tree, "generated/api.md", "generated/x.tmp.md", "drafts/d.md", "a.md")

    assert keys(select(tree)) == ["a.md", "generated/api.md"]
    assert len(keys(select(tree, ignore=False))) == 4
    # They hold from the folder of the index downwards.
    below = find([tree / "drafts" / "..", tree / "generated"], base=Base(tree))
    assert keys(below) == ["a.md", "generated/api.md"]


@with_git
def test_each_repository_in_a_folder_has_its_own_rules(tree: Path, home: Path) -> None:
    for name in ("one", "two"):
        touch(tree, f"{name}/a.md", f"{name}/b.md", f"{name}/c.md", f"{name}/deep/a.md")
        git(tree / name, "init", "-q")
    touch(tree, "one/.gitignore", text="/a.md\n")
    touch(tree, "two/.git/info/exclude", text="b.md\n")
    touch(home, "own", text="c.md\n")
    (home / ".gitconfig").write_text("[core]\n\texcludesFile = ~/own\n")
    touch(tree, "c.md")

    found = select(tree)

    assert keys(found) == [
        "c.md",
        "one/b.md",
        "one/deep/a.md",
        "two/a.md",
        "two/deep/a.md",
    ]
    assert left_out(found)[("ignored", "core.excludesFile")] == (2, 0)
    git(tree, "init", "-q")
    found = select(tree)
    assert keys(found) == []
    assert left_out(found)[("repository", "")] == (0, 2)
    assert keys(select(tree / "one")) == ["b.md", "deep/a.md"]


@with_git
def test_rules_of_a_working_tree_elsewhere_are_those_of_its_repository(
    tree: Path, tmp_path: Path
) -> None:
    git(tree, "init", "-q")
    git(tree, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--allow-empty")
    git(tree, "worktree", "add", "-q", str(tmp_path / "other"))
    touch(tree, ".git/info/exclude", text="b.md\n")
    touch(tmp_path / "other", "a.md", "b.md")

    assert keys(select(tmp_path / "other")) == ["a.md"]


@posix
@pytest.mark.parametrize("how", ["pipe", "unreadable", "huge"])
def test_a_folder_whose_rules_cannot_be_read_is_left_out(
    tree: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tree, "a.md", "in/key.md", "in/deep/b.md")
    rules = tree / "in" / ".gitignore"
    if how == "pipe":
        os.mkfifo(rules)
    elif how == "huge":
        rules.write_bytes(b"a\n" * 1_000_000)
    else:
        rules.symlink_to("/proc/self/mem")
        if not rules.exists():
            pytest.skip("no such file here")

    found = select(tree)

    assert keys(found) == ["a.md"]
    assert [(entry.key, entry.keep) for entry in found.skipped] == [("in", True)]
    assert ".gitignore" in found.skipped[0].reason


@posix
def test_links_are_followed_inside_the_tree_and_each_file_is_taken_once(
    tree: Path, tmp_path: Path
) -> None:
    touch(tmp_path, "outside/secret.md")
    touch(tree, "a.md", "deep/b.md", ".data/c.md", ".data/in/d.md", "out/key.md", "index/x.json")
    touch(tree, ".gitignore", text="out/\n")
    os.link(tree / "a.md", tree / "same.md")
    for name, target in {
        "0.md": "a.md",
        "loop": ".",
        "deep/up": "..",
        "again": "deep",
        "shown": ".data",
        "file.md": ".data/c.md",
        "ext": "../outside",
        "ext.md": "../outside/secret.md",
        "gone.md": "nowhere.md",
        "round": "round",
        "key.md": "out/key.md",
        "public": "out",
        "store": "index",
    }.items():
        (tree / name).symlink_to(target)

    found = select(tree, store=tree / "index")

    assert keys(found) == ["a.md", "deep/b.md", "file.md", "shown/in/d.md"]
    assert left_out(found) == {
        ("hidden", ""): (1, 1),
        ("ignored", ".gitignore"): (1, 2),
        ("link", "nowhere"): (2, 0),
        ("link", "out of the folders"): (1, 1),
        ("link", "to what is indexed already"): (3, 3),
    }


@posix
def test_folders_that_are_not_looked_into_are_closed(tree: Path) -> None:
    touch(tree, "a.md", ".git/b", "build/c.md", "node_modules/d.md", ".hidden/e.md", ".other/f.md")
    (tree / ".gitignore").write_text("build/\n")
    (tree / "link").symlink_to(tree / ".hidden")

    selection = select(tree)

    assert keys(selection) == ["a.md", "link/e.md"]
    closed = {path.name for path in selection.closed}
    assert closed == {".git", "build", "node_modules", ".other"}


@posix
def test_the_index_is_left_out_however_it_is_reached(tree: Path, tmp_path: Path) -> None:
    touch(tree, "a.md", "data/idx/manifest.json", "data/b.md")
    (tmp_path / "idx").symlink_to(tree / "data" / "idx")
    (tree / "link").symlink_to("data")

    assert keys(select(tree, store=tmp_path / "idx")) == ["a.md", "data/b.md"]
    for inside in ("data/idx", "data/idx/manifest.json", "link/idx"):
        with pytest.raises(InputError, match="belongs to the index itself"):
            select(tree / inside, store=tmp_path / "idx")


def test_patterns_match_names_and_paths_and_are_told_when_they_match_nothing(tree: Path) -> None:
    touch(
        tree, "a.log", "deep/b.log", "c.md", "deep/build/d.log", "x.lock", ".ci.yml", "e\u0301.md"
    )

    assert keys(select(tree, include=["*.lock", ".ci.yml"])) == [".ci.yml", "x.lock"]
    assert keys(select(tree, include=["*.log"], exclude=["build/"])) == ["a.log", "deep/b.log"]
    assert keys(select(tree, include=["./deep/*"])) == ["deep/b.log", "deep/build/d.log"]
    assert keys(select(tree, include=["\u00e9.md"])) == ["e\u0301.md"]
    assert select(tree, include=["*.md", "*.mdd"], exclude=["nope/"]).unused == [
        "--include '*.mdd'",
        "--exclude 'nope/'",
    ]


def test_files_above_the_limit_are_told_and_taken_by_name(tree: Path) -> None:
    touch(tree, "small.md")
    touch(tree, "large.txt", text="x" * 2000)

    found = select(tree, max_size=1000)

    assert keys(found) == ["small.md"]
    [skipped] = found.skipped
    assert (skipped.key, "2 kB, more than 1 kB" in skipped.reason) == ("large.txt", True)
    assert len(keys(select(tree, tree / "large.txt", max_size=1000))) == 2
    assert len(keys(select(tree, max_size=None))) == 2


def test_files_that_need_a_library_are_counted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tree, "a.md", "b.pdf", "c.pdf")
    monkeypatch.setattr("qwen3_rag_cli.formats.find_spec", lambda name: None)

    found = select(tree)

    assert keys(found) == ["a.md"]
    assert left_out(found) == {("extra", ".pdf qwen3-rag-cli[pdf]"): (2, 0)}


def _indexed(cli: Any, store: Path) -> set[str]:
    return {
        Path(file["path"]).name
        for file in cli.run("list", "--store", store, "--json").json["files"]
    }


def test_files_that_exist_are_removed_only_with_prune(cli: Any, notes: Path, indexed: Path) -> None:
    (notes / ".gitignore").write_text("*.txt\n")
    (notes / "roof.md").unlink()

    kept = cli.index(notes, "--store", indexed, "--exclude", "*.py")

    assert (kept["removed"], kept["kept"]) == (1, 2)
    assert _indexed(cli, indexed) == {"diary.txt", "sum.py"}
    said = cli.run("index", notes, "--store", indexed).out
    assert "Kept in the index: 1 file" in said
    assert "1 file ignored by .gitignore, such as notes/deep/diary.txt (--no-ignore" in said
    pruned = cli.index(notes, "--store", indexed, "--prune")
    assert (pruned["removed"], pruned["kept"]) == (1, 0)
    assert _indexed(cli, indexed) == {"sum.py"}
    assert cli.index(notes, "--store", indexed, "--no-ignore")["indexed"] == 1


@pytest.mark.parametrize("more", [[], ["--prune"]])
def test_patterns_that_let_nothing_through_are_an_error(
    cli: Any, notes: Path, indexed: Path, more: list[str]
) -> None:
    said = cli.run("index", notes, "--store", indexed, "--include", "*.mdd", *more)

    assert said.code == 2
    assert "--include '*.mdd' matches nothing" in said.err
    assert len(_indexed(cli, indexed)) == 3
    assert cli.run("index", notes, "--store", indexed, "--exclude", "*", *more).code == 2
    assert len(_indexed(cli, indexed)) == 3


def test_what_is_gone_is_removed_although_a_pattern_matches_nothing(
    cli: Any, notes: Path, indexed: Path
) -> None:
    (notes / "roof.md").unlink()

    summary = cli.index(notes, "--store", indexed, "--include", "*.md")

    assert (summary["removed"], summary["kept"]) == (1, 2)
    assert summary["unused"] == ["--include '*.md'"]
    assert summary["left_out"] == [
        {
            "reason": "include",
            "detail": "",
            "files": 2,
            "folders": 0,
            "examples": ["notes/deep/diary.txt", "notes/deep/sum.py"],
        }
    ]
