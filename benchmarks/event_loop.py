"""Responsiveness of an event loop while 200 requests run on a model in the same process.

    python benchmarks/event_loop.py [--model FOLDER] [--json FILE]

The comparison is sentence-transformers behind `asyncio.to_thread`, which is what the frameworks'
generic classes do. Both run in this process, one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import torch

from qwen3_rag import Qwen3Embedder
from qwen3_rag_testkit.checkpoints import write_checkpoint

REQUESTS = 200
TICK = 0.001


async def measure(call: Callable[[str], Awaitable[object]]) -> dict[str, float]:
    """Run all requests concurrently while another task ticks."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK)
            late.append(time.perf_counter() - before - TICK)

    ticking = asyncio.create_task(tick())
    start = time.perf_counter()
    done = await asyncio.gather(
        *(call(f"text {i} " + "word " * (i % 50)) for i in range(REQUESTS)), return_exceptions=True
    )
    seconds = time.perf_counter() - start
    ticking.cancel()
    milliseconds = 1000 * np.asarray(late)
    return {
        "seconds": seconds,
        "failures": sum(isinstance(result, BaseException) for result in done),
        "ticks": len(late),
        "tick_delay_p50_ms": float(np.percentile(milliseconds, 50)),
        "tick_delay_p99_ms": float(np.percentile(milliseconds, 99)),
        "tick_delay_max_ms": float(milliseconds.max()),
        "threads": threading.active_count(),
    }


def measure_qwen3_rag(folder: str) -> dict[str, float]:
    """Measure `aembed_documents`."""
    with Qwen3Embedder(folder, dtype="float32", device="cpu") as embedder:
        embedder.embed_documents(["warm up"])
        return asyncio.run(measure(lambda text: embedder.aembed_documents([text])))


def measure_sentence_transformers(folder: str) -> dict[str, float]:
    """Measure `SentenceTransformer.encode` in a thread per call."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})
    model.encode(["warm up"])
    return asyncio.run(measure(lambda text: asyncio.to_thread(model.encode, [text])))


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a checkpoint folder; a small random one when omitted")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.model or str(write_checkpoint(Path(temporary) / "model", "embedding"))
        results = {
            "qwen3-rag": measure_qwen3_rag(folder),
            "sentence-transformers in threads": measure_sentence_transformers(folder),
        }
    print(f"{REQUESTS} concurrent requests on one event loop\n")
    for name in next(iter(results.values())):
        row = "".join(f"{result[name]:>14.2f}" for result in results.values())
        print(f"{name:<20}{row}")
    print(" " * 20 + "".join(f"{name.split()[0]:>14.13}" for name in results))
    if options.json:
        report = {"machine": platform.processor() or platform.machine(), "results": results}
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
