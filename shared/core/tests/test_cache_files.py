"""A cache and the path that it is given: other files, names that are none, numbers not to keep."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen3_rag import BackendError, InputError, ModelError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Backend, BackendSpec, Limits, Output, Prompt, Role
from qwen3_rag.cache import cache_info, clear_cache
from qwen3_rag_testkit.backends import DeterministicBackend, RunningDeterministic


def embed(path: Any, backend: BackendSpec | None = None) -> Any:
    with Qwen3Embedder("m", backend=backend or DeterministicBackend(), cache=path) as embedder:
        return embedder.embed_documents(["a text"])


@pytest.mark.parametrize(
    "content",
    [b"x", b"# Notes\n", b"\0\0 binary", b"# Notes\n" * 1_000, b"SQLite's formats\n" * 50],
    ids=["a letter", "a short text", "a short binary", "a long text", "a similar beginning"],
)
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes(content)

    for work in (embed, cache_info, clear_cache):
        with pytest.raises(InputError, match=r"notes.md' is no cache but a file of something else"):
            work(path)

    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["notes.md"]


@pytest.mark.parametrize("size", [0, 5, 15, 16, 99, 600])
def test_what_is_left_of_a_cut_cache_is_used_again(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cache"
    embed(path)
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    path.write_bytes(path.read_bytes()[:size])

    embed(path)
    embed(path)

    assert cache_info(path).entries == 1


class BytesPath(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"cache"


@pytest.mark.parametrize("path", ["", "  ", ":memory:", "a\0b", "a\ud800b", BytesPath()])
def test_what_cannot_be_the_path_of_a_file_is_refused_at_once(path: Any) -> None:
    with pytest.raises(InputError, match=r"path of a cache"):
        Qwen3Embedder("m", backend=DeterministicBackend(), cache=path)


def test_a_relative_path_stays_that_of_the_folder_in_which_the_model_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "first")
    with Qwen3Embedder("m", backend=DeterministicBackend(), cache="cache") as embedder:
        monkeypatch.chdir(tmp_path / "second")
        embedder.embed_documents(["a text"])

    assert cache_info(tmp_path / "first" / "cache").entries == 1
    assert os.listdir(tmp_path / "second") == []


def test_an_entry_whose_time_is_damaged_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    embed(path)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE entries SET used = 'text'")
    other.close()

    with pytest.raises(BackendError, match=r"no time. If it is damaged, delete the file"):
        cache_info(path)


#: What the running backends of `Broken` give in place of the first text's numbers.
given: list[float | None] = []


@dataclass(frozen=True)
class Broken(BackendSpec, kind="test-broken"):
    """A `DeterministicBackend` that may be broken for some time."""

    def start(self, model: str, role: Role) -> Backend:
        return RunningBroken(role, 64)


class RunningBroken(RunningDeterministic):
    def run(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> Future[Output]:
        output = super().run(prompts, limits, on_done).result()
        values = output.values.copy()
        if given[0] is not None:
            values[0] = given[0]
        future: Future[Output] = Future()
        future.set_result(replace(output, values=values))
        return future


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        *((Qwen3Embedder, number) for number in (np.nan, np.inf, 0.0)),
        *((Qwen3Reranker, number) for number in (np.nan, -np.inf)),
    ],
)
def test_numbers_of_a_broken_model_are_refused_and_not_kept(
    tmp_path: Path, kind: Any, wrong: float
) -> None:
    def ask(cache: Path | None) -> Any:
        with kind("m", backend=Broken(), cache=cache) as model:
            if kind is Qwen3Embedder:
                return model.embed_documents(["a text", "another"]).tolist()
            return model.score([("a query", "a text"), ("a query", "another")])

    given[:] = [wrong]
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(ModelError, match="for text 0"):
            ask(cache)
    assert cache_info(tmp_path / "cache").entries == 1

    given[:] = [None]
    assert ask(tmp_path / "cache") == ask(None)
