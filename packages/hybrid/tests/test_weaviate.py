"""Weaviate does what stores promise, and agrees with Edge: see `conftest.py` for the server."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from weaviate import WeaviateClient

from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore, WeaviateStore
from qwen3_rag_testkit.server_contract import StoreServer, WeaviateContract
from qwen3_rag_testkit.store_corpus import make_embedder
from qwen3_rag_testkit.weaviate_stand_in import WeaviateStandIn

SHARED = Path(__file__).parents[4] / "shared" / "corpora"


class TestStandIn(WeaviateContract):
    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[StoreServer]:
        with WeaviateStandIn(api_key="a key") as server:
            url = f"http://127.0.0.1:{server.port}"
            yield StoreServer(url, "a key", server.grpc_port, server.stop, server.start)


@dataclass(frozen=True)
class Corpus:
    """Documents, and queries with the ids of the documents that answer them."""

    documents: Sequence[Document]
    queries: Mapping[str, set[str]]

    @classmethod
    def read(cls, name: str, most: int) -> Corpus:
        """Read a shared corpus with `most` queries from all of it."""
        folder = SHARED / name
        if not folder.is_dir():
            pytest.skip(f"{folder} is not there: the shared corpora are not on this machine")
        lines = (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]
        answers: dict[str, set[str]] = {}
        for query, document, _ in (line.split("\t") for line in lines):
            answers.setdefault(query, set()).add(document)
        queries = [one for one in _lines(folder / "queries.jsonl") if one["_id"] in answers]
        asked = queries[:: max(1, len(queries) // most)][:most]
        return cls(
            [Document(one["_id"], one["text"]) for one in _lines(folder / "corpus.jsonl")],
            {one["text"]: answers[one["_id"]] for one in asked},
        )


@pytest.mark.parametrize("most", [20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["xquad_en", "tydiqa_ko_dev", "cmrc2018_dev"])
def test_the_hits_are_those_of_edge(
    name: str, most: int, weaviate_client: WeaviateClient, collection: str, tmp_path: Path
) -> None:
    corpus = Corpus.read(name, most)
    stores = (QdrantEdgeStore(tmp_path), WeaviateStore(weaviate_client, collection))
    found = []
    for store in stores:
        with HybridSearcher(store, make_embedder(256)) as searcher:
            searcher.create()
            searcher.add(corpus.documents)
            found.append(
                {query: [hit.id for hit in searcher.search(query)] for query in corpus.queries}
            )

    edge, server = found
    overlaps = [len({*edge[query]} & {*server[query]}) / 10 for query in corpus.queries]
    quality = [mean(ndcg(each[q], corpus.queries[q]) for q in corpus.queries) for each in found]
    assert mean(overlaps) >= 0.95
    assert quality[1] == pytest.approx(quality[0], abs=0.01)


def ndcg(ranking: Sequence[str | int], answers: set[str]) -> float:
    gains = [1 / math.log2(rank + 1) for rank in range(1, 11)]
    found = sum(gain for gain, id_ in zip(gains, ranking, strict=False) if id_ in answers)
    return found / sum(gains[: len(answers)])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
