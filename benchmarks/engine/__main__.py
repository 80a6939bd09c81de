"""Run the comparisons and print their tables.

python -m benchmarks.engine                           # takes about 15 minutes in bfloat16
python -m benchmarks.engine --quick                   # only checks that everything runs
python -m benchmarks.engine --texts 96 --documents 100 --json benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "true"  # otherwise tokenizers warns at each fork

import torch
from transformers.utils import logging

from benchmarks.engine import models
from benchmarks.engine.apart import alone
from benchmarks.engine.concurrency import concurrency
from benchmarks.engine.machine import machine, matmul_peak
from benchmarks.engine.memory import memory
from benchmarks.engine.sides import Setup
from benchmarks.engine.startup import cold_start, imports
from benchmarks.engine.tables import tables
from benchmarks.engine.throughput import embedding, reranking
from benchmarks.engine.timing import Row
from qwen3_rag.integration import device_report

SECTIONS = ("embedding", "reranking", "concurrency", "memory", "cold start", "import")

TINY = 2
"""Factor of the number of texts and documents for `tiny`."""


def main() -> None:
    """Measure, print and write the results."""
    options = _options()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(device_report().threads)  # as many as qwen3-rag uses
    settings = {
        name: value
        for name, value in vars(options).items()
        if name not in ("openvino", "json", "plot", "only", "quick")
    }
    about = {"machine": machine(options.device), "settings": settings}
    rows: list[Row] = []
    result = {**about, "rows": rows}
    with suppress(KeyboardInterrupt):  # print what has been measured so far
        for row in _rows(options):
            rows.append(row)
            if options.json:  # after each row, because a long run may be interrupted
                _write(result, options.json)
    print(tables(result))
    if options.plot:
        from benchmarks.engine.plot import plot

        plot(result, options.plot)


def _write(result: dict[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    setup = Setup(
        options.device,
        options.dtype,
        options.compile,
        options.peer_attention,
        options.sweep_layers,
    )
    big, small = models.cached(options.layers), models.tiny()
    if "embedding" in options.only:
        before = _matmul_peak(big, options)
    yield from _pair(big, setup, options, 1)
    if "embedding" in options.only:  # again, in case the machine was busy the first time
        for first, second in zip(before, _matmul_peak(big, options), strict=True):
            yield max(first, second, key=lambda row: row["flops"])
    if not options.quick:
        yield from _pair(small, replace(setup, dtype="float32"), options, TINY)
    if "memory" in options.only:
        tokens, longest = (500, 2_000) if options.quick else (8_000, 32_000)
        documents = options.memory_documents
        yield from memory(big, setup, documents=documents, tokens=tokens, longest=longest)
    if "import" in options.only:
        yield from imports(options.repeats)


def _matmul_peak(model: models.Model, options: argparse.Namespace) -> list[Row]:
    shapes = models.shapes(model.embedding)
    return alone(matmul_peak, model.name, shapes, options.device, options.dtype)


def _pair(
    model: models.Model, setup: Setup, options: argparse.Namespace, factor: int
) -> Iterator[Row]:
    """Measure what is measured on both the 0.6B and `tiny`."""
    repeats = options.repeats
    if "embedding" in options.only:
        yield from embedding(model, setup, factor * options.texts, repeats, options.openvino)
    if "reranking" in options.only:
        yield from reranking(model, setup, factor * options.documents, repeats)
    if "concurrency" in options.only:
        yield from alone(concurrency, model, setup, repeats)
    if "cold start" in options.only:
        yield from cold_start(model, setup, repeats)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description="Compare the local engine with other libraries, on a random 0.6B model.",
    )
    add = parser.add_argument
    add("--only", type=_sections, metavar="NAME,NAME", help=f"run some of: {', '.join(SECTIONS)}")
    add("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="dtype of the 0.6B")
    add("--layers", type=int, default=models.LAYERS, help="use only this many layers")
    add("--texts", type=int, default=16, help="texts per case; tiny gets twice as many")
    add("--documents", type=int, default=16, help="documents per case; tiny gets twice as many")
    add("--memory-documents", type=int, default=20, help="documents of 8,000 tokens")
    add("--repeats", type=int, default=3, help="rounds; the results are medians")
    add("--sweep-layers", type=int, default=7, help="layers used to find the peers' best batch")
    add("--compile", action="store_true", help="run qwen3-rag with compile=True")
    add("--device", default="cpu")
    add(
        "--peer-attention", metavar="NAME", help="attention of the peers, such as flash_attention_2"
    )
    add("--openvino", metavar="PYTHON", help="a Python with optimum-intel[openvino]")
    add("--json", type=Path, metavar="FILE", help="write the results to this file")
    add("--plot", type=Path, metavar="FILE.png", help="plot the ratios; needs matplotlib")
    add(
        "--quick",
        action="store_true",
        help="check that it runs: 2 layers, 4 texts, 1 round, only the first three sections",
    )
    options = parser.parse_args()
    if options.quick:
        options.layers, options.texts, options.documents, options.repeats = 2, 4, 4, 1
        options.memory_documents = 2
        options.only = options.only or SECTIONS[:3]
    options.only = options.only or SECTIONS
    return options


def _sections(text: str) -> tuple[str, ...]:
    sections = tuple(text.split(","))
    if unknown := set(sections) - set(SECTIONS):
        raise argparse.ArgumentTypeError(
            f"no section {', '.join(unknown)}; choose from {', '.join(SECTIONS)}"
        )
    return sections


if __name__ == "__main__":
    main()
