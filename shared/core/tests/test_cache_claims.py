"""What a cache promises for any input: whose entry answers, what damage does, its limit."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qwen3_rag_tiny
from qwen3_rag import Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.backends import (
    BackendSpec,
    EmbedPrompt,
    Limits,
    Output,
    Prompt,
    RerankPrompt,
    Role,
)
from qwen3_rag.cache import Cached, cache_info
from qwen3_rag_testkit.backends import CountingBackend, DeterministicBackend


def run(spec: BackendSpec, prompts: Sequence[Prompt], limits: Limits | None = None) -> Output:
    backend = spec.start("model", "embedding")
    try:
        return backend.run(prompts, limits or Limits()).result(60)
    finally:
        backend.close()


#: Few values, and such that run into each other.
PARTS: dict[str, list[Any]] = {
    "fingerprint": ["a", "aa"],
    "variant": ["a", "", None],
    "context": [1, 11],
    "max_length": [None, 1, 11],
    "max_query_tokens": [None, 1, 11],
    "max_document_tokens": [None, 1, 11],
}
EMBED: dict[str, list[Any]] = {
    "text": ["a", "Instruct: a\nQuery:a", ""],
    "instruction": [None, "a", ""],
    "prefix": [None, "Instruct: a\nQuery:", ""],
}
RERANK: dict[str, list[Any]] = {
    "query": ["a", "a\n<Query>: a"],
    "document": ["a", "aa"],
    "instruction": ["a", "a\n<Query>: a"],
}
Setting = tuple[CountingBackend, Limits, Prompt]


@st.composite
def two(draw: st.DrawFn) -> tuple[Setting, Setting]:
    """Two settings that differ in up to two parts."""
    own = draw(st.sampled_from([EMBED, RERANK]))
    parts = PARTS | own
    values = {name: draw(st.sampled_from(among)) for name, among in parts.items()}
    changed = draw(st.lists(st.sampled_from(list(parts)), max_size=2))
    others = values | {name: draw(st.sampled_from(parts[name])) for name in changed}
    return made(values, own), made(others, own)


def made(values: dict[str, Any], own: dict[str, list[Any]]) -> Setting:
    role: Role = "embedding" if own is EMBED else "reranking"
    prompt = {name: values[name] for name in own}
    fingerprint, variant, context, *limits = (values[name] for name in PARTS)
    return (
        CountingBackend("claims", role, 8, fingerprint, variant, context),
        Limits(*limits),
        EmbedPrompt(**prompt) if own is EMBED else RerankPrompt(**prompt),
    )


@settings(max_examples=250, deadline=None)
@given(two())
def test_an_entry_answers_its_own_settings_and_no_others(pair: tuple[Setting, Setting]) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        uses = pair[0][0].uses
        uses.runs.clear()
        for spec, limits, prompt in pair:
            output = run(Cached(spec, Path(folder) / "cache"), [prompt], limits)
            expected = run(DeterministicBackend(spec.role, 8), [prompt], limits)
            assert (output.values == expected.values).all()

        assert len(uses.prompts) == (1 if pair[0] == pair[1] else 2)


@pytest.mark.parametrize("kind", [Qwen3Embedder, Qwen3Reranker])
def test_every_setting_of_a_model_that_decides_its_numbers_makes_a_miss(
    kind: Any, tmp_path: Path
) -> None:
    changes: dict[Any, list[dict[str, Any]]] = {
        Qwen3Embedder: [
            {},
            {"instruction": "Find code"},
            {"query_template": "Q: {text}"},
            {"max_length": 128},
            {"dtype": "bfloat16"},
        ],
        Qwen3Reranker: [
            {},
            {"instruction": "Find code"},
            {"max_length": 256},
            {"max_query_tokens": 16},
            {"max_document_tokens": 16},
            {"dtype": "bfloat16"},
        ],
    }
    no_changes: list[dict[str, Any]] = [{"batch_tokens": 64}, {"local_files_only": True}]
    if kind is Qwen3Embedder:
        no_changes.append({"dim": 32})
    path = tmp_path / "cache"

    def entries(options: dict[str, Any]) -> int:
        with kind("tiny", cache=path, **{"dtype": "float32", **options}) as model:
            if kind is Qwen3Embedder:
                model.embed_queries(["Where is the data?"])
            else:
                model.score([("Where is the data?", "On a disk.")])
        return cache_info(path).entries

    assert [entries(change) for change in changes[kind]] == list(range(1, len(changes[kind]) + 1))
    assert {entries(change) for change in no_changes} == {len(changes[kind])}


def test_a_document_never_answers_for_a_query(tmp_path: Path) -> None:
    text = "Paris is the capital of France."
    with Qwen3Embedder("tiny", cache=tmp_path / "cache", query_template="{text}") as embedder:
        embedder.embed_documents([text, f"Instruct: i\nQuery:{text}"])
        assert cache_info(tmp_path / "cache").entries == 2
        embedder.embed_queries([text])
    with Qwen3Embedder("tiny", cache=tmp_path / "cache", instruction="i") as embedder:
        embedder.embed_queries([text])

    assert cache_info(tmp_path / "cache").entries == 4


def test_servers_are_told_apart_by_address_model_and_revision(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the stand-ins compute with transformers")
    from qwen3_rag_testkit.own_servers import VLLMServer

    folder = qwen3_rag_tiny.embedding_folder()
    path = tmp_path / "cache"
    with VLLMServer(folder, "embedding") as one, VLLMServer(folder, "embedding") as two_:

        def entries(**options: Any) -> int:
            server = Remote(**{"base_url": one.url, "api": "openai", **options})
            with Qwen3Embedder("served", backend=server, cache=path) as embedder:
                embedder.embed_documents(["a text"])
                embedder.embed_queries(["a text"])
            return cache_info(path).entries

        changes: list[dict[str, Any]] = [
            {},
            {"base_url": two_.url},
            {"model": "served"},
            {"revision": "2026-11"},
            {"revision": "2026-12"},
        ]
        assert [entries(**change) for change in changes] == [2, 4, 6, 8, 10]
        assert entries(timeout=5.0, batch_size=1, concurrency=1) == 10
        with Qwen3Embedder("tiny", backend=Remote(one.url, api="vllm"), cache=path) as embedder:
            embedder.embed_documents(["a text"])
        assert cache_info(path).entries == 11


DAMAGES = ["a byte", "a page", "some bytes", "a cut"]


@pytest.mark.parametrize("where", ["database", "log"])
@pytest.mark.parametrize(
    "times", [60, pytest.param(600, marks=pytest.mark.slow)], ids=["60 times", "600 times"]
)
def test_damage_anywhere_gives_no_wrong_number(tmp_path: Path, where: str, times: int) -> None:
    prompts: list[Prompt] = [EmbedPrompt(str(number)) for number in range(60)]
    spec = DeterministicBackend(dim=64)
    expected = run(spec, prompts).values
    whole = written(tmp_path / "whole", spec, prompts)
    seed = random.randrange(2**32)
    chosen = random.Random(seed)

    for number in range(times):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        damaged = folder / ("cache" if where == "database" else "cache-wal")
        damage(damaged, chosen)
        for _ in range(2):
            output = run(Cached(spec, folder / "cache"), prompts)
            assert (output.values == expected).all(), (seed, number)
        shutil.rmtree(folder, ignore_errors=True)


def written(folder: Path, spec: BackendSpec, prompts: Sequence[Prompt]) -> Path:
    """Write a cache of which one half is in the database, and the other in its log."""
    kept = folder.parent / "kept"
    path = folder / "cache"
    half = len(prompts) // 2
    run(Cached(spec, path), prompts[:half])
    with closing(sqlite3.connect(path)) as open_one:
        open_one.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        open_one.execute("SELECT count(*) FROM entries").fetchone()  # keeps the log
        backend = Cached(spec, path).start("model", "embedding")
        backend.run(prompts[half:], Limits()).result(60)
        kept.mkdir()
        for name in ("cache", "cache-wal"):
            shutil.copy(folder / name, kept / name)
        backend.close()
    assert (kept / "cache-wal").stat().st_size > 10_000
    return kept


def damage(file: Path, chosen: random.Random) -> None:
    data = bytearray(file.read_bytes())
    how = chosen.choice(DAMAGES)
    place = chosen.randrange(len(data))
    if how == "a byte":
        data[place] ^= chosen.randrange(1, 256)
    elif how == "a page":
        start = place // 4_096 * 4_096
        data[start : start + 4_096] = chosen.randbytes(len(data[start : start + 4_096]))
    elif how == "some bytes":
        for _ in range(20):
            data[chosen.randrange(len(data))] = chosen.randrange(256)
    else:
        del data[place:]
    file.write_bytes(data)


LIMITED = """
import sys
import numpy as np
from qwen3_rag.backends import EmbedPrompt, Limits
from qwen3_rag.cache import Cached
from qwen3_rag_testkit.backends import DeterministicBackend

inner = DeterministicBackend(dim=256)
spec = Cached(inner, sys.argv[1], max_bytes=2_000_000)
backend, plain = (one.start("model", "embedding") for one in (spec, inner))
for first in range(0, 4_000, 100):
    prompts = [EmbedPrompt(f"{sys.argv[2]} {number}") for number in range(first, first + 100)]
    values = backend.run(prompts, Limits()).result(60).values
    assert (values == plain.run(prompts, Limits()).result(60).values).all()
backend.close()
"""


def test_the_limit_holds_while_several_processes_write(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    processes = [
        subprocess.Popen([sys.executable, "-c", LIMITED, str(path), str(number)])
        for number in range(3)
    ]
    largest = 0
    while any(process.poll() is None for process in processes):
        largest = max(largest, path.stat().st_size if path.exists() else 0)
        time.sleep(0.05)

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert cache_info(path).size <= 2_000_000
    assert max(largest, path.stat().st_size) < 3_000_000  # one call's entries may come on top
    assert cache_info(path).entries > 500


@pytest.mark.slow
def test_a_million_entries_are_found_and_right(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    spec = DeterministicBackend(dim=256)
    cached = Cached(spec, path).start("model", "embedding")
    for first in range(0, 1_000_000, 10_000):
        prompts = [EmbedPrompt(str(number)) for number in range(first, first + 10_000)]
        cached.run(prompts, Limits()).result(600)
    some: list[Prompt] = [EmbedPrompt(str(n)) for n in random.sample(range(1_000_000), 5_000)]

    values = cached.run(some, Limits()).result(600).values
    cached.close()

    assert np.array_equal(values, run(spec, some).values)
    assert cache_info(path).entries == 1_000_000
