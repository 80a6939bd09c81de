"""The adapters' own tests with their models on a server: some of them, or with `slow` all."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the stand-ins compute with transformers")

ROOT = Path(__file__).parents[2]
SOME = (
    "packages/langchain/tests/test_suites.py::TestEmbeddingsIntegration",
    "packages/langchain/tests/test_suites.py::TestRerankRetriever",
    "packages/langchain/tests/test_suites.py::TestInMemoryVectorStore",
    "packages/llama-index/tests/test_pipeline.py",
    "packages/haystack/tests/test_pipelines.py",
)
ALL = ("packages/langchain", "packages/llama-index", "packages/haystack")


def run(tests: Sequence[str], server: str) -> None:
    """Run tests in a process of their own, and expect all to pass."""
    # Not about warnings: old releases of the frameworks emit some.
    options = ["-q", "-W", "default", "-p", "no:cacheprovider", f"--models-on={server}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-5_000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 30


def test_some_of_the_adapters_tests_pass_on_a_server() -> None:
    run(SOME, "vllm")


@pytest.mark.slow
@pytest.mark.parametrize("server", ["vllm", "llama.cpp"])
def test_all_of_the_adapters_tests_pass_on_a_server(server: str) -> None:
    if server == "llama.cpp":
        pytest.importorskip("xllamacpp", reason="llama.cpp's server is not installed")
        pytest.importorskip("gguf", reason="the writer of llama.cpp's files is not installed")
    run(ALL, server)
