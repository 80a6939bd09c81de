"""What importing and making an adapter loads, and what a missing extra says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

HEAVY = ("qwen3_rag_hybrid", "qdrant_client", "torch", "transformers", "tokenizers")

ADAPTERS = """
from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from llama_index.retrievers.qwen3_rag import QdrantBM25, Qwen3HybridRetriever
"""


def run(code: str) -> str:
    path = f"import sys; sys.path[:0] = {list(filter(None, sys.path))!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", path + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_and_making_loads_no_model_library_and_no_store() -> None:
    code = f"""{ADAPTERS}
Qwen3Embedding(dim=512), Qwen3Rerank(top_n=3), QdrantBM25()
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    assert run(code) == "[]"


@pytest.mark.parametrize(
    "use",
    [
        "Qwen3Embedding.from_dict(Qwen3Embedding(dim=512).to_dict()).get_text_embedding('a')",
        "Qwen3Rerank().postprocess_nodes([NodeWithScore(node=TextNode(text='a'))], query_str='a')",
    ],
)
def test_a_missing_extra_shows_at_first_use_and_names_the_pip_line(use: str) -> None:
    code = f"""
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
{ADAPTERS}
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
    assert 'pip install "qwen3-rag[local]"' in run(code)
    assert "refused without torch" in run(code)


def test_no_package_file_lies_above_the_leaves() -> None:
    above = [
        *(SOURCE / "llama_index").glob("__init__.py"),
        *(SOURCE / "llama_index").glob("*/__init__.py"),
    ]
    leaves = sorted(path.parent for path in SOURCE.rglob("py.typed"))

    assert above == []
    assert [leaf.parent.name for leaf in leaves] == ["embeddings", "postprocessor", "retrievers"]
