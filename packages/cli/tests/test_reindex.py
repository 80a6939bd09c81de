"""Collections are embedded anew, and BM25 terms renewed, from the command line."""

from __future__ import annotations

import shutil
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore, open_store
from qwen3_rag_testkit.qdrant_server import QdrantServer
from qwen3_rag_testkit.store_corpus import make_embedder


def at(server: QdrantServer, name: str) -> str:
    return f"{server.url.replace('http:', 'qdrant:')}/{name}"


def test_an_index_of_another_size_is_used_like_the_old_one(
    cli: Any, notes: Path, server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(notes)
    old, new = at(server, "old"), at(server, "new")
    cli.index(".", "--store", old, *cli.models)

    said = cli.run("reindex", old, new, "--dim", "32", "--json")
    again = cli.run("reindex", old, new, "--dim", "32", "--json")
    updated = cli.index(".", "--store", new)
    [best, *_] = cli.hits("What color is the roof?", new, "--filter", "path=notes/roof.md")

    assert said.code == 0, said.err
    told = {"source": old, "target": new, "model": str(cli.embedding), "documents": 5}
    assert said.json == {**told, "embedded": 5, "alias": None}
    assert again.json["embedded"] == 0
    assert (updated["embedded"], updated["removed"], updated["chunks"]) == (0, 0, 5)
    assert best["path"] == "notes/roof.md"
    with closing(open_store(new)) as store:
        record = store.record()
    assert record is not None
    assert record.dim == 32


def test_an_index_of_another_model_is_searched_with_that_model(
    cli: Any, notes: Path, server: QdrantServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(notes)
    old, new = at(server, "old"), at(server, "new")
    other = shutil.copytree(cli.embedding, tmp_path / "other")
    settings = (other / "config.json").read_text()
    assert '"rope_theta"' in settings or '"rms_norm_eps"' in settings
    (other / "config.json").write_text(
        settings.replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05')
    )
    cli.index(".", "--store", old, *cli.models)

    said = cli.run("reindex", old, new, "--model", other, "--reranker", cli.reranking)
    found = cli.run("doctor", "--store", new, "--no-measure", "--json").json

    assert said.code == 0, said.err
    assert "embedded" in said.out
    assert str(other) in found["models"]["embedding"]
    assert str(cli.reranking) in found["models"]["reranking"]
    assert found["index"]["state"] == "sound"
    assert cli.hits("roof", new)


def test_a_killed_run_is_continued(
    cli: Any,
    corpus: Any,
    server: QdrantServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("this system has no SIGKILL")
    old, new = at(server, "old"), at(server, "new")
    corpus.made(tmp_path / "tree", 150)
    monkeypatch.chdir(tmp_path / "tree")
    cli.index(".", *cli.models, "--store", old)
    writes = 0

    def kill(request: str) -> None:
        nonlocal writes
        writes += request.startswith("PUT") and request.endswith("/collections/new/points")
        if writes == 1:
            process.send_signal(signal.SIGKILL)

    with cli.start("reindex", old, new, "--quiet") as process:
        server.on_request = kill
        process.wait(timeout=240)
    server.on_request = None
    with closing(open_store(old)) as store:
        expected = {point.document.id: point.document for point in store.scan()}
    with closing(open_store(new)) as store:
        left = len(expected) - store.count()
    done = cli.run("reindex", old, new, "--json")

    assert process.returncode == -signal.SIGKILL
    assert 0 < left < len(expected)
    assert done.json["embedded"] == left
    with closing(open_store(new)) as store:
        assert {point.document.id: point.document for point in store.scan()} == expected


def test_terms_are_renewed_without_a_model(cli: Any, tmp_path: Path) -> None:
    documents = [Document(number, f"the error E_{number}") for number in range(250)]
    with HybridSearcher(QdrantEdgeStore(tmp_path / "index"), make_embedder()) as searcher:
        searcher.create(sample=["a much longer text " * 50] * 200)
        searcher.add(documents)

    first = cli.run("reindex", tmp_path / "index", "--lexical", "--json")
    again = cli.run("reindex", tmp_path / "index", "--lexical", "--json")

    assert (first.json["renewed"], again.json["renewed"]) == (250, 0)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["INDEX", "milvus:x.db/new"], 2, "belongs to its files"),
        (["qdrant://127.0.0.1:1/old", "INDEX"], 2, "belongs to its files"),
        (["INDEX"], 2, "SOURCE and TARGET, or SOURCE and --lexical"),
        (["INDEX", "milvus:x.db/new", "--lexical"], 2, "SOURCE and TARGET, or SOURCE and"),
        (["INDEX", "--lexical", "--dim", "32"], 2, "stands alone"),
        (["nowhere", "--lexical"], 3, "no index at"),
        (["qdrant://127.0.0.1:1/old", "qdrant://127.0.0.1:1/new"], 3, "Check that Qdrant runs"),
    ],
)
def test_what_cannot_be_done_is_an_error_that_says_what_to_do(
    cli: Any, indexed: Path, arguments: list[str], code: int, told: str
) -> None:
    said = cli.run("reindex", *(str(indexed) if a == "INDEX" else a for a in arguments))

    assert said.code == code
    assert told in said.err
