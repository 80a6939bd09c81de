"""Does an adapter (LoRA) trained on half of a collection's queries improve the other half?

    python -m benchmarks.lora [--data FOLDER] [--steps N] [--queries N] [--json PATH]

The tiny embedding model is adapted to the collection cosqa, questions about Python and functions
that answer them. The queries are halved at random, all queries of one function on the same side.
The table has nDCG@10 of the held-out half over all functions, without and with the adapter, and a
95 % bootstrap interval of the mean paired difference. It also compares the adapter's vectors with
those of the merged checkpoint and of sentence-transformers. The results say nothing about
Qwen3-Embedding.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from qwen3_rag import Qwen3Embedder
from qwen3_rag_tiny import embedding_folder
from qwen3_rag_training import (
    EmbeddingTraining,
    Example,
    LoRA,
    Schedule,
    train_embedder,
    write_examples,
)
from qwen3_rag_training.evaluation import ndcg

DEFAULT_DATA = Path(__file__).resolve().parents[1].parent / "shared"
INSTRUCTION = "Given a question about Python, retrieve the function that answers it"
RESAMPLES = 10_000


@dataclass(frozen=True)
class Halves:
    """A collection whose queries are split in two.

    Attributes:
        documents: All documents.
        training: Pairs of a query and the number of its document.
        held_out: Pairs of the other half.
    """

    documents: list[str]
    training: list[tuple[str, int]]
    held_out: list[tuple[str, int]]


@dataclass(frozen=True)
class Result:
    """What the adapter is worth.

    Attributes:
        documents: Number of documents searched.
        training: Number of queries trained on.
        held_out: Number of queries measured.
        before: Mean nDCG@10 of the held-out queries without the adapter.
        after: The same with the adapter.
        difference: Mean paired difference.
        low: Lower end of its 95 % interval.
        high: Upper end.
        merged_cosine: Smallest cosine of a held-out query's vectors, by the adapter's folder and by
            the merged checkpoint, with which `after` is measured.
        library_cosine: The same to sentence-transformers'; `None` if it is not installed.
    """

    documents: int
    training: int
    held_out: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    merged_cosine: float
    library_cosine: float | None


def read(folder: Path, queries: int | None = None, seed: int = 0) -> Halves:
    """Read a collection and split its queries.

    Args:
        folder: The collection's folder.
        queries: Number of queries to use; all when omitted. With fewer, only the documents of
            those are searched.
        seed: Seed of the split.
    """
    documents = _texts(folder / "corpus.jsonl")
    texts = _texts(folder / "queries.jsonl")
    lines = (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    found = dict(line.split("\t")[:2] for line in lines)
    pairs = [(texts[query], document) for query, document in found.items()][:queries]
    if queries is not None:
        documents = {document: documents[document] for _, document in pairs}
    places = {id_: place for place, id_ in enumerate(documents)}
    groups = sorted({document for _, document in pairs})
    random.Random(seed).shuffle(groups)
    chosen = set(groups[: len(groups) // 2])
    numbered = [(query, places[document], document in chosen) for query, document in pairs]
    return Halves(
        list(documents.values()),
        [(query, place) for query, place, inside in numbered if inside],
        [(query, place) for query, place, inside in numbered if not inside],
    )


def measure(halves: Halves, work: Path, steps: int, *, progress: bool = False) -> Result:
    """Train an adapter and measure it.

    Args:
        halves: The collection.
        work: A folder for the data and the results of the training.
        steps: Optimiser steps.
        progress: Whether to show a progress bar on a terminal.
    """
    job = EmbeddingTraining(
        model=embedding_folder(),
        data=work / "training.jsonl",
        output=work / "adapter",
        schedule=Schedule(steps=steps, batch_size=32, learning_rate=1e-3, save_every=10_000),
        lora=LoRA(rank=16, alpha=32),
        max_document_tokens=256,
    )
    write_examples(
        (
            Example(query, halves.documents[place], instruction=INSTRUCTION)
            for query, place in halves.training
        ),
        work / "training.jsonl",
    )
    adapter = train_embedder(job, progress=progress).folder
    shutil.copytree(adapter, work / "merged")  # the finished run, saved in the other form
    merged = train_embedder(
        replace(job, output=work / "merged", lora=LoRA(rank=16, alpha=32, merged=True))
    ).folder

    before, _ = _gains(Qwen3Embedder(embedding_folder(), device="cpu", dtype="float32"), halves)
    after, vectors = _gains(Qwen3Embedder(merged, device="cpu", dtype="float32"), halves)
    difference = after - before
    low, high = interval(difference)
    queries = [query for query, _ in halves.held_out]
    with _with_adapter(adapter) as embedder:
        adapted = embedder.embed_queries(queries, instruction=INSTRUCTION)
    return Result(
        documents=len(halves.documents),
        training=len(halves.training),
        held_out=len(halves.held_out),
        before=float(before.mean()),
        after=float(after.mean()),
        difference=float(difference.mean()),
        low=low,
        high=high,
        merged_cosine=float((adapted * vectors).sum(axis=1).min()),
        library_cosine=_library_cosine(adapter, queries, adapted),
    )


def interval(differences: NDArray[np.floating]) -> tuple[float, float]:
    """Compute the 95 % bootstrap interval of a mean."""
    numbers = np.random.default_rng(0)
    rows = numbers.integers(len(differences), size=(RESAMPLES, len(differences)))
    low, high = np.quantile(differences[rows].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _with_adapter(folder: Path) -> Qwen3Embedder:
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    return Qwen3Embedder.from_model(model, AutoTokenizer.from_pretrained(folder))


def _gains(
    embedder: Qwen3Embedder, halves: Halves
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Compute nDCG@10 of each held-out query, and the queries' vectors."""
    with embedder:
        queries = embedder.embed_queries(
            [query for query, _ in halves.held_out], instruction=INSTRUCTION
        )
        documents = embedder.embed_documents([text[:2_000] for text in halves.documents])
    scores = queries @ documents.T
    gains = [
        ndcg(row[None], [{place}]) for row, (_, place) in zip(scores, halves.held_out, strict=True)
    ]
    return np.array(gains), queries


def _library_cosine(
    adapter: Path, queries: list[str], vectors: NDArray[np.float32]
) -> float | None:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return None
    model = SentenceTransformer(str(adapter), device="cpu", model_kwargs={"dtype": torch.float32})
    found = model.encode(queries, prompt=f"Instruct: {INSTRUCTION}\nQuery:")
    return float((found * vectors).sum(axis=1).min())


def _texts(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8") as lines:
        return {row["_id"]: row["text"] for row in map(json.loads, lines)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; exit status 1 if the interval includes 0 or a cosine is too small."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--queries", type=int, help="use only this many queries")
    parser.add_argument("--json", type=Path, metavar="PATH")
    given = parser.parse_args(arguments)
    folder = given.data / "corpora" / "cosqa"
    if not folder.is_dir():
        print(f"There is no collection at {folder}. Give the training data with --data.")
        return 2
    with tempfile.TemporaryDirectory() as work:
        result = measure(read(folder, given.queries), Path(work), given.steps, progress=True)
    record: dict[str, Any] = {"steps": given.steps, **asdict(result)}
    for name, value in record.items():
        print(f"{name:15} {value:.6f}" if isinstance(value, float) else f"{name:15} {value}")
    if given.json:
        given.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    cosines = [result.merged_cosine, result.library_cosine or 1.0]
    return 0 if result.low > 0 and min(cosines) > 0.99999 else 1


if __name__ == "__main__":
    sys.exit(main())
