"""A writer to Milvus Lite or its server that is killed loses nothing: adding again completes it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from qwen3_rag import StoreError
from qwen3_rag_hybrid import Document, HybridSearcher
from qwen3_rag_testkit.server_processes import MilvusLiteProcess
from qwen3_rag_testkit.store_corpus import make_embedder

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from qwen3_rag_hybrid import MilvusStore  # noqa: E402  # needs pymilvus

WRITER = """
import sys
from pymilvus import MilvusClient
from qwen3_rag_hybrid import Document, HybridSearcher, MilvusStore
from qwen3_rag_testkit.store_corpus import make_embedder

searcher = HybridSearcher(MilvusStore(MilvusClient(sys.argv[1]), "documents"), make_embedder())
searcher.create()
print(searcher.count(), flush=True)
searcher.add([Document(n, f"text {n}", {"n": n}) for n in range(300)], batch_size=10)
points = list(searcher.scan(vectors=True))
assert sorted(point.document.payload["n"] for point in points) == list(range(300))
assert searcher.count() == 300
assert searcher.search("text 123")[0].id == 123
print("complete")
"""


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_adding_again_completes_the_collection(kills: int, tmp_path: Path) -> None:
    stored = []
    for number in range(kills):
        path = tmp_path / f"{number}.db"
        writer = start(path)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.1 + 0.4 * number / kills)
        writer.kill()
        writer.communicate()

        output, errors = start(path).communicate()

        assert output.endswith("complete\n"), errors
        stored.append(int(output.splitlines()[0]))

    # What a batch wrote is kept; in a single run, the kill may come before the first batch.
    assert kills == 1 or any(0 < count < 300 for count in stored)
    assert all(count % 10 == 0 for count in stored)


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_server_loses_nothing(kills: int) -> None:
    documents = [Document(n, f"text {n}", {"n": n}) for n in range(300)]
    for number in range(kills):
        with MilvusLiteProcess() as server:
            url = f"http://127.0.0.1:{server.port}"
            with searcher_at(url) as searcher:
                searcher.create()
                killer = Timer(0.3 + 0.1 * number, server.kill)
                killer.start()
                with pytest.raises(StoreError):
                    add_for_ever(searcher, documents)
                killer.join()
            server.start()
            with searcher_at(url) as searcher:
                searcher.add(documents)
                stored = {point.document.id: point.document for point in searcher.scan()}
                assert searcher.count() == len(stored) == len(documents)
                assert [stored[document.id] for document in documents] == documents
                hits = searcher.search("text", limit=300)
                assert {hit.id for hit in hits if "bm25" in hit.ranks} == stored.keys()
                assert {hit.id for hit in hits if "dense" in hit.ranks} == stored.keys()


def add_for_ever(searcher: HybridSearcher, documents: list[Document]) -> None:
    while True:
        searcher.add(documents, batch_size=10)


@contextmanager
def searcher_at(url: str) -> Iterator[HybridSearcher]:
    """A searcher over the collection, once a client can connect again."""
    for _ in range(100):
        try:
            client = pymilvus.MilvusClient(url, timeout=10)
            break
        except pymilvus.exceptions.MilvusException:
            time.sleep(0.2)
    store = MilvusStore(client, "documents")
    yield HybridSearcher(store, make_embedder(), candidates=300)
    client.close()


def start(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
