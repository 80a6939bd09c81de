"""What importing and making components loads."""

from __future__ import annotations

from qwen3_rag_testkit.imports import loaded_by, run_python

IMPORTS = """
from haystack_integrations.components.embedders.qwen3_rag import (
    BM25SparseDocumentEmbedder, BM25SparseTextEmbedder, Qwen3DocumentEmbedder,
    Qwen3TextEmbedder,
)
from haystack_integrations.components.rankers.qwen3_rag import Qwen3Ranker
from haystack_integrations.components.retrievers.qwen3_rag import Qwen3HybridRetriever
"""


def test_neither_import_nor_construction_loads_a_model_library_or_a_client() -> None:
    code = f"""{IMPORTS}
from haystack.document_stores.in_memory import InMemoryDocumentStore
retriever = Qwen3HybridRetriever(
    InMemoryDocumentStore(), Qwen3TextEmbedder(), ranker=Qwen3Ranker()
)
retriever.to_dict(), Qwen3DocumentEmbedder().to_dict()
"""
    heavy = ["transformers", "tokenizers", "qdrant_client", "qwen3_rag_hybrid"]

    # Haystack itself imports torch where it is installed; it must not be needed for more.
    assert loaded_by(code, heavy, absent=["torch"]) == []


def test_nothing_but_haystack_imports_torch() -> None:
    code = f"""
import haystack.utils, sys
before = set(sys.modules)
{IMPORTS}
print([name for name in set(sys.modules) - before if name.split(".")[0] == "torch"])
"""
    assert run_python(code) == "[]"
