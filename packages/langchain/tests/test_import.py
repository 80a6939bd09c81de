"""What importing loads, and what a missing extra says."""

from __future__ import annotations

import pytest

from qwen3_rag_testkit.imports import MODEL_LIBRARIES, loaded_by, run_python


def test_importing_and_making_loads_no_model_library() -> None:
    code = """
from langchain_qwen3_rag import *
import langchain_qwen3_rag as package
package.Qwen3Embeddings(model="tiny").cache_namespace
package.Qwen3Rerank(model="tiny", top_n=3)
"""
    assert loaded_by(code, MODEL_LIBRARIES) == []


def test_importing_loads_no_optional_package() -> None:
    others = ["langchain_qdrant", "qdrant_client", "qwen3_rag_hybrid", "langchain_classic"]

    assert loaded_by("import langchain_qwen3_rag", others) == []


def test_a_missing_extra_names_the_pip_line() -> None:
    code = """
from qwen3_rag import MissingExtraError
try:
    from langchain_qwen3_rag import BM25SparseEmbeddings
except MissingExtraError as error:
    print(error)
"""
    said = run_python(code, absent=["langchain_qdrant"])

    assert 'pip install "langchain-qwen3-rag[qdrant]"' in said


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    import langchain_qwen3_rag

    assert langchain_qwen3_rag.__version__ == version("langchain-qwen3-rag")


def test_an_unknown_name_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="Qwen3Chat"):
        from langchain_qwen3_rag import Qwen3Chat  # noqa: F401  # the mistake
