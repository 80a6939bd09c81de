"""Peak memory above that of the loaded model, each measured in a new process.

The child process opens a model, warms up on a short text, resets the peak and embeds. The result is
the difference between the new peak and the memory before. Linux only.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.engine.models import LAYERS, NARROW, QWEN3_0_6B, Model, checkpoint
from benchmarks.engine.sides import Setup, qwen3_rag_embedding, sentence_transformers
from benchmarks.engine.texts import Texts, log_normal
from benchmarks.engine.timing import QWEN3_RAG, Row, note

__all__ = ["memory"]

CUT = 2
"""Layers of the shortened 0.6B. Layers run in sequence, so depth hardly affects the peak."""

LENGTHS = list(range(8, 1_000, 4))
"""Lengths of single texts: libraries keep memory for every shape they have seen."""


def memory(
    model: Model, setup: Setup, *, documents: int, tokens: int, longest: int
) -> Iterator[Row]:
    """Measure the peaks.

    Args:
        model: The 0.6B; one row is measured on it.
        setup: Device and number format.
        documents: Number of long documents for the narrow model.
        tokens: Tokens of a long document.
        longest: Tokens of the longest document.

    Yields:
        Rows of the table.
    """
    if not Path("/proc/self/clear_refs").exists() or setup.device != "cpu":
        note("memory: measured on Linux and on the CPU only")
        return
    cut = checkpoint("embedding", {**QWEN3_0_6B, "num_hidden_layers": CUT})
    cut_name = f"0.6B cut to {CUT} of {LAYERS} layers"
    mixed = log_normal(180, 32)
    together = max(32, documents)  # all texts in one call
    works = [
        (QWEN3_RAG, cut_name, cut, mixed, together),
        ("sentence-transformers", cut_name, cut, mixed, together),
        (QWEN3_RAG, cut_name, cut, LENGTHS, 1),
        ("sentence-transformers", cut_name, cut, LENGTHS, 1),
        (QWEN3_RAG, cut_name, cut, [tokens] * 2, together),
        (QWEN3_RAG, cut_name, cut, [longest], together),
        (
            QWEN3_RAG,
            "one narrow layer",
            checkpoint("embedding", NARROW),
            [tokens] * documents,
            together,
        ),
        (QWEN3_RAG, model.name, model.embedding, [tokens], together),
    ]
    for who, name, folder, lengths, at_once in works:
        if at_once == 1:
            case = f"{len(lengths)} texts one by one, {lengths[0]} to {lengths[-1]} tokens"
        elif len(set(lengths)) == 1:
            case = f"{len(lengths):,} x {lengths[0]:,} tokens"
        else:
            case = f"{len(lengths)} texts, mixed, longest {max(lengths)} tokens"
        note(f"memory: {name}, {case}, {who}")
        work = {
            "who": who,
            "folder": str(folder),
            "lengths": lengths,
            "at_once": at_once,
            "setup": asdict(setup),
        }
        yield {
            "section": "memory",
            "model": name,
            "case": case,
            "who": who,
            "setting": "batch 32, its default" if who != QWEN3_RAG else "",
            **_run(work),
        }


def _run(work: Row) -> Row:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.engine.memory"],
        input=json.dumps(work),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    row: Row = json.loads(done.stdout)
    return row


def _child(work: Row) -> Row:
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder, setup = Path(work["folder"]), Setup(**work["setup"])
    if work["who"] == QWEN3_RAG:
        side = qwen3_rag_embedding(folder, setup, max_length=32_768)
    else:
        side = sentence_transformers(folder, setup)
    texts = Texts(folder).texts(work["lengths"])
    side.run(["warm up"], 32)
    ctypes.CDLL(None).malloc_trim(0)  # return to the system what loading has freed
    before = _kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    for start in range(0, len(texts), work["at_once"]):
        side.run(texts[start : start + work["at_once"]], 32)
    peak = _kilobytes("VmHWM")
    return {"before_mb": before / 1024, "above_mb": (peak - before) / 1024}


def _kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    print(json.dumps(_child(json.load(sys.stdin))))
