"""Retrieval quality of the tiny checkpoints on collections they were not trained on.

    python -m benchmarks.tiny_quality [--data FOLDER] [--only NAME ...] [--json PATH]

For each collection, with 300 fixed queries, it measures nDCG@10 of BM25, dense search, their
fusion, and the reranked top 20 of dense search and fusion; the share of nDCG that a quarter of the
vector keeps; and the reranker's accuracy on pairs of an answer and a BM25 hard negative. It also
measures how often a translation is found. The results say nothing about Qwen3-Embedding and
Qwen3-Reranker.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.fusion import rrf
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_tiny import embedding_folder, reranking_folder
from qwen3_rag_training.evaluation import ndcg, pair_accuracy
from tools.train_tiny.pairs import translations

DEFAULT_DATA = Path(__file__).resolve().parents[1].parent / "shared"

COLLECTIONS = (
    "milvus_faq",
    "squad_dev_v1.1",
    "xquad_en",
    "xquad_zh",
    "xquad_es",
    "xquad_ru",
    "xquad_ar",
    "tydiqa_ko_dev",
    "tydiqa_en_dev",
    "cmrc2018_dev",
)

FLOORS = {"milvus_faq": 0.35, "xquad_en": 0.30, "tydiqa_ko_dev": 0.30}
"""Minimum nDCG@10 of dense search."""

LEAST_MEAN_GAIN, LARGEST_LOSS = 0.03, 0.02
"""Minimum mean gain of reranking, and maximum loss in one collection, in nDCG@10."""

LEAST_PAIR_ACCURACY = 0.75
LEAST_QUARTER_SHARE = 0.85

QUERIES = 300
DEPTH = 20
CANDIDATES = 100

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Collection:
    """Documents, queries and the relevant documents of each query."""

    name: str
    documents: list[str]
    queries: list[str]
    relevant: list[set[int]]


@dataclass(frozen=True)
class Row:
    """Results of one collection; nDCG@10 unless named otherwise."""

    collection: str
    documents: int
    queries: int
    bm25: float
    dense: float
    fused: float
    dense_reranked: float
    fused_reranked: float
    dense_quarter: float
    pair_accuracy: float

    @property
    def gain(self) -> float:
        """Gain of reranking over dense search."""
        return self.dense_reranked - self.dense


@dataclass(frozen=True)
class Translation:
    """Share of sentences whose nearest English sentence is their translation."""

    language: str
    lines: int
    accuracy: float
    chance: float


def read(folder: Path, trained_on: frozenset[str], most: int) -> Collection:
    """Read a collection. In `milvus_faq`, the heading that is the query is removed from the chunks.

    Args:
        folder: The collection's folder.
        trained_on: Questions and passages of the training data. Queries that occur there are
            skipped, because the two parts of TyDiQA overlap.
        most: Maximum number of queries, drawn with a fixed seed.
    """
    documents = _texts(folder / "corpus.jsonl")
    queries = _texts(folder / "queries.jsonl")
    places = {id_: place for place, id_ in enumerate(documents)}
    relevant: dict[str, set[int]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, _ = line.split("\t")
        relevant.setdefault(query, set()).add(places[document])
    texts = list(documents.values())
    chosen = [
        id_
        for id_, text in queries.items()
        if id_ in relevant
        and not trained_on.intersection((text, *(texts[i] for i in relevant[id_])))
    ]
    chosen = random.Random(0).sample(chosen, len(chosen))[:most]
    if folder.name == "milvus_faq":
        texts = [text.partition("\n")[2].strip() or text for text in texts]
    return Collection(
        folder.name, texts, [queries[id_] for id_ in chosen], [relevant[id_] for id_ in chosen]
    )


def _texts(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8") as lines:
        return {row["_id"]: row["text"] for row in map(json.loads, lines)}


def bm25(collection: Collection) -> Scores:
    """Compute the BM25 scores of all documents for all queries."""
    encoder = BM25Encoder()
    postings: dict[int, list[tuple[int, float]]] = {}
    for place, text in enumerate(collection.documents):
        for index, value in encoder.encode_document(text).as_dict().items():
            postings.setdefault(index, []).append((place, value))
    scores = np.zeros((len(collection.queries), len(collection.documents)))
    for row, query in enumerate(collection.queries):
        for index, weight in encoder.encode_query(query).as_dict().items():
            found = postings.get(index, [])
            rarity = np.log((scores.shape[1] - len(found) + 0.5) / (len(found) + 0.5) + 1)
            for place, value in found:
                scores[row, place] += weight * rarity * value
    return scores


def fused(dense: Scores, sparse: Scores) -> Scores:
    """Compute RRF scores of both top lists; documents in neither list get -1."""
    scores = np.full_like(dense, -1.0)
    for row in range(len(dense)):
        lists = {}
        for name, own in (("dense", dense[row]), ("bm25", sparse[row])):
            best = np.argsort(-own, kind="stable")[:CANDIDATES]
            found = [(int(i), float(own[i])) for i in best]
            lists[name] = [hit for hit in found if name == "dense" or hit[1] > 0]
        for hit in rrf(lists):
            scores[row, int(hit.id)] = hit.score
    return scores


def reranked(reranker: Qwen3Reranker, collection: Collection, scores: Scores) -> Scores:
    """Rerank the first `DEPTH` documents; the others get minus infinity."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    candidates = [[collection.documents[i] for i in row] for row in best]
    result = np.full(scores.shape, -np.inf)
    ranked = reranker.rank_many(collection.queries, candidates)
    for row, hits in enumerate(ranked):
        for hit in hits:
            result[row, best[row, hit.index]] = hit.logit
    return result


def hard_pairs(reranker: Qwen3Reranker, collection: Collection, sparse: Scores) -> float:
    """Compute the share of answers that outscore the best BM25 result that is not an answer."""
    pairs: list[tuple[str, str]] = []
    for row, query in enumerate(collection.queries):
        answers = collection.relevant[row]
        rivals = sparse[row].copy()
        rivals[list(answers)] = -np.inf
        pairs += [(query, collection.documents[min(answers)])]
        pairs += [(query, collection.documents[int(rivals.argmax())])]
    found = reranker.score(pairs, details=True).logits
    return pair_accuracy(found[0::2], found[1::2])


def _similarities(queries: NDArray[np.float32], documents: NDArray[np.float32]) -> Scores:
    left = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    right = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    return np.asarray(left @ right.T, np.float64)


def measure(embedder: Qwen3Embedder, reranker: Qwen3Reranker, collection: Collection) -> Row:
    """Measure one collection."""
    queries = embedder.embed_queries(collection.queries)
    documents = embedder.embed_documents(collection.documents)
    quarter = queries.shape[1] // 4
    dense = _similarities(queries, documents)
    sparse = bm25(collection)
    both = fused(dense, sparse)

    def figure(scores: Scores) -> float:
        return ndcg(scores, collection.relevant)

    return Row(
        collection=collection.name,
        documents=len(collection.documents),
        queries=len(collection.queries),
        bm25=figure(sparse),
        dense=figure(dense),
        fused=figure(both),
        dense_reranked=figure(reranked(reranker, collection, dense)),
        fused_reranked=figure(reranked(reranker, collection, both)),
        dense_quarter=figure(_similarities(queries[:, :quarter], documents[:, :quarter])),
        pair_accuracy=hard_pairs(reranker, collection, sparse),
    )


def measure_translations(embedder: Qwen3Embedder, data: Path) -> list[Translation]:
    """Find the English sentence of each held-out translation, per language."""
    lines: dict[str, list[tuple[str, str]]] = {}
    for language, foreign, english in translations(data, held_out=True):
        lines.setdefault(language, []).append((foreign, english))
    rows = []
    for language, pairs in lines.items():
        left = embedder.embed_documents([foreign for foreign, _ in pairs])
        right = embedder.embed_documents([english for _, english in pairs])
        nearest = _similarities(left, right).argmax(axis=1)
        # An English sentence may occur twice.
        hits = [pairs[found][1] == pair[1] for found, pair in zip(nearest, pairs, strict=True)]
        rows.append(Translation(language, len(pairs), float(np.mean(hits)), 1 / len(pairs)))
    return rows


def failures(rows: Sequence[Row]) -> list[str]:
    """List the limits that were missed."""
    found = [
        f"{row.collection}: dense {row.dense:.3f} is below {FLOORS[row.collection]}"
        for row in rows
        if row.dense < FLOORS.get(row.collection, 0.0)
    ]
    found += [
        f"{row.collection}: reranking changes dense by {row.gain:+.3f}"
        for row in rows
        if row.gain < -LARGEST_LOSS
    ]
    figures = (
        ("mean gain of reranking", np.mean([row.gain for row in rows]), LEAST_MEAN_GAIN),
        (
            "pair accuracy",
            np.average([row.pair_accuracy for row in rows], weights=[row.queries for row in rows]),
            LEAST_PAIR_ACCURACY,
        ),
        (
            "share of nDCG kept by a quarter of the vector",
            sum(row.dense_quarter for row in rows) / sum(row.dense for row in rows),
            LEAST_QUARTER_SHARE,
        ),
    )
    found += [
        f"{name}: {value:.3f} is below {least}" for name, value, least in figures if value < least
    ]
    return found


def _print_row(row: Row) -> None:
    print(
        f"| {row.collection} | {row.documents} | {row.queries} | {row.bm25:.3f} | {row.dense:.3f} "
        f"| {row.fused:.3f} | {row.dense_reranked:.3f} | {row.gain:+.3f} "
        f"| {row.fused_reranked:.3f} | {row.dense_quarter:.3f} "
        f"| {row.dense_quarter / max(row.dense, 1e-9):.2f} | {row.pair_accuracy:.3f} |",
        flush=True,
    )


def _print_means(rows: Sequence[Row]) -> None:
    def mean(name: str) -> float:
        return float(np.mean([getattr(row, name) for row in rows]))

    print(
        f"| mean |  |  | {mean('bm25'):.3f} | {mean('dense'):.3f} | {mean('fused'):.3f} "
        f"| {mean('dense_reranked'):.3f} | {mean('gain'):+.3f} | {mean('fused_reranked'):.3f} "
        f"| {mean('dense_quarter'):.3f} | {mean('dense_quarter') / mean('dense'):.2f} "
        f"| {mean('pair_accuracy'):.3f} |\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder with corpora/")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these collections only")
    parser.add_argument("--embedding", type=Path, default=embedding_folder(), metavar="FOLDER")
    parser.add_argument("--reranking", type=Path, default=reranking_folder(), metavar="FOLDER")
    parser.add_argument("--queries", type=int, default=QUERIES, help="maximum per collection")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results to this file")
    return parser.parse_args()


def main() -> int:
    """Print the tables; return 1 if a limit is missed."""
    arguments = _arguments()
    corpora: Path = arguments.data / "corpora"
    if not corpora.is_dir():
        sys.exit(f"No corpora at {str(corpora)!r}. Give their folder with --data.")
    unknown = sorted(set(arguments.only or ()) - set(COLLECTIONS))
    if unknown:
        sys.exit(f"No collection named {unknown}. There are: {', '.join(COLLECTIONS)}.")
    training = arguments.data / "corpora" / "tydiqa_ko_train"
    trained_on = frozenset(
        text
        for name in ("queries.jsonl", "corpus.jsonl")
        for text in _texts(training / name).values()
    )
    started = time.perf_counter()
    print(
        "| collection | documents | queries | BM25 | dense | RRF | dense reranked | gain "
        "| RRF reranked | dense, 1/4 vector | share kept | pair accuracy |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    with (
        Qwen3Embedder(str(arguments.embedding), dtype="float32") as embedder,
        Qwen3Reranker(str(arguments.reranking), dtype="float32") as reranker,
    ):
        for name in arguments.only or COLLECTIONS:
            rows.append(
                measure(embedder, reranker, read(corpora / name, trained_on, arguments.queries))
            )
            _print_row(rows[-1])
        _print_means(rows)
        found = measure_translations(embedder, arguments.data)
    print("| translations into English | lines | accuracy | chance |\n|---|---|---|---|")
    for row in found:
        print(f"| {row.language} | {row.lines} | {row.accuracy:.3f} | {row.chance:.4f} |")
    missed = failures(rows)
    print("\n" + "\n".join(missed or ["All limits are met."]))
    print(f"{time.perf_counter() - started:.0f} s")
    if arguments.json:
        content: dict[str, Any] = {
            "collections": [{**asdict(row), "gain": row.gain} for row in rows],
            "translations": [asdict(row) for row in found],
            "missed": missed,
        }
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
