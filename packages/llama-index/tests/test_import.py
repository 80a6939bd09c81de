"""What importing and making an adapter loads, and what a missing extra says."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag_testkit.imports import MODEL_LIBRARIES, loaded_by, run_python

SOURCE = Path(__file__).parents[1] / "src"

ADAPTERS = """
from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from llama_index.retrievers.qwen3_rag import QdrantBM25, Qwen3HybridRetriever
"""


def test_importing_and_making_loads_no_model_library_and_no_store() -> None:
    code = f"{ADAPTERS}\nQwen3Embedding(dim=512), Qwen3Rerank(top_n=3), QdrantBM25()"

    assert loaded_by(code, [*MODEL_LIBRARIES, "qwen3_rag_hybrid", "qdrant_client"]) == []


@pytest.mark.parametrize(
    "use",
    [
        "Qwen3Embedding.from_dict(Qwen3Embedding(dim=512).to_dict()).get_text_embedding('a')",
        "Qwen3Rerank().postprocess_nodes([NodeWithScore(node=TextNode(text='a'))], query_str='a')",
    ],
)
def test_a_missing_extra_shows_at_first_use_and_names_the_pip_line(use: str) -> None:
    code = f"""{ADAPTERS}
from llama_index.core.schema import NodeWithScore, TextNode
from qwen3_rag import InputError, MissingExtraError
try:
    Qwen3Embedding(dim=5)
except InputError as error:
    print("refused without torch, too")
try:
    {use}
except MissingExtraError as error:
    print(error)
"""
    printed = run_python(code, absent=["torch"])

    assert 'pip install "qwen3-rag[local]"' in printed
    assert "refused without torch" in printed


def test_no_package_file_lies_above_the_namespaces() -> None:
    above = [
        *(SOURCE / "llama_index").glob("__init__.py"),
        *(SOURCE / "llama_index").glob("*/__init__.py"),
    ]
    packages = sorted(path.parent for path in SOURCE.rglob("py.typed"))

    assert above == []
    assert [path.parent.name for path in packages] == ["embeddings", "postprocessor", "retrievers"]
