"""Hostile and damaged folders: each ends in a typed error or the right result, and harms nothing.

`hostile_folders.py` makes them by a generator and opens them in a process of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen3_rag import InputError, ModelError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.integration import resolve_checkpoint

MakeCheckpoint = Callable[..., Path]

SCRIPT = Path(__file__).with_name("hostile_folders.py")
COUNTS = {"configurations": 60, "weights": 60, "tokenizers": 10}

# A folder takes a tenth of a second; these are bounds for hanging and for taking memory.
SECONDS_OF_CPU = 2.0
SECONDS = 30.0
MEMORY = 2**30


def hostile(work: Path, counts: dict[str, int]) -> list[dict[str, Any]]:
    """Open hostile folders in a process of their own."""
    kinds = [f"{kind}:{count}" for kind, count in counts.items()]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(work), *kinds],
        capture_output=True,
        text=True,
        timeout=60 + 10 * sum(counts.values()),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, len(reports)) == (0, sum(counts.values())), done.stderr[-3_000:]
    return reports


def faults(report: dict[str, Any]) -> list[str]:
    """List what is wrong with the way in which a hostile folder was opened."""
    message = report.get("message", "")
    # A pattern of a tokenizer fails only when a text meets it.
    while_running = report.get("error") == "BackendError" and "could not be run" in message
    found = {
        "neither a ModelError nor a result": not (
            report.get("error") == "ModelError" or while_running or "difference" in report
        ),
        "a wrong result": not report.get("difference", 0.0) < 1e-4,
        "a long message": len(message) >= 1_000,
        "the model beside it was wrong": not report["beside"] < 1e-4,
        "code was run": report["code"],
        "the network was asked": bool(report["network"]),
        "time": report["cpu"] > SECONDS_OF_CPU or report["wall"] > SECONDS,
        "memory": report["memory"] > MEMORY,
    }
    return [fault for fault, is_there in found.items() if is_there]


@pytest.fixture
def work(tmp_path: Path, embedding_folder: Path, reranking_folder: Path) -> Path:
    if sys.platform != "linux":
        pytest.skip("limits of memory and named pipes are tried on Linux")
    shutil.copytree(embedding_folder, tmp_path / "embedding")
    shutil.copytree(reranking_folder, tmp_path / "reranking")
    return tmp_path


def test_a_tenth_of_the_hostile_folders_does_no_harm(work: Path) -> None:
    reports = hostile(work, {kind: count // 10 for kind, count in COUNTS.items()})

    assert not [(fault, report) for report in reports for fault in faults(report)]


@pytest.mark.slow
def test_hostile_folders_do_no_harm(work: Path) -> None:
    reports = hostile(work, COUNTS)

    assert not [(fault, report) for report in reports for fault in faults(report)]
    # The generator makes both kinds.
    assert sum("error" in report for report in reports) > 60
    assert sum("difference" in report for report in reports) > 6
