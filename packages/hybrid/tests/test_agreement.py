"""Edge, local mode, a server and the formulas written here give the same hits in one order."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from qdrant_client import QdrantClient

from qwen3_rag import Qwen3Embedder
from qwen3_rag.fusion import FusionMethod
from qwen3_rag.lexical import BM25Encoder, tokens
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore, QdrantStore, Store
from qwen3_rag_testkit.backends import TextBackend

SHARED = Path(__file__).parents[4] / "shared" / "corpora"
QUERIES = {"milvus_faq": 52, "xquad_en": 148}  # 200 in all
METHODS: tuple[FusionMethod, ...] = ("rrf", "relative_score")
DEPTH = 30


@dataclass(frozen=True)
class Corpus:
    documents: Sequence[Document]
    queries: Sequence[str]


@cache
def built_in() -> Corpus:
    subjects = ["river", "bread", "disk error", "capital city", "수도", "검색", "Straße", "naïve"]
    places = ["Paris", "Berlin", "서울", "E_4711", "3.11.2"]
    documents = [
        Document(
            f"{subject}/{place}/{number}" if number % 3 else len(subject) * 1000 + number,
            f"The {subject} of {place}" + f" and the {places[number % 5]}" * (number % 4),
        )
        for number, (subject, place) in enumerate((s, p) for s in subjects for p in places)
    ]
    documents += [Document(f"twin {number}", "The same text in Paris") for number in range(45)]
    return Corpus(documents, [*subjects, *places, "the", "same text", "of Paris and Berlin"])


@cache
def shared(name: str) -> Corpus:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there: the shared corpora are not on this machine")

    def read(part: str) -> Iterator[dict[str, str]]:
        with (SHARED / name / f"{part}.jsonl").open(encoding="utf-8") as file:
            yield from map(json.loads, file)

    return Corpus(
        [Document(line["_id"], line["text"]) for line in read("corpus")],
        [line["text"] for line in read("queries")][: QUERIES.get(name, 200)],
    )


CORPORA: dict[str, Callable[[], Corpus]] = {
    "built-in": built_in,
    "milvus_faq": lambda: shared("milvus_faq"),
    "xquad_en": lambda: shared("xquad_en"),
}


class Independent:
    """Both retrievers and the fusion by the book, on arrays of everything."""

    def __init__(self, corpus: Corpus, embedder: Qwen3Embedder) -> None:
        self.ids = [document.id for document in corpus.documents]
        self.embedder = embedder
        self.vectors = embedder.embed_documents([d.text for d in corpus.documents])
        self.terms = [Counter(tokens(document.text)) for document in corpus.documents]
        self.holding = Counter(term for terms in self.terms for term in terms)

    def search(self, query: str, method: FusionMethod) -> list[str | int]:
        retrieved = [self.dense(query), self.bm25(query)]
        total: dict[str | int, float] = dict.fromkeys(self.ids, 0.0)
        listed: set[str | int] = set()
        for found in retrieved:
            level = levels(found)
            order = sorted(found, key=lambda id_: (-level[id_], place(id_)))[:DEPTH]
            listed.update(order)
            scores = np.array([level[id_] for id_ in order])
            shares = 1 / (60 + np.arange(1, len(order) + 1))
            if method == "relative_score":
                span = np.ptp(scores) or 1.0
                relative = 1 / len(order) + (1 - 1 / len(order)) * (scores - scores[-1:]) / span
                shares = relative**2 / (relative**2).sum()
            for id_, share in zip(order, shares.tolist(), strict=True):
                total[id_] += share
        return sorted(listed, key=lambda id_: (-round(total[id_], 12), place(id_)))

    def dense(self, query: str) -> dict[str | int, float]:
        [vector] = self.embedder.embed_queries([query])
        cosines = self.vectors.astype(np.float64) @ vector.astype(np.float64)
        return dict(zip(self.ids, cosines.tolist(), strict=True))

    def bm25(self, query: str) -> dict[str | int, float]:
        # Documents without any term have no vector, and do not count.
        count = sum(bool(terms) for terms in self.terms)
        weights = BM25Encoder().encode_query(query).as_dict()
        scores: dict[str | int, float] = {}
        for id_, terms in zip(self.ids, self.terms, strict=True):
            norm = 1.2 * (1 - 0.75 + 0.75 * terms.total() / 256)
            common = {term: weights[index(term)] for term in terms if index(term) in weights}
            if common:
                scores[id_] = sum(
                    weight
                    * math.log(1 + (count - self.holding[t] + 0.5) / (self.holding[t] + 0.5))
                    * (terms[t] * 2.2 / (terms[t] + norm))
                    for t, weight in common.items()
                )
        return scores


def levels(scores: dict[str | int, float]) -> dict[str | int, float]:
    """Give all that tie the best score among them."""
    level = before = math.inf
    found = {}
    for id_ in sorted(scores, key=lambda id_: -scores[id_]):
        if before - scores[id_] >= 5e-7 * max(1, abs(scores[id_])):
            level = scores[id_]
        found[id_], before = level, scores[id_]
    return found


def index(term: str) -> int:
    return crc32(term.encode()) % (2**32 - 1)


def place(id_: str | int) -> tuple[bool, int, str]:
    return (True, 0, id_) if isinstance(id_, str) else (False, id_, "")


@pytest.mark.parametrize("corpus", CORPORA)
def test_three_ways_to_one_order(corpus: str, tmp_path: Path) -> None:
    client = QdrantClient(":memory:")
    agree(CORPORA[corpus](), QdrantEdgeStore(tmp_path), QdrantStore(client, "documents"))
    client.close()


@pytest.mark.parametrize("queries", [20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("corpus", ["cosqa", "xquad_en", "cmrc2018_dev"])
def test_edge_and_local_mode_agree_to_the_last_hit(
    corpus: str, queries: int, tmp_path: Path
) -> None:
    texts = shared(corpus)
    embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 256))
    client = QdrantClient(":memory:")
    stores: list[Store] = [QdrantEdgeStore(tmp_path), QdrantStore(client, "documents")]
    for store in stores:
        searcher = HybridSearcher(store, embedder)
        searcher.create()
        searcher.add(texts.documents[:3000])

    differing = []
    for method in METHODS:
        ways = [HybridSearcher(store, embedder, fusion=method) for store in stores]
        for query in texts.queries[:queries]:
            one, other = ([hit.id for hit in way.search(query, limit=200)] for way in ways)
            if one != other:
                differing.append((method, query))

    assert differing == []
    for store in stores:
        store.close()
    client.close()


@pytest.mark.docker
@pytest.mark.parametrize("corpus", CORPORA)
def test_a_server_agrees_with_edge(
    corpus: str, tmp_path: Path, qdrant_address: dict[str, Any], qdrant_collection: str
) -> None:
    texts = CORPORA[corpus]()
    client = QdrantClient(**qdrant_address)
    agree(texts, QdrantEdgeStore(tmp_path), QdrantStore(client, qdrant_collection))
    client.close()


def agree(texts: Corpus, *stores: Store) -> None:
    """Fill two stores, and compare all their hits with `Independent`."""
    embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 256))
    for store in stores:
        searcher = HybridSearcher(store, embedder, encoder=BM25Encoder())
        searcher.create()
        searcher.add(texts.documents)
    independent = Independent(texts, embedder)

    differing = []
    for method in METHODS:
        ways = [HybridSearcher(one, embedder, candidates=DEPTH, fusion=method) for one in stores]
        for query in texts.queries:
            one, other = ([hit.id for hit in way.search(query, limit=DEPTH)] for way in ways)
            if not one == other == independent.search(query, method)[:DEPTH]:
                differing.append((method, query))

    assert differing == []
    for store in stores:
        store.close()


def test_the_same_query_a_hundred_times_has_one_order(tmp_path: Path) -> None:
    texts = built_in()
    embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 256))
    with HybridSearcher(QdrantEdgeStore(tmp_path), embedder) as searcher:
        searcher.create()
        searcher.add(texts.documents)
        for query in texts.queries[-3:]:
            orders = {tuple(hit.id for hit in searcher.search(query)) for _ in range(100)}
            assert len(orders) == 1
