"""The benchmark of hybrid search: its two sides ask a store for the same, and its limit holds."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.hybrid import __main__ as command
from benchmarks.hybrid.measuring import measure
from benchmarks.hybrid.stores import BINARIES, STORES, Asked
from benchmarks.hybrid.texts import Texts, sample
from qwen3_rag_hybrid import Document, HybridSearcher
from qwen3_rag_hybrid.stores.base import NO_TERMS, Query

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads memory from /proc")

ALL = [
    "Edge",
    "Edge, optimized",
    "Qdrant, local mode",
    pytest.param("Qdrant", marks=pytest.mark.docker),
    pytest.param("Weaviate", marks=pytest.mark.docker),
]


@pytest.fixture
def texts() -> Texts:
    vectors = np.random.default_rng(7).standard_normal((48, 32)).astype(np.float32)
    documents = [f"Report {n} on the harbour of district {n % 7}" for n in range(40)]
    queries = [f"the harbour of district {n}" for n in range(8)]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Texts(documents, queries, unit)


def skip_without_server(name: str) -> None:
    if not os.environ.get(binary := BINARIES.get(name, "PATH")):
        pytest.skip(f"{binary} names no server")


@pytest.mark.parametrize("name", ALL)
def test_both_sides_find_the_same(name: str, texts: Texts, tmp_path: Path) -> None:
    skip_without_server(name)
    with STORES[name](tmp_path) as opened, HybridSearcher(opened.store, texts.embedder) as searcher:
        searcher.create()
        searcher.add([Document(f"document {n}", text) for n, text in enumerate(texts.documents)])
        opened.settle()
        encoder, vector = searcher.encoder, texts.vectors[40]
        text = texts.queries[0]
        query = Query(vector, encoder.encode_query(text), encoder.query_terms(text))
        found = opened.store.search(query, limit=5)
        ids = ["document 3", "document 30"]

        answers = [request() for request in opened.own(Asked([(query, 5)], ids))]
        [alone, _] = [request() for request in opened.own(Asked([(without_terms(query), 5)], ids))]

    assert scores(answers[:-1]) == [
        pytest.approx([score for _, score in hits], abs=1e-6) for hits in found.values()
    ]
    assert len(scores([alone])) == 1
    assert sorted(looked_up(answers[-1])) == [texts.documents[3], texts.documents[30]]


def without_terms(query: Query) -> Query:
    return Query(query.vector, NO_TERMS, ())


def scores(answers: list[Any]) -> list[list[float]]:
    """Read the scores of each retriever from the answers of a store's own client."""
    if hasattr(answers[0], "objects"):  # Weaviate, which gives the distance of vectors
        return [
            [
                1 - one.metadata.distance if one.metadata.score is None else one.metadata.score
                for one in answer.objects
            ]
            for answer in answers
        ]
    return [[hit.score for hit in getattr(hits, "points", hits)] for hits in answers[0]]


def looked_up(answer: Any) -> list[str]:
    if hasattr(answer, "objects"):
        return [one.properties["text"] for one in answer.objects]
    return [record.payload["text"] for record in answer]


@pytest.mark.parametrize("name", ALL)
def test_every_figure_is_measured(name: str, texts: Texts) -> None:
    skip_without_server(name)

    row = measure(name, texts)

    sides = {"requests", "search"} | ({"asearch"} if name in BINARIES else set())
    for at_once in row["callers"]:
        assert at_once.keys() == {"callers", *sides}
        assert all(0 < at_once[side]["p50"] <= at_once[side]["p95"] for side in sides)
        assert all(at_once[side]["per_second"] > 0 for side in sides)
    assert [at_once["callers"] for at_once in row["callers"]] == [1, 8, 64]
    assert min(row["search_ms"], row["requests_ms"]) > 0
    assert row["documents_per_s"] > 0
    assert (row["disk_mb"] > 0) == (name != "Qdrant, local mode")
    assert (row["server_mb"] is None) == (name not in BINARIES)
    assert name in command.tables([row])


def test_adding_a_millisecond_is_a_failure() -> None:
    rows = [{"store": "Edge", "added_ms": 0.99}, {"store": "Qdrant", "added_ms": 1.01}]

    assert command.failures(rows) == [
        "Qdrant: the searcher adds 1.01 ms to a search, more than 1.0 ms."
    ]


def test_texts_are_drawn_in_the_same_way_and_embedded(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the small model embeds the texts")
    data = write_texts(tmp_path)

    drawn, again = (sample(data, 4, 2, 64, tmp_path / "cache") for _ in range(2))

    assert len({*drawn.documents}) == 4
    assert all("harbour" in text for text in drawn.documents)
    assert sorted(drawn.queries) == ["question 0", "question 1"]
    assert drawn.documents == again.documents
    assert drawn.vectors.shape == (6, 64)
    assert np.array_equal(drawn.vectors, again.vectors)
    [asked] = drawn.embedder.embed_queries(["question 1"])
    assert np.array_equal(asked, drawn.vectors[4 + list(drawn.queries).index("question 1")])


def test_too_few_texts_end_the_program(tmp_path: Path) -> None:
    data = write_texts(tmp_path)

    with pytest.raises(SystemExit, match=r"There are 5 documents in .*, fewer than 6"):
        sample(data, 6, 2, 64, None)


def write_texts(folder: Path) -> Path:
    corpus = folder / "corpora" / "one"
    corpus.mkdir(parents=True)
    (folder / "text").mkdir()
    rows = [{"_id": f"d{n}", "text": f"harbour {n}"} for n in range(3)]
    (corpus / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows = [{"_id": f"q{n}", "text": f"question {n}"} for n in range(2)]
    (corpus / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (corpus / "qrels.tsv").write_text("q\td\ts\nq0\td0\t1\nq1\td1\t1\n")
    long = "The harbour of the old town was built by a council of twelve merchants."
    with gzip.open(folder / "text" / "one.jsonl.gz", "wt") as lines:
        lines.write(json.dumps({"text": f"{long}\n\ntoo short\n\n{long} Again."}))
    return folder
