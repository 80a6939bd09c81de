"""The versions of the generic classes, and the environments they are installed in."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = {
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

SAME = ("torch==2.13.0", "transformers==5.23.0")
"""Versions that both sides use."""

DEFAULT = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "qwen3-rag" / "peers"


def python_of(framework: str, folder: Path) -> Path:
    """Return the Python of a framework's environment; create it if missing or outdated."""
    place = folder / framework
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = "\n".join((*SAME, *REQUIREMENTS[framework]))
    installed = place / "requirements.txt"
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        print(f"Installing {framework}'s peers in {place}", file=sys.stderr, flush=True)
        venv.create(place, clear=True, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *SAME, *REQUIREMENTS[framework]], check=True
        )
        installed.write_text(wanted, encoding="utf-8")
    return python
