"""Indexing killed at random moments, then run again, is as if it had never been killed."""

from __future__ import annotations

import contextlib
import math
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.manifest import Manifest
from qwen3_rag_hybrid import QdrantEdgeStore

QUERIES = ["value kept", "Part 3 of 8"]
SEED = 20
# Seconds; embedding and writing a group take about as long.
MOMENT = 0.2


def _change(tree: Path) -> None:
    """Change, shorten, delete and add files."""
    for number, path in enumerate(sorted(tree.rglob("*.md"))):
        if number % 4 == 0:
            path.write_text(f"# New page {number}\n\nAnother value {number}.\n", encoding="utf-8")
        elif number % 4 == 1:
            path.unlink()
        elif number % 4 == 2:
            text = path.read_text(encoding="utf-8")
            path.write_text(f"{text}\n## Added\n\nThe end of {number}.\n", encoding="utf-8")


def _watched(command: list[str], store: Path, kill_at: float) -> int:
    """Run, killing the process once the manifest was written so many times, and a bit later.

    Moments are told by the writes, not by the clock: how fast a machine is today then does not
    decide whether a kill meets anything.

    Args:
        command: To run.
        store: Of the index it writes.
        kill_at: Writes to let pass; the fraction is the part of a moment to wait after the last.

    Returns:
        How many writes there were.
    """
    manifest = store / "manifest.sqlite3"
    last = manifest.stat().st_mtime_ns if manifest.exists() else 0
    writes = 0
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                changed = manifest.stat().st_mtime_ns
                writes += changed != last
                last = changed
            if writes >= math.floor(min(kill_at, 1e9)):
                time.sleep(kill_at % 1 * MOMENT)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
    return writes


class _Scene:
    """A tree of files, and an index that is to be brought up to date with it."""

    def __init__(self, cli: Any, corpus: Any, folder: Path, *, files: int, changed: bool) -> None:
        self.cli = cli
        self.folder = folder
        self.tree = folder / "tree"
        self.start: Path | None = None
        corpus.made(self.tree, files)
        if changed:
            self.start = folder / "start"
            cli.index(self.tree, "--store", self.start, *cli.models)
            _change(self.tree)
        reference = self.copy("reference")
        cli.index(self.tree, "--store", reference, *cli.models)
        self.expected = self.seen(reference)

    def copy(self, name: str) -> Path:
        store = self.folder / name
        if self.start is not None:
            shutil.copytree(self.start, store)
        return store

    def command(self, store: Path) -> list[str]:
        arguments = ["index", self.tree, "-q", *self.cli.models, "--store", store]
        command: list[str] = self.cli.command(*arguments)
        return command

    def seen(self, store: Path) -> tuple[object, object]:
        """All a user can tell an index by: what is in it, and what it answers."""
        return (
            self.cli.content(store),
            [self.cli.hits(query, store, "--rerank", "4") for query in QUERIES],
        )

    def check(self, store: Path) -> None:
        """Run again, and compare with the run that was not interrupted."""
        summary = self.cli.index(self.tree, "--store", store, *self.cli.models)

        assert summary["skipped"] == []
        assert self.seen(store) == self.expected
        assert self.cli.index(self.tree, "--store", store)["embedded"] == 0
        shutil.rmtree(store)


def _kill(cli: Any, corpus: Any, folder: Path, *, files: int, kills: int) -> None:
    """Kill runs at random moments, half of them on a new index, half on one with changes."""
    moments = random.Random(SEED)
    for changed in (False, True):
        scene = _Scene(cli, corpus, folder / str(changed), files=files, changed=changed)
        watched = scene.copy("watched")
        writes = _watched(scene.command(watched), watched, math.inf)
        for number in range(int(changed), kills, 2):
            store = scene.copy(f"killed-{number}")
            _watched(scene.command(store), store, moments.uniform(0, writes))
            scene.check(store)


def test_killed_at_five_moments_and_run_again_equals_an_uninterrupted_run(
    cli: Any, corpus: Any, tmp_path: Path
) -> None:
    _kill(cli, corpus, tmp_path, files=100, kills=5)


@pytest.mark.slow
def test_killed_at_twenty_moments_and_run_again_equals_an_uninterrupted_run(
    cli: Any, corpus: Any, tmp_path: Path
) -> None:
    _kill(cli, corpus, tmp_path, files=400, kills=20)


class _Died(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("changed", [False, True])
def test_stopped_before_and_after_every_write_and_run_again_equals_an_uninterrupted_run(
    cli: Any, corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    monkeypatch.setattr("qwen3_rag_cli.indexing.GROUP", 4)
    left = 0

    def stopping(write: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            for step in (lambda: None, lambda: write(*arguments, **options)):
                if left == 0:
                    raise _Died
                left -= 1
                result = step()
            return result

        return wrapped

    scene = _Scene(cli, corpus, tmp_path, files=5, changed=changed)
    steps = 0
    while True:
        store = scene.copy(f"stopped-{steps}")
        left = steps
        with monkeypatch.context() as patch:
            for owner, name in (
                (Manifest, "begin"),
                (Manifest, "commit"),
                (QdrantEdgeStore, "create"),
                (QdrantEdgeStore, "upsert"),
                (QdrantEdgeStore, "delete"),
            ):
                patch.setattr(owner, name, stopping(getattr(owner, name)))
            arguments = ["index", scene.tree, "--store", store, *cli.models, "-q"]
            try:
                if cli.run(*arguments).code == 0:
                    break
            except _Died:
                pass
        scene.check(store)
        steps += 1

    assert steps > 8
