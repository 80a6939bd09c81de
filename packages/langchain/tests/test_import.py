"""What importing loads, and what a missing extra says."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    path = f"import sys; sys.path[:0] = {list(filter(None, sys.path))!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", path + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_and_making_loads_no_model_library_and_no_store() -> None:
    code = """
from langchain_qwen3_rag import *
import langchain_qwen3_rag as package
package.Qwen3Embeddings(model="tiny").cache_namespace
package.Qwen3Rerank(model="tiny", top_n=3)
heavy = ("torch", "transformers", "tokenizers", "huggingface_hub")
print([name for name in heavy if name in sys.modules])
"""
    assert run(code) == "[]"


def test_importing_loads_no_optional_package() -> None:
    code = """
import langchain_qwen3_rag
others = ("langchain_qdrant", "qdrant_client", "qwen3_rag_hybrid", "langchain_classic")
print([name for name in others if name in sys.modules])
"""
    assert run(code) == "[]"


def test_a_missing_extra_names_the_pip_line() -> None:
    code = """
sys.modules["langchain_qdrant"] = None
from qwen3_rag import MissingExtraError
try:
    from langchain_qwen3_rag import BM25SparseEmbeddings
except MissingExtraError as error:
    print(error)
"""
    assert 'pip install "langchain-qwen3-rag[qdrant]"' in run(code)


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    import langchain_qwen3_rag

    assert langchain_qwen3_rag.__version__ == version("langchain-qwen3-rag")


def test_an_unknown_name_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="Qwen3Chat"):
        from langchain_qwen3_rag import Qwen3Chat  # noqa: F401  # the mistake
