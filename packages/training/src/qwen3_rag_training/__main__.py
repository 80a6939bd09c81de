"""`python -m qwen3_rag_training train-embedder|train-reranker|merge`.

Argument parsing only, for use where the project's command line is not installed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qwen3_rag.errors import Qwen3RagError
from qwen3_rag_training import (
    EmbeddingTraining,
    Merging,
    RerankingTraining,
    Schedule,
    merge,
    train_embedder,
    train_reranker,
)

_SETTINGS = ("steps", "batch_size", "learning_rate", "seed", "block", "save_every")


def _training_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="checkpoint to start from")
    parser.add_argument("--data", type=Path, required=True, help="JSON lines to train on")
    parser.add_argument("--output", type=Path, required=True, help="folder for the result")
    parser.add_argument("--held-out", type=Path, help="JSON lines to evaluate on")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--block", type=int, default=1, help="lines that stay neighbours")
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--negatives", type=int, default=1)
    parser.add_argument("--max-query-tokens", type=int, default=256)
    parser.add_argument("--max-document-tokens", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m qwen3_rag_training", description=__doc__)
    jobs = parser.add_subparsers(dest="job", required=True)
    embedder = jobs.add_parser("train-embedder", help="contrastive fine-tuning")
    _training_arguments(embedder)
    embedder.add_argument("--temperature", type=float, default=0.05)
    embedder.add_argument("--dims", type=int, nargs="*", default=[], help="MRL sizes")
    _training_arguments(jobs.add_parser("train-reranker", help="fine-tuning on yes and no"))
    merging = jobs.add_parser("merge", help="SLERP of two or more checkpoints")
    merging.add_argument("models", type=Path, nargs="+")
    merging.add_argument("--output", type=Path, required=True)
    merging.add_argument("--shares", type=float, nargs="*")
    return parser


def _run(arguments: argparse.Namespace) -> str:
    given = vars(arguments)
    job = given.pop("job")
    if job == "merge":
        shares = tuple(given["shares"]) if given["shares"] else None
        config = Merging(models=tuple(given["models"]), output=given["output"], shares=shares)
        report = merge(config)
        largest = report.largest
        return (
            f"{len(report.tensors)} tensors merged into {report.folder}; largest angle "
            f"{max(largest.angles):.4f} rad in {largest.name}"
        )
    schedule = Schedule(**{name: given.pop(name) for name in _SETTINGS})
    if job == "train-embedder":
        given["dims"] = tuple(given["dims"])
        run = train_embedder(EmbeddingTraining(schedule=schedule, **given), progress=True)
    else:
        run = train_reranker(RerankingTraining(schedule=schedule, **given), progress=True)
    return f"{run.folder}: loss {run.loss:.4f} {run.evaluation}"


def main() -> int:
    """Run one job; a wrong argument or file ends with one line, not a traceback."""
    try:
        sys.stdout.write(_run(_parser().parse_args()) + "\n")
    except Qwen3RagError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
