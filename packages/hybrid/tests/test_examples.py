"""The examples of the README and of the guide run."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag_testkit.guides import run_examples

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
