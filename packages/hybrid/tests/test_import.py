"""What importing loads, and what a missing extra says."""

from __future__ import annotations

import pytest

from qwen3_rag_testkit.imports import MODEL_LIBRARIES, loaded_by, run_python


def test_importing_loads_no_client_and_no_torch() -> None:
    heavy = ("pymilvus", "qdrant_client", "qdrant_edge", "weaviate", *MODEL_LIBRARIES)

    assert loaded_by("import qwen3_rag_hybrid", heavy) == []


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("MilvusStore", "pymilvus", "milvus"),
        ("QdrantEdgeStore", "qdrant_edge", "edge"),
        ("QdrantStore", "qdrant_client", "qdrant"),
        ("WeaviateStore", "weaviate", "weaviate"),
    ],
)
def test_a_missing_extra_names_the_pip_line(name: str, module: str, extra: str) -> None:
    code = f"""
from qwen3_rag import MissingExtraError
try:
    from qwen3_rag_hybrid import {name}
except MissingExtraError as error:
    print(error)
"""
    assert f'pip install "qwen3-rag-hybrid[{extra}]"' in run_python(code, absent=[module])


@pytest.mark.parametrize(
    ("name", "other"), [("QdrantEdgeStore", "qdrant_client"), ("QdrantStore", "qdrant_edge")]
)
def test_one_store_does_not_load_another(name: str, other: str) -> None:
    assert loaded_by(f"from qwen3_rag_hybrid import {name}", [other]) == []


def test_an_unknown_name_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="NoSuchStore"):
        from qwen3_rag_hybrid import NoSuchStore  # noqa: F401  # the import is what is tested
