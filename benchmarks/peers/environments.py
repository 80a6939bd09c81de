"""The versions of the peers, and the environments they are installed in."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

SAME = ("torch==2.13.0", "transformers==5.23.0")
"""Versions that both sides of a framework use."""

FRAMEWORKS = {
    "langchain": (
        "langchain-huggingface[full]==1.2.3",
        "langchain-classic==1.0.8",
        "langchain-community==0.4.2",
        "sentence-transformers==5.7.0",
    ),
    "llama_index": (
        "llama-index-core==0.14.25",
        "llama-index-embeddings-huggingface==0.8.0",
        "llama-index-postprocessor-sbert-rerank==0.6.0",
        "sentence-transformers==6.2.0",
    ),
    "haystack": (
        "haystack-ai==3.4.0",
        "sentence-transformers-haystack==2.0.0",
        "sentence-transformers==6.2.0",
    ),
}
"""The newest versions, with the newest sentence-transformers that each allows."""

REQUIREMENTS = {
    **{name: (*SAME, *versions) for name, versions in FRAMEWORKS.items()},
    "stores": (
        "langchain-milvus==0.4.0",
        "langchain-qdrant==1.1.0",
        "langchain-weaviate==0.0.8",
        "llama-index-vector-stores-qdrant==0.10.4",
        "llama-index-vector-stores-weaviate==1.7.1",
        "milvus-haystack==0.1.0",
        "milvus-lite==3.2.2",
        "qdrant-haystack==13.1.0",
        "weaviate-haystack==8.0.0",
    ),
    # It pins another pymilvus than the other classes for Milvus.
    "llama_index_milvus": ("llama-index-vector-stores-milvus==1.2.0", "milvus-lite==3.2.2"),
    "remote": (
        "haystack-ai==3.4.0",
        "langchain-openai==1.7.4",
        "llama-index-embeddings-openai-like==0.4.0",
        "llama-index-postprocessor-jinaai-rerank==0.6.0",
        "llama-index-postprocessor-tei-rerank==0.6.0",
        "vllm-haystack==3.0.1",
    ),
    "bm25": ("bm25s==0.3.16", "PyStemmer==3.1.0", "qdrant-edge-py==0.9.0"),
}
"""What is installed in each environment."""

DEFAULT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "qwen3-rag" / "peers"


def python_of(name: str, folder: Path) -> Path:
    """Return the Python of an environment; create it if missing or outdated."""
    place = folder / name
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = "\n".join(REQUIREMENTS[name])
    installed = place / "requirements.txt"
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        print(f"Installing {name}'s peers in {place}", file=sys.stderr, flush=True)
        venv.create(place, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]], check=True)
        installed.write_text(wanted, encoding="utf-8")
    return python
