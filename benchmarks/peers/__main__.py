"""Compares the frameworks' generic classes with this project's, on Qwen3 models.

    python -m benchmarks.peers [--only NAME ...] [--data FOLDER [--collection NAME]] [--json FILE]

For each framework, its generic classes with common settings and this project's classes run the same
checkpoint, collection and checks, in float32 on the CPU, one after the other. The generic classes
are installed in separate environments on the first run (torch three times; pip settings such as
PIP_EXTRA_INDEX_URL apply). Only defects that occur in this run are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.peers.collection import ROOT, collection
from benchmarks.peers.environments import DEFAULT, FRAMEWORKS, python_of
from benchmarks.peers.probes import CODE, QUERY, best
from benchmarks.peers.table import defects, table
from benchmarks.tiny_quality import COLLECTIONS, Collection
from qwen3_rag import DEFAULT_INSTRUCTION
from qwen3_rag_tiny import embedding_folder, reranking_folder
from qwen3_rag_training.evaluation import ndcg


def card_vectors(folder: Path, texts: Sequence[str]) -> list[list[float]]:
    """Embed texts one by one with the model card's procedure: last token's state, normalised."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32)
    vectors = []
    for text in texts:
        with torch.inference_mode():
            state = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, -1]
        vectors.append((state / state.norm()).tolist())
    return vectors


def inputs(searched: Collection, embedding: Path, reranking: Path) -> dict[str, Any]:
    """Prepare the inputs of both sides; candidates come from the model card's vectors."""
    prompts = [f"Instruct: {DEFAULT_INSTRUCTION}\nQuery:{query}" for query in searched.queries]
    card = f"Instruct: {DEFAULT_INSTRUCTION}\nQuery:{QUERY}"
    vectors = card_vectors(embedding, [card, CODE, *prompts, *searched.documents])
    queries, documents = vectors[2 : 2 + len(prompts)], vectors[2 + len(prompts) :]
    return {
        "models": {
            "embedding": str(embedding.absolute()),
            "reranking": str(reranking.absolute()),
        },
        "documents": searched.documents,
        "queries": searched.queries,
        "candidates": best(queries, documents),
        "card": vectors[0],
        "card_code": vectors[1],
    }


def observed(python: Path, module: str, which: str, given: Path) -> dict[str, Any]:
    """Run one side in its environment and return what it observed."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False"}
    if which == "theirs":
        environment.pop("PYTHONPATH", None)
    seen = given.with_name(f"{module}-{which}.json")
    done = subprocess.run(
        [python, "-m", f"benchmarks.peers.{module}", which, given, seen],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,  # progress bars and warnings
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stderr}\n{module} ({which}) failed in {python}; its output is above.")
    content: dict[str, Any] = json.loads(seen.read_text(encoding="utf-8"))
    return content


def with_ndcg(seen: dict[str, Any], searched: Collection) -> dict[str, Any]:
    """Replace rankings with their nDCG@10."""

    def figure(rankings: Sequence[Sequence[int]]) -> float:
        scores = np.full((len(rankings), len(searched.documents)), -np.inf)
        for row, places in enumerate(rankings):
            scores[row, list(places)] = -np.arange(len(places), dtype=np.float64)
        return ndcg(scores, searched.relevant)

    return {
        **{name: value for name, value in seen.items() if name not in ("dense", "reranked")},
        "ndcg@10": {name: figure(seen[name]) for name in ("dense", "reranked")},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--only", nargs="+", choices=FRAMEWORKS, default=[*FRAMEWORKS])
    parser.add_argument("--environments", type=Path, default=DEFAULT, metavar="FOLDER")
    parser.add_argument(
        "--data", type=Path, help="folder with corpora/; default: this project's guides"
    )
    parser.add_argument("--collection", choices=COLLECTIONS, default="milvus_faq")
    parser.add_argument("--queries", type=int, default=50, help="maximum number of queries")
    parser.add_argument("--embedding", type=Path, default=embedding_folder(), metavar="FOLDER")
    parser.add_argument("--reranking", type=Path, default=reranking_folder(), metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    return parser.parse_args()


def main() -> int:
    """Print a table per framework; return 1 if this project has a defect."""
    arguments = _arguments()
    transformers.utils.logging.disable_progress_bar()
    searched = collection(arguments.data, arguments.collection, arguments.queries)
    given = inputs(searched, arguments.embedding, arguments.reranking)
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "given.json"
        file.write_text(json.dumps(given), encoding="utf-8")
        for name in arguments.only:
            python = python_of(name, arguments.environments.absolute())
            results[name] = {
                which: with_ndcg(observed(where, name, which, file), searched)
                for which, where in (("theirs", python), ("own", Path(sys.executable)))
            }
            print(table(name, **results[name]), flush=True)
    print(
        f"{searched.name}: {len(searched.documents)} documents, {len(searched.queries)} queries; "
        f"{platform.machine()}, {torch.get_num_threads()} threads."
    )
    if arguments.json:
        report = {
            "collection": searched.name,
            "documents": len(searched.documents),
            "queries": len(searched.queries),
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "frameworks": results,
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 1 if any(defects(sides["own"]) for sides in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
