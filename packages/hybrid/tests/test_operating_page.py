"""The examples of docs/operating.md run, and the service on it answers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import Qwen3Embedder
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore
from qwen3_rag_testkit.guides import examples

PAGE = Path(__file__).parents[3] / "docs" / "operating.md"
TINY = {f"Qwen/Qwen3-{kind}-0.6B": "tiny" for kind in ("Embedding", "Reranker")}


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the examples run the small pair")
    pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "operating"}
    # The levels that the page sets are for the reader's process.
    monkeypatch.setattr("logging.Logger.setLevel", lambda logger, level: None)
    ran = 0

    for example in examples(PAGE, TINY):
        if "fastapi" in example.code and find_spec("fastapi") is None:
            continue
        example.run(names)
        ran += 1
        if "app" in names and "asked" not in names:
            names["asked"] = ask(names["app"])

    assert capsys.readouterr().out.split() == ["1", "france"]
    assert ran >= 5
    assert texts_in(tmp_path / "cleaned") == [True, False]


def texts_in(folder: Path) -> list[bool]:
    """Whether the files of a collection have the text that was kept, and the one deleted."""
    data = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return [b"Paris is the capital" in data, b"E_4711 means" in data]


def ask(app: Any) -> bool:
    """Use the service as its clients do, and write meanwhile."""
    from starlette.testclient import TestClient

    with TestClient(app) as client:
        hits = client.get("/search", params={"question": "capital of France", "limit": 1}).json()
        empty = client.get("/search", params={"question": " "})
        with HybridSearcher(QdrantEdgeStore("index"), Qwen3Embedder("tiny")) as writer:
            writer.add([Document("spain", "Madrid is the capital of Spain.", {"path": "s.md"})])
            assert client.post("/refresh").json() is False
            writer.store.publish()  # type: ignore[attr-defined]  # Edge's own
        assert client.post("/refresh").json() is True
        found = client.get("/search", params={"question": "the capital of Spain"}).json()
        with HybridSearcher(QdrantEdgeStore("index"), Qwen3Embedder("tiny")) as writer:
            writer.delete(["spain"])
            writer.store.publish()  # type: ignore[attr-defined]  # Edge's own
    assert [hit["id"] for hit in hits] == ["france"]
    assert hits[0]["text"] == "Paris is the capital of France."
    assert 0 < hits[0]["score"] < 1
    assert empty.status_code == 422
    assert "empty" in empty.json()["detail"]
    assert found[0]["id"] == "spain"
    return True
