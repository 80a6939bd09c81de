"""Train the tiny checkpoints.

python -m tools.train_tiny --data ../shared --out shared/tiny/src/qwen3_rag_tiny
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from qwen3_rag.errors import Qwen3RagError
from tools.train_tiny.recipe import TinyRecipe, make_tiny


def main() -> int:
    """Train both checkpoints; report a missing folder or package without a traceback."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.train_tiny", description="Train the tiny checkpoints."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the training data")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoints")
    parser.add_argument(
        "--work", type=Path, default=Path("build/tiny"), help="intermediate results"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--embedder-steps", type=int, default=TinyRecipe.embedder_steps)
    parser.add_argument("--embedders", type=int, default=TinyRecipe.embedders)
    parser.add_argument("--reranker-steps", type=int, default=TinyRecipe.reranker_steps)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = time.monotonic()

    def report(line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - started:6.0f} s  {line}\n")
        sys.stdout.flush()

    recipe = TinyRecipe(
        data=arguments.data,
        work=arguments.work,
        output=arguments.out,
        seed=arguments.seed,
        embedder_steps=arguments.embedder_steps,
        embedders=arguments.embedders,
        reranker_steps=arguments.reranker_steps,
        progress=True,
    )
    try:
        make_tiny(recipe, report)
    except Qwen3RagError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
