"""What the store's part of a hybrid query takes: both legs, fusion and look-up, without the models.

Run `python benchmarks/hybrid.py`, with `--json FILE` for the figures. Vectors and words are random,
from a fixed seed: times depend on their number and not on what they mean.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient

from qwen3_rag.fusion import fuse
from qwen3_rag.integration import FloatArray
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import CollectionSettings, Document, Legs, Point, QdrantEdgeStore, QdrantStore
from qwen3_rag_hybrid.candidates import candidates, hits_of

ENCODER = BM25Encoder()
WORDS = 30_000


def main() -> None:
    """Measure each store and print a table."""
    options = _options()
    random = np.random.default_rng(7)
    vectors = _unit(random.standard_normal((options.documents, options.dim)))
    texts = [_words(random, 90) for _ in range(options.documents)]
    queries = _unit(random.standard_normal((options.queries, options.dim)))
    asked = [_words(random, 8) for _ in range(options.queries)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        stores: dict[str, Callable[[], Legs]] = {
            "Qdrant Edge": lambda: QdrantEdgeStore(Path(folder) / "edge"),
            "client, local mode": lambda: QdrantStore(QdrantClient(":memory:"), "benchmark"),
        }
        for name in options.stores or stores:
            few = len(queries) if name == "Qdrant Edge" else min(len(queries), options.slow_queries)
            row = _measure(stores[name](), texts, vectors, queries[:few], asked[:few], options.dim)
            rows.append({"store": name, **row})
    _print_table(rows, options)
    if options.json:
        about = {"python": platform.python_version(), "machine": platform.machine()}
        figures = {**about, "documents": options.documents, "dim": options.dim, "rows": rows}
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=1_024)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument(
        "--slow-queries", type=int, default=30, help="queries for stores that take long"
    )
    parser.add_argument("--stores", action="append", help="one of the table; all when omitted")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    return parser.parse_args()


def _measure(
    legs: Legs,
    texts: Sequence[str],
    vectors: FloatArray,
    queries: FloatArray,
    asked: Sequence[str],
    dim: int,
) -> dict[str, Any]:
    legs.create(CollectionSettings("random", "random", dim, ENCODER.settings))
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # local mode would rather see a server
        for begin in range(0, len(texts), 256):
            batch = range(begin, min(begin + 256, len(texts)))
            legs.upsert([_point(number, texts[number], vectors[number]) for number in batch])
    ingest = time.perf_counter() - start
    took = []
    for vector, text in zip(queries, asked, strict=True):
        start = time.perf_counter()
        _search(legs, vector, text)
        took.append((time.perf_counter() - start) * 1e3)
    repeats = {_search(legs, queries[0], asked[0]) for _ in range(100)}
    legs.close()
    return {
        "ingest_s": round(ingest, 2),
        "queries": len(took),
        "p50_ms": round(float(np.percentile(took, 50)), 2),
        "p95_ms": round(float(np.percentile(took, 95)), 2),
        "orders_of_100_repeats": len(repeats),
    }


def _search(legs: Legs, vector: FloatArray, text: str) -> tuple[object, ...]:
    """What `HybridSearcher.search` does between embedding and reranking, at its defaults."""
    ranked = candidates(legs, vector, ENCODER.encode_query(text), 100, None)
    return tuple(hit.id for hit in hits_of(legs, fuse(ranked)[:50]))


def _point(number: int, text: str, vector: FloatArray) -> Point:
    return Point(Document(f"document {number}", text), vector, ENCODER.encode_document(text))


def _words(random: np.random.Generator, count: int) -> str:
    return " ".join(f"w{number % WORDS}" for number in random.zipf(1.3, count))


def _unit(rows: Any) -> FloatArray:
    unit: FloatArray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['store']:<20} {row['ingest_s']:>9.2f} {row['queries']:>8} {row['p50_ms']:>8.2f} "
        f"{row['p95_ms']:>8.2f} {row['orders_of_100_repeats']:>7}"
    )


def _print_table(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    print(f"{options.documents:,} documents, dim {options.dim:,}, candidates 100, 50 looked up")
    print(f"{'store':<20} {'ingest s':>9} {'queries':>8} {'p50 ms':>8} {'p95 ms':>8} {'orders':>7}")
    for row in rows:
        print(_line(row))


if __name__ == "__main__":
    main()
