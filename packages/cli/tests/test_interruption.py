"""An index run that was interrupted and run again gives what an uninterrupted run gives."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.manifest import Manifest
from qwen3_rag_hybrid import QdrantEdgeStore
from qwen3_rag_testkit.forks import CLI, start

QUERIES = ["value kept", "Part 3 of 8"]
SEED = 20

# Ends as if killed after so many seconds of its processors, which no other program makes longer.
TIMED = f"""
import signal, sys, time
signal.signal(signal.SIGPROF, signal.SIG_DFL)
signal.setitimer(signal.ITIMER_PROF, float(sys.argv.pop(1)))
try:
    {CLI}
finally:
    print(time.process_time())
"""
# Is interrupted as by Ctrl-C when some of the chunks are written.
INTERRUPTED = f"""
import signal
from qwen3_rag_cli.manifest import Manifest
mark_clean = Manifest.mark_clean
def interrupted(*arguments, **options):
    mark_clean(*arguments, **options)
    signal.raise_signal(signal.SIGINT)
Manifest.mark_clean = interrupted
{CLI}
"""

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")


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


def close_to(value: Any) -> Any:
    """Equal but for the last bit of scores: the engine sums BM25 in the order of its segments."""
    if isinstance(value, dict):
        return {name: close_to(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [close_to(entry) for entry in value]
    return pytest.approx(value, rel=1e-6) if isinstance(value, float) else value


class _Scene:
    """A tree of files, and an index that is to be brought up to date with it."""

    def __init__(self, cli: Any, corpus: Any, folder: Path, *, files: int, changed: bool) -> None:
        self.cli = cli
        self.folder = folder
        self.tree = folder / "tree"
        self.start: Path | None = None
        self.started: Any = None
        corpus.made(self.tree, files)
        if changed:
            self.start = folder / "start"
            cli.index(self.tree, "--store", self.start, *cli.models)
            self.started = cli.content(self.start)
            _change(self.tree)
        reference = self.copy("reference")
        cli.index(self.tree, "--store", reference, *cli.models)
        self.expected = self.seen(reference)

    def copy(self, name: str) -> Path:
        store = self.folder / name
        if self.start is not None:
            shutil.copytree(self.start, store)
        return store

    def run(self, store: Path, code: str, *options: str) -> tuple[int | None, str, str]:
        """Index in a process of its own, and give how that ended and what it said."""
        arguments = ["index", self.tree, "-q", *self.cli.models, "--store", store]
        with start(code, *options, *map(str, arguments)) as process:
            out, err = process.communicate()
        return process.returncode, out, err

    def check_search(self, store: Path) -> None:
        """Search right after a kill: what was published is there, whole, the old or the new."""
        if self.start is not None:
            content, _ = self.seen(store)
            assert content in (self.started, self.expected[0])

    def seen(self, store: Path) -> tuple[Any, Any]:
        """All a user can tell an index by: what is in it, and what it answers."""
        return (
            self.cli.content(store),
            [self.cli.hits(query, store, "--rerank", "4") for query in QUERIES],
        )

    def check(self, store: Path) -> Any:
        """Run again, compare with the run that was not interrupted, and give the summary."""
        summary = self.cli.index(self.tree, "--store", store, *self.cli.models)

        assert summary["skipped"] == []
        content, hits = self.seen(store)
        expected_content, expected_hits = self.expected
        assert content == expected_content
        assert hits == close_to(expected_hits)
        assert self.cli.index(self.tree, "--store", store)["embedded"] == 0
        shutil.rmtree(store)
        return summary


def _kill(cli: Any, corpus: Any, folder: Path, *, files: int, kills: int) -> None:
    """Kill runs at random moments, half of them on a new index, half on one with changes."""
    moments = random.Random(SEED)
    killed = 0
    for changed in (False, True):
        scene = _Scene(cli, corpus, folder / str(changed), files=files, changed=changed)
        _, seconds, _ = scene.run(scene.copy("timed"), TIMED, "0")
        for number in range(int(changed), kills, 2):
            store = scene.copy(f"killed-{number}")
            code, *_ = scene.run(store, TIMED, str(moments.uniform(0.01, float(seconds))))
            assert code in (0, -signal.SIGPROF)
            killed += code != 0
            scene.check_search(store)
            scene.check(store)

    # On a busy machine, the first run may need more than the others, which then end before.
    assert killed >= kills // 4


@posix
def test_killed_at_four_moments_and_run_again_equals_an_uninterrupted_run(
    cli: Any, corpus: Any, tmp_path: Path
) -> None:
    _kill(cli, corpus, tmp_path, files=60, kills=4)


@posix
@pytest.mark.slow
def test_killed_at_fifty_moments_and_run_again_equals_an_uninterrupted_run(
    cli: Any, corpus: Any, tmp_path: Path
) -> None:
    _kill(cli, corpus, tmp_path, files=200, kills=50)


@posix
def test_ctrl_c_ends_with_130_and_the_next_run_continues(
    cli: Any, corpus: Any, tmp_path: Path
) -> None:
    scene = _Scene(cli, corpus, tmp_path, files=60, changed=False)
    store = scene.copy("interrupted")

    code, _, err = scene.run(store, INTERRUPTED)

    assert code == 130
    assert err.startswith("Interrupted. What was done is kept: run the same command again")
    chunks = len(scene.expected[0])
    summary = scene.check(store)
    assert summary["files"] == 60
    assert 0 < summary["embedded"] < chunks


class _Died(BaseException):
    """The process ends here."""


def _die_at(patch: pytest.MonkeyPatch, left: int) -> None:
    """Die before or after a write, the one with this number."""

    def dying(write: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            for action in (lambda: None, lambda: write(*arguments, **options)):
                if left == 0:
                    raise _Died
                left -= 1
                result = action()
            return result

        return wrapped

    for owner, name in (
        (Manifest, "mark_dirty"),
        (Manifest, "mark_clean"),
        (QdrantEdgeStore, "create"),
        (QdrantEdgeStore, "upsert"),
        (QdrantEdgeStore, "delete"),
        (QdrantEdgeStore, "flush"),
        (QdrantEdgeStore, "publish"),
    ):
        patch.setattr(owner, name, dying(getattr(owner, name)))


def _stop(
    cli: Any, corpus: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, changed: bool, every: int
) -> None:
    """Stop runs before and after their writes, each at another one."""
    monkeypatch.setattr("qwen3_rag_cli.indexing.GROUP", 4)
    scene = _Scene(cli, corpus, folder, files=5, changed=changed)
    stops = every - 1
    while True:
        store = scene.copy(f"stopped-{stops}")
        with monkeypatch.context() as patch:
            _die_at(patch, stops)
            arguments = ["index", scene.tree, "--store", store, *cli.models, "-q"]
            try:
                if cli.run(*arguments).code == 0:
                    break
            except _Died:
                pass
        scene.check_search(store)
        scene.check(store)
        stops += every

    assert stops > 8


@pytest.mark.parametrize("changed", [False, True])
def test_stopped_before_or_after_some_writes_and_run_again_equals_an_uninterrupted_run(
    cli: Any, corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    _stop(cli, corpus, tmp_path, monkeypatch, changed, 5)


@pytest.mark.slow
@pytest.mark.parametrize("changed", [False, True])
def test_stopped_before_and_after_every_write_and_run_again_equals_an_uninterrupted_run(
    cli: Any, corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    _stop(cli, corpus, tmp_path, monkeypatch, changed, 1)


def test_removing_is_finished_by_the_next_removal_wherever_it_was_stopped(
    cli: Any, notes: Path, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops = 0
    while True:
        store = tmp_path / f"stopped-{stops}"
        shutil.copytree(indexed, store)
        remove = ["remove", notes / "roof.md", "--store", store]
        with monkeypatch.context() as patch, contextlib.suppress(_Died):
            _die_at(patch, stops)
            if cli.run(*remove).code == 0:
                break
        assert cli.run(*remove).code in (0, 2)  # 2 if it was removed already
        assert all("roof" not in hit["path"] for hit in cli.hits("roof", store, "--rerank", "0"))
        stops += 1

    assert stops > 5
