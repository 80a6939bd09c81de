"""Measures what `Remote` costs beside a plain `httpx.post` of the same texts to llama.cpp.

    python -m benchmarks.remote.overhead [--rounds N] [--json FILE]

Both sides embed the same texts on one server, by turns. Reported are the medians of the time until
the vectors are there and of the processor time of this process, which leaves the server's out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from qwen3_rag import Qwen3Embedder, Remote
from qwen3_rag_testkit.llama_cpp import LlamaCppServer, write_gguf
from qwen3_rag_tiny import embedding_folder

TEXTS = 64
WORDS = 197
"""Words of a text, which make 200 tokens with a number and the end token."""

PATIENCE = 600.0
"""Seconds that a request may take, on a machine with other work."""


def texts_of(number: int) -> list[str]:
    """Make texts that no round has seen before, so that nothing is remembered."""
    return [f"{number * TEXTS + index} " + "word " * WORDS for index in range(TEXTS)]


def main() -> None:
    """Measure both sides."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.remote.overhead")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "tiny.gguf"
        write_gguf(embedding_folder(), file, "embedding")
        with (
            LlamaCppServer(file, "embedding") as server,
            Qwen3Embedder("tiny", backend=Remote(server.url, timeout=PATIENCE)) as embedder,
        ):

            def post(texts: list[str]) -> Any:
                answer = httpx.post(
                    f"{server.url}/v1/embeddings", json={"input": texts}, timeout=PATIENCE
                )
                return np.asarray(
                    [one["embedding"] for one in answer.json()["data"]], dtype=np.float32
                )

            sides: dict[str, Callable[[list[str]], Any]] = {
                "httpx.post": post,
                "Remote": embedder.embed_documents,
            }
            found = measure(sides, arguments.rounds)
    wall, cpu = ([found[name][kind] for name in sides] for kind in ("seconds", "cpu_seconds"))
    print(f"{found['tokens'] / TEXTS:.0f} tokens in each of {TEXTS} texts, medians of rounds:")
    for name in sides:
        print(
            f"  {name:10}  {found[name]['seconds']:.3f} s, {found[name]['cpu_seconds']:.4f} s CPU"
        )
    print(f"  Remote takes {100 * (wall[1] / wall[0] - 1):+.1f} % of the time more, and")
    print(f"  {100 * (cpu[1] - cpu[0]) / wall[0]:+.1f} % of it in processor time.")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measure(sides: dict[str, Callable[[list[str]], Any]], rounds: int) -> dict[str, Any]:
    """Run both sides by turns, each round in the other order."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        names = [*sides][:: 1 if number % 2 else -1]
        for name in names:
            texts = texts_of(number * len(sides) + names.index(name))
            start, cpu = time.perf_counter(), time.process_time()
            assert sides[name](texts).shape[0] == TEXTS
            spent = time.perf_counter() - start, time.process_time() - cpu
            if number:  # the first round connects and loads
                times[name].append(spent)
    medians = {
        name: dict(
            zip(
                ("seconds", "cpu_seconds"),
                map(statistics.median, zip(*spent, strict=True)),
                strict=True,
            )
        )
        for name, spent in times.items()
    }
    with Qwen3Embedder("tiny") as here:
        tokens = here.embed_documents(texts_of(0), details=True).tokens
    return {"texts": TEXTS, "tokens": sum(tokens or ()), "rounds": rounds, **medians}


if __name__ == "__main__":
    main()
