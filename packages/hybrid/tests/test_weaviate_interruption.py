"""A writer to Weaviate or its server that is killed loses nothing: adding again completes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from threading import Timer
from typing import Any

import pytest
import weaviate
from weaviate import WeaviateClient
from weaviate.classes.query import Filter

from qwen3_rag import StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, WeaviateStore
from qwen3_rag_testkit.store_corpus import make_embedder
from qwen3_rag_testkit.weaviate_server import WeaviateServer

FIELDS = {"n": "integer"}
SOME = Filter.by_property("n").less_than(10_000)

WRITER = """
import json, sys
import weaviate
from qwen3_rag_hybrid import Document, HybridSearcher, WeaviateStore
from qwen3_rag_testkit.store_corpus import make_embedder

with weaviate.connect_to_local(**json.loads(sys.argv[1])) as client:
    searcher = HybridSearcher(WeaviateStore(client, sys.argv[2]), make_embedder())
    documents = [Document(n, f"text {n} of {n % 17}", {"n": n}) for n in range(600)]
    searcher.add(documents, batch_size=10)
"""


def documents(count: int) -> list[Document]:
    return [Document(n, f"text {n} of {n % 17}", {"n": n}) for n in range(count)]


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_writer_loses_nothing(
    weaviate_client: WeaviateClient, weaviate_address: dict[str, Any], collection: str, kills: int
) -> None:
    if "auth_credentials" in weaviate_address:
        pytest.skip("the writer knows no key")
    for number in range(kills):
        weaviate_client.collections.delete(collection)
        searcher = searcher_over(weaviate_client, collection)
        searcher.create(fields=FIELDS)
        command = [sys.executable, "-c", WRITER, json.dumps(weaviate_address), collection]
        with subprocess.Popen(command) as writer:
            while searcher.count() < 500 * number // kills + 1 and writer.poll() is None:
                time.sleep(0.01)
            writer.kill()
        assert 0 < searcher.count() < 600

        assert_complete_after_adding_again(weaviate_client, collection, 600)


@pytest.mark.docker
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_server_loses_nothing(kills: int) -> None:
    binary = os.environ.get("WEAVIATE_BINARY")
    if not binary:
        pytest.skip("WEAVIATE_BINARY names no server to kill")
    for number in range(kills):
        with WeaviateServer(binary) as server:
            address: dict[str, Any] = {"port": server.port, "grpc_port": server.grpc_port}
            with weaviate.connect_to_local(**address) as client:
                searcher = searcher_over(client, "Documents")
                searcher.create(fields=FIELDS)
                killer = Timer(0.3 + 0.1 * number, server.kill)
                killer.start()
                with pytest.raises(StoreError, match="failed"):
                    add_for_ever(searcher)
                killer.join()
            server.start()
            with weaviate.connect_to_local(**address) as client:
                assert_complete_after_adding_again(client, "Documents", 3_000)


def add_for_ever(searcher: HybridSearcher) -> None:
    while True:
        searcher.add(documents(3_000), batch_size=100)


def assert_complete_after_adding_again(client: WeaviateClient, collection: str, count: int) -> None:
    """Compare with a collection that was filled without an interruption."""
    again, whole = (searcher_over(client, name) for name in (collection, f"{collection}_whole"))
    again.add(documents(count))
    whole.create(fields=FIELDS)
    whole.add(documents(count))

    found, expected = (
        {point.document.id: point for point in each.scan(vectors=True)} for each in (again, whole)
    )
    assert again.count() == len(found) == count
    for id_, point in found.items():
        assert point.document == expected[id_].document
        assert point.dense is not None
        assert point.dense == pytest.approx(expected[id_].dense, abs=1e-6)
    for query in ("text 7", "of 16", "text 123 of 4"):
        for filter in (None, SOME):
            hits, others = (
                each.search(query, limit=count, filter=filter) for each in (again, whole)
            )
            assert {hit.id for hit in hits} == {hit.id for hit in others}
            assert len(hits) == count
            assert [hit.ranks.keys() for hit in hits] == [hit.ranks.keys() for hit in others]
    client.collections.delete(f"{collection}_whole")


def searcher_over(client: WeaviateClient, collection: str) -> HybridSearcher:
    return HybridSearcher(WeaviateStore(client, collection), make_embedder(), candidates=3_000)
