"""The pages about clients: every example is run against a server."""

from __future__ import annotations

import gc
import json
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_server import RunningServer, Served
from qwen3_rag_testkit.guides import run_examples

PAGES = Path(__file__).resolve().parents[3] / "docs" / "clients"
ADDRESS = "http://127.0.0.1:8080"

#: What a page's examples import, for the reason to skip.
NEEDED = {
    "openai": "openai",
    "langchain-openai": "langchain_openai",
    "llama-index": "llama_index.embeddings.openai_like",
    "haystack": "haystack",
    "cohere": "cohere",
    "weaviate": "weaviate",
    "milvus": "pymilvus",
}

pytestmark = pytest.mark.skipif(not PAGES.exists(), reason="the pages are in the repository alone")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with (
        Qwen3Embedder("tiny") as embedder,
        Qwen3Reranker("tiny") as reranker,
        RunningServer(Served(embedder, reranker), port=0) as server,
    ):
        yield server.url


def _blocks(page: str, language: str, address: str) -> list[str]:
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8").replace(ADDRESS, address)
    text = re.sub(r"Qwen/Qwen3-(Embedding|Reranker)-0\.6B", "tiny", text)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_page_is_linked_and_known() -> None:
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README"}
    linked = re.findall(r"\(([\w-]+)\.md\)", (PAGES / "README.md").read_text(encoding="utf-8"))
    assert pages == {*linked} == {*NEEDED, "curl", "javascript"}


@pytest.mark.parametrize("page", NEEDED)
def test_the_python_of_a_page_runs(page: str, address: str) -> None:
    if find_spec(NEEDED[page].partition(".")[0]) is None or find_spec(NEEDED[page]) is None:
        pytest.skip(f"{NEEDED[page]} is not installed")
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    python = "".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))
    names = run_examples(PAGES / f"{page}.md", {ADDRESS: address} if ADDRESS in python else None)
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        names.clear()  # the clients leave their connections open
        gc.collect()


def test_the_lines_for_curl_run(address: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    version = re.findall(r"^curl (\d+)\.(\d+)", _run("curl", "--version"))[0]
    if tuple(map(int, version)) < (7, 82):
        pytest.skip("curl is older than --json")
    embed, rerank, state = _blocks("curl", "sh", address)

    assert len(json.loads(_run("sh", "-c", embed))["data"][0]["embedding"]) == 64
    [best] = json.loads(_run("sh", "-c", rerank))["results"]
    assert best["document"]["text"] == "Paris is the capital of France."
    assert '"tiny:query"' in _run("sh", "-ec", state)


@pytest.mark.parametrize("index", [0, 1])
def test_the_javascript_runs_in_node(index: int, address: str, tmp_path: Path) -> None:
    node: Any = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    block = _blocks("javascript", "js", address)[index]
    script = tmp_path / "example.mjs"
    script.write_text(block, encoding="utf-8")
    if 'from "openai"' in block:
        found = subprocess.run([node, "-e", "require('openai')"], capture_output=True, check=False)
        if found.returncode:
            pytest.skip("node has no package openai")
    _run(node, str(script))
