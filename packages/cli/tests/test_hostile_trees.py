"""Trees made to do harm end in a complete index and a truthful summary, in little time."""

from __future__ import annotations

import os
import random
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.files import find
from qwen3_rag_cli.places import Base

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names and links of POSIX systems")

TEXT = "# Title\n\nSome words.\n"


class Tree:
    """A tree, with what is known of it from making it."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.chance = root, random.Random(seed)
        self.wanted: set[str] = set()  # to be indexed, under whatever name
        self.binary = 0
        self.entries = 0
        self.folders = [root]
        root.mkdir(parents=True)
        makers = (
            self.plain,
            self.deep,
            self.links,
            self.special,
            self.names,
            self.rules,
            self.other,
        )
        for make in self.chance.choices(makers, k=self.chance.randint(3, 12)):
            make(self.chance.choice(self.folders))

    def new(self, folder: Path, suffix: str = "") -> Path:
        self.entries += 1
        return folder / f"n{self.entries}{suffix}"

    def file(self, folder: Path, suffix: str = ".md") -> Path:
        path = self.new(folder, suffix)
        path.write_text(f"{TEXT}{self.entries}\n")
        return path

    def want(self, path: Path) -> None:
        self.wanted.add(path.relative_to(self.root).as_posix())

    def plain(self, folder: Path) -> None:
        for _ in range(self.chance.randint(1, 20)):
            self.want(self.file(folder, self.chance.choice([".md", ".txt", ".py", ".json"])))

    def deep(self, folder: Path) -> None:
        for _ in range(self.chance.choice([3, 30])):
            if len(str(folder)) > 700:
                return
            folder = self.new(folder)
            folder.mkdir()
            self.folders.append(folder)
        self.want(self.file(folder))

    def links(self, folder: Path) -> None:
        for target in (
            ".",
            "..",
            "/",
            str(self.root),
            "/proc",
            "nowhere",
            "/dev/zero",
            "/dev/stdin",
        ):
            self.new(folder, self.chance.choice(["", ".md"])).symlink_to(target)
        first, second = self.new(folder), self.new(folder)
        first.symlink_to(second)
        second.symlink_to(first)
        kept = self.file(folder)
        self.want(kept)
        for _ in range(5):
            self.new(folder, ".md").symlink_to(kept)
            os.link(kept, self.new(folder, ".link"))
        hidden = folder / f".h{self.entries}"
        hidden.mkdir()
        self.file(hidden)
        for _ in range(5):  # one of them is followed
            self.new(hidden).symlink_to("..")
            self.new(folder).symlink_to(hidden)
        self.wanted.add(f"in {hidden.name}")

    def special(self, folder: Path) -> None:
        os.mkfifo(self.new(folder, ".md"))
        with socket.socket(socket.AF_UNIX) as served:
            path = self.new(folder, ".md")
            if len(str(path)) < 100:
                served.bind(str(path))
        huge = self.new(folder, ".txt")
        with huge.open("wb") as file:
            file.truncate(10**12)

    def names(self, folder: Path) -> None:
        odd = [
            "a\nb",
            "\x1b[31m",
            "-rf",
            "*",
            "[x]",
            "\\",
            "é",
            "e\u0301",
            "\u202egnp",
            " ",
            "x" * 240,
        ]
        for name in odd:
            path = folder / f"{name}{self.chance.randint(0, 10**6)}.md"
            path.write_text(TEXT)
            self.entries += 1
            self.want(path)
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.md")).write_text(TEXT)

    def rules(self, folder: Path) -> None:
        folder = self.new(folder)
        folder.mkdir()
        self.want(self.file(folder))
        self.want(self.file(folder, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.md"))
        self.file(folder, ".secret.md")
        lines = [
            *("*a" * 60 + "b", "**/a/" * 60 + "b", "?*" * 60 + "b", "[", "\\", "!", "[z-a]", "/"),
            *(
                f"{name}{number}"
                for number in range(300)
                for name in ("no", "*.no", "/no/", "**/n/o")
            ),
            *("[[:nonsense:]]", "\x00", "*.secret.md", "" if self.chance.random() < 0.5 else "!x"),
        ]
        (folder / ".gitignore").write_text("\n".join(lines))
        folder = self.new(folder)
        folder.mkdir()
        self.file(folder)
        rules = folder / ".gitignore"
        kind = self.chance.randrange(3)
        if kind == 0:
            os.mkfifo(rules)
        elif kind == 1:
            rules.write_bytes(b"x\n" * 600_000)
        else:
            rules.write_text("*")

    def other(self, folder: Path) -> None:
        for name in ("node_modules", ".git", "__pycache__", ".qwen3-rag"):
            path = self.new(folder) / name
            path.mkdir(parents=True)
            self.file(path)
        self.new(folder, ".png").write_bytes(b"\x89PNG\0")
        self.new(folder, ".md").write_bytes(b"\0\1\2")  # binary: told when it is read
        self.binary += 1
        self.new(folder, ".min.js").write_text("x")
        bundle = self.new(folder, ".js")
        bundle.write_text("var a=1;" * 5_000)


def check(root: Path, seed: int) -> tuple[Tree, float]:
    """Select from a tree, compare with what is known of it, and give the time for each entry."""
    tree = Tree(root, seed)
    start = time.perf_counter()

    found = find([tree.root], base=Base(tree.root))

    spent = time.perf_counter() - start
    taken = {file.key for file in found.files}
    missing = {name for name in tree.wanted if not name.startswith("in ")} - taken
    assert not missing, f"seed {seed}"
    # Each file in a hidden folder is there once, under a link's name.
    assert len(taken) == len(tree.wanted) + tree.binary, f"seed {seed}"
    assert len({(tree.root / key).stat().st_ino for key in taken}) == len(taken)
    return tree, spent / max(tree.entries, 1)


def check_index(cli: Any, tree: Tree) -> None:
    """Index a tree, and compare the index and the summary with what is known of the tree."""
    store = tree.root.with_name(f"{tree.root.name}.index")
    said = cli.run("index", tree.root, "--store", store, "--json", *cli.models)
    if not tree.wanted:
        assert said.code == 2
        return
    assert said.code == 0, said.err
    summary = said.json
    listed = cli.run("list", "--store", store, "--json").json["files"]
    assert summary["indexed"] == summary["files"] == len(listed) == len(tree.wanted)
    assert all(file["complete"] for file in listed)
    reasons = [entry["reason"] for entry in summary["skipped"]]
    assert reasons.count("is binary, not text") == tree.binary
    counted = {(one["reason"], one["detail"]): one["files"] for one in summary["left_out"]}
    assert counted.get(("format", ".png"), 0) == tree.binary


def check_times(times: list[float]) -> None:
    # Seconds for each entry; by the square, or by a pattern's backtracking, it were minutes.
    assert sorted(times)[len(times) // 2] < 0.05
    assert max(times) < 1


def test_hostile_trees_are_taken_wholly_and_in_time(cli: Any, tmp_path: Path) -> None:
    results = [check(tmp_path / str(seed), seed) for seed in range(30)]
    check_times([spent for _, spent in results])
    for tree, _ in results[:2]:
        check_index(cli, tree)


@pytest.mark.slow
def test_500_hostile_trees_end_in_a_complete_index(cli: Any, tmp_path: Path) -> None:
    times = []
    for seed in range(30, 530):
        tree, spent = check(tmp_path / str(seed), seed)
        times.append(spent)
        check_index(cli, tree)
    check_times(times)


def test_the_summary_of_a_hostile_tree_tells_everything(cli: Any, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree", 0)
    for make in (tree.links, tree.special, tree.names, tree.rules, tree.other):
        make(tree.root)
    store = tmp_path / "index"

    summary = cli.index(tree.root, "--store", store, *cli.models)
    said = cli.run("index", tree.root, "--store", store)

    assert said.code == 0
    assert "\x1b" not in said.out
    reasons = {entry["reason"].split(",")[0] for entry in summary["skipped"]}
    assert {"is binary", "is not a regular file", "has 1 TB"} <= reasons
    assert "has a name that is not valid UTF-8. Rename it" in reasons
    assert {"hidden", "ignored", "tools", "minified", "format", "link"} <= {
        one["reason"] for one in summary["left_out"]
    }
