"""Time from the start of a process to the first vector, and import time.

Each program runs once before it is timed, so files are in the page cache.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.engine.models import Model
from benchmarks.engine.sides import Setup
from benchmarks.engine.timing import QWEN3_RAG, Row, note, seconds

__all__ = ["cold_start", "imports"]

QWEN3_RAG_FIRST = """
from qwen3_rag import Qwen3Embedder
Qwen3Embedder({folder!r}, **{settings!r}).embed_documents(["first"])
"""

PEER_FIRST = """
import torch
from transformers.utils import logging
from sentence_transformers import SentenceTransformer
logging.disable_progress_bar()
settings = dict(device={device!r}, model_kwargs=dict(dtype=torch.{dtype}))
SentenceTransformer({folder!r}, **settings).encode(["first"])
"""

IMPORTS = {
    QWEN3_RAG: "from qwen3_rag import Qwen3Embedder; Qwen3Embedder('tiny')",
    "sentence-transformers": "from sentence_transformers import SentenceTransformer",
    "an empty program": "pass",
}


def cold_start(model: Model, setup: Setup, repeats: int) -> Iterator[Row]:
    """Time processes that embed one text.

    Yields:
        Rows of the table.
    """
    note(f"{model.name}: cold start")
    folder = str(model.embedding)
    own = QWEN3_RAG_FIRST.format(folder=folder, settings=setup.options)
    peer = PEER_FIRST.format(folder=folder, device=setup.device, dtype=setup.dtype)
    about = {"section": "cold start", "model": model.name, "case": "start to first vector"}
    yield from _times({QWEN3_RAG: own, "sentence-transformers": peer}, repeats, about)


def imports(repeats: int) -> Iterator[Row]:
    """Time processes that only import.

    Yields:
        Rows of the table.
    """
    note("import time")
    yield from _times(IMPORTS, repeats, {"section": "import", "model": "", "case": "import"})


def _times(programs: dict[str, str], repeats: int, about: Row) -> Iterator[Row]:
    runs: dict[str, list[float]] = {who: [] for who in programs}
    for program in programs.values():
        _start(program)
    for _ in range(repeats):
        for who, program in programs.items():
            runs[who].append(seconds(_start, program))
    for who, times in runs.items():
        yield {**about, "who": who, "setting": "", "runs": times}


def _start(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
