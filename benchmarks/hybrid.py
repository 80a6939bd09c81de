"""Latency of a hybrid query without the models: dense search, BM25, fusion and look-up.

    python benchmarks/hybrid.py [--json FILE]

Vectors and words are random, with a fixed seed: the times depend only on their number.
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

from qwen3_rag import Hit
from qwen3_rag.fusion import DEFAULT_CANDIDATES, fuse
from qwen3_rag.integration import FloatArray, Flow, run
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import (
    CollectionRecord,
    Document,
    Point,
    QdrantEdgeStore,
    QdrantStore,
    Query,
    Store,
)
from qwen3_rag_hybrid.retrieval import find_candidates, find_hits
from qwen3_rag_hybrid.worker import StoreCalls

ENCODER = BM25Encoder()
WORDS = 30_000


def main() -> None:
    """Measure each store and print a table."""
    options = _options()
    random = np.random.default_rng(7)
    vectors = _unit(random.standard_normal((options.documents, options.dim)))
    texts = [_words(random, 90) for _ in range(options.documents)]
    queries = _unit(random.standard_normal((options.queries, options.dim)))
    query_texts = [_words(random, 8) for _ in range(options.queries)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        stores: dict[str, Callable[[], Store]] = {
            "Qdrant Edge": lambda: QdrantEdgeStore(Path(folder) / "edge"),
            "client, local mode": lambda: QdrantStore(QdrantClient(":memory:"), "benchmark"),
        }
        for name in options.stores or stores:
            few = len(queries) if name == "Qdrant Edge" else min(len(queries), options.slow_queries)
            row = _measure(
                stores[name](), texts, vectors, queries[:few], query_texts[:few], options.dim
            )
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
    parser.add_argument("--slow-queries", type=int, default=30, help="queries for the slow stores")
    parser.add_argument(
        "--stores", action="append", help="measure only this store; may be repeated"
    )
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    return parser.parse_args()


def _measure(
    store: Store,
    texts: Sequence[str],
    vectors: FloatArray,
    queries: FloatArray,
    query_texts: Sequence[str],
    dim: int,
) -> dict[str, Any]:
    store.create(CollectionRecord("random", "random", dim, ENCODER.parameters))
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # local mode warns about large collections
        for begin in range(0, len(texts), 256):
            batch = range(begin, min(begin + 256, len(texts)))
            store.upsert([_point(number, texts[number], vectors[number]) for number in batch])
    ingest = time.perf_counter() - start
    took = []
    for vector, text in zip(queries, query_texts, strict=True):
        start = time.perf_counter()
        _search(store, vector, text)
        took.append((time.perf_counter() - start) * 1e3)
    repeats = {_search(store, queries[0], query_texts[0]) for _ in range(100)}
    store.close()
    return {
        "ingest_s": round(ingest, 2),
        "queries": len(took),
        "p50_ms": round(float(np.percentile(took, 50)), 2),
        "p95_ms": round(float(np.percentile(took, 95)), 2),
        "orders_of_100_repeats": len(repeats),
    }


def _search(store: Store, vector: FloatArray, text: str) -> tuple[object, ...]:
    """Do what `HybridSearcher.search` does between embedding and reranking, with its defaults."""
    query = Query(vector, ENCODER.encode_query(text), ENCODER.tokens(text))
    calls = StoreCalls(store)

    def find() -> Flow[list[Hit]]:
        lists = yield from find_candidates(calls, query, DEFAULT_CANDIDATES, None)
        return (yield from find_hits(calls, fuse(lists)[:50]))

    return tuple(hit.id for hit in run(find()))


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
    print(
        f"{options.documents:,} documents, dim {options.dim:,}, "
        f"{DEFAULT_CANDIDATES} candidates, 50 fetched"
    )
    print(f"{'store':<20} {'ingest s':>9} {'queries':>8} {'p50 ms':>8} {'p95 ms':>8} {'orders':>7}")
    for row in rows:
        print(_line(row))


if __name__ == "__main__":
    main()
