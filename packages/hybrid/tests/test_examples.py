"""The examples of the README and of the guide run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_testkit.guides import run_examples
from qwen3_rag_testkit.qdrant_server import QdrantServer

PACKAGE = Path(__file__).parents[1]
# The tiny model's vectors are shorter than the published model's.
PAGES = {
    PACKAGE / "README.md": {},
    PACKAGE.parents[1] / "docs" / "hybrid.md": {"size=1024": "size=512"},
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the examples run the small pair")
    monkeypatch.chdir(tmp_path)

    names = run_examples(page, PAGES[page])

    names["searcher"].close()
    assert "rerank" in capsys.readouterr().out


def test_the_examples_of_the_qdrant_guide_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the examples run the small pair")
    pytest.importorskip("qdrant_edge", reason="qdrant-edge-py is not installed")
    monkeypatch.chdir(tmp_path)
    with QdrantServer() as server:
        replace = {'"http://localhost:6333"': f"{server.url!r}, check_compatibility=False"}

        names = run_examples(PACKAGE.parents[1] / "docs" / "qdrant.md", replace)

        names["searcher"].close()
        names["client"].close()
    assert "rerank" in capsys.readouterr().out


def test_the_examples_of_the_weaviate_guide_run(
    weaviate_address: dict[str, Any], collection: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the examples run the small pair")
    pytest.importorskip("langchain_weaviate", reason="langchain-weaviate is not installed")
    articles = f"{collection}_articles"
    replace = {
        '"Articles"': repr(articles),
        "with_local()": f"with_local(**{weaviate_address!r})",
        "to_local()": f"to_local(**{weaviate_address!r})",
        '"Documents"': repr(collection),
    }

    names = run_examples(PACKAGE.parents[1] / "docs" / "weaviate.md", replace)

    names["searcher"].close()
    names["client"].collections.delete(articles)
    names["client"].close()
    assert "rerank" in capsys.readouterr().out
