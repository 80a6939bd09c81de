"""What importing and making components loads."""

from __future__ import annotations

import subprocess
import sys

IMPORTS = """
from haystack_integrations.components.embedders.qwen3_rag import (
    BM25SparseDocumentEmbedder, BM25SparseTextEmbedder, Qwen3DocumentEmbedder,
    Qwen3TextEmbedder,
)
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from haystack_integrations.components.retrievers.qwen3_rag import Qwen3HybridRetriever
"""


def run(code: str) -> str:
    path = f"import sys; sys.path[:0] = {list(filter(None, sys.path))!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", path + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_neither_import_nor_construction_loads_a_model_library_or_a_client() -> None:
    # Haystack itself imports torch where it is installed; it must not be needed for more.
    code = f"""
sys.modules["torch"] = None
{IMPORTS}
from haystack.document_stores.in_memory import InMemoryDocumentStore
retriever = Qwen3HybridRetriever(
    InMemoryDocumentStore(), Qwen3TextEmbedder(), ranker=Qwen3Ranker()
)
retriever.to_dict(), Qwen3DocumentEmbedder().to_dict()
heavy = ("transformers", "tokenizers", "qdrant_client", "qwen3_rag_hybrid")
print([name for name in heavy if name in sys.modules])
"""
    assert run(code) == "[]"


def test_nothing_but_haystack_imports_torch() -> None:
    code = f"""
import haystack.utils
before = set(sys.modules)
{IMPORTS}
print([name for name in set(sys.modules) - before if name.split(".")[0] == "torch"])
"""
    assert run(code) == "[]"
