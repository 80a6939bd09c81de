"""A writer or a Qdrant server that is killed loses nothing: adding again completes the collection.

Nothing is stored twice, and everything that is stored is found: by vector, by words and by filters.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from qwen3_rag_hybrid import Document, HybridSearcher, Point, QdrantEdgeStore, QdrantStore
from qwen3_rag_testkit.server_processes import QdrantProcess
from qwen3_rag_testkit.store_corpus import make_embedder

pytestmark = pytest.mark.docker

KILLS = [2, pytest.param(20, marks=pytest.mark.slow)]
COUNT = 300
DOCUMENTS = [Document(f"id {n}", f"text {n} w{n}", {"half": n % 2}) for n in range(COUNT)]
FIELDS = {"half": "integer"}
WRITER = """
import sys
from qdrant_client import QdrantClient
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantStore
from qwen3_rag_testkit.store_corpus import make_embedder

client = QdrantClient(
    url=sys.argv[1], grpc_port=int(sys.argv[2]), prefer_grpc=True, check_compatibility=False
)
searcher = HybridSearcher(QdrantStore(client, sys.argv[3]), make_embedder())
searcher.create(fields={"half": "integer"})
print("adding", flush=True)
documents = [Document(f"id {n}", f"text {n} w{n}", {"half": n % 2}) for n in range(300)]
searcher.add(documents, batch_size=10)
"""


@pytest.fixture
def server(qdrant_binary: str) -> Iterator[QdrantProcess]:
    with QdrantProcess(qdrant_binary) as server:
        yield server


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str | int, Point]:
    """The points of an uninterrupted run."""
    with HybridSearcher(QdrantEdgeStore(tmp_path_factory.mktemp("edge")), make_embedder()) as edge:
        edge.create(fields=FIELDS)
        edge.add(DOCUMENTS)
        return edge.retrieve([document.id for document in DOCUMENTS], vectors=True)


@pytest.mark.parametrize("kills", KILLS)
def test_adding_again_after_the_writer_was_killed(
    kills: int, server: QdrantProcess, expected: Mapping[str | int, Point]
) -> None:
    stored = []
    client = QdrantClient(url=server.url, check_compatibility=False)
    for number in range(kills):
        arguments = [server.url, str(server.grpc_port), f"documents {number}"]
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "adding\n"
        time.sleep(0.02 + 0.3 * number / kills)
        writer.kill()
        writer.communicate()
        searcher = HybridSearcher(QdrantStore(client, f"documents {number}"), make_embedder())
        stored.append(searcher.count())

        searcher.add(DOCUMENTS)

        check_complete(searcher, expected)
    client.close()

    # What a batch wrote is kept; in a short run, the kill may come before the first batch.
    assert all(count % 10 == 0 for count in stored)
    assert kills < 20 or any(0 < count < COUNT for count in stored)


@pytest.mark.parametrize("kills", KILLS)
def test_adding_goes_on_after_the_server_was_killed(
    kills: int, server: QdrantProcess, expected: Mapping[str | int, Point]
) -> None:
    stored = []
    client = QdrantClient(url=server.url, timeout=30, check_compatibility=False)
    with ThreadPoolExecutor(1) as pool:
        for number in range(kills):
            searcher = HybridSearcher(QdrantStore(client, f"documents {number}"), make_embedder())
            searcher.create(fields=FIELDS)

            adding = pool.submit(searcher.add, DOCUMENTS, batch_size=5)
            while not searcher.count():  # only writes are sent again
                time.sleep(0.01)
            time.sleep(0.2 * number / kills)
            server.kill()
            server.start()
            stored.append(searcher.count())
            adding.result()

            check_complete(searcher, expected)
            searcher.add(DOCUMENTS)
            check_complete(searcher, expected)
    client.close()

    assert kills < 20 or any(0 < count < COUNT for count in stored)


def check_complete(searcher: HybridSearcher, expected: Mapping[str | int, Point]) -> None:
    """Check that a collection is that of an uninterrupted run, and that everything is found."""
    found = {point.document.id: point for point in searcher.scan(vectors=True)}
    assert {id_: point.document for id_, point in found.items()} == {
        id_: point.document for id_, point in expected.items()
    }
    for id_, wanted in expected.items():
        point = found[id_]
        assert point.dense is not None
        assert wanted.dense is not None
        assert point.sparse is not None
        assert wanted.sparse is not None
        np.testing.assert_allclose(point.dense, wanted.dense, atol=1e-6)
        assert point.sparse.as_dict() == pytest.approx(wanted.sparse.as_dict())
    assert searcher.count() == COUNT
    for half in (0, 1):
        condition = models.FieldCondition(key="half", match=models.MatchValue(value=half))
        assert searcher.count(filter=models.Filter(must=[condition])) == COUNT // 2
    for number in range(0, COUNT, 7):
        best = searcher.search(f"text {number} w{number}", limit=1)[0]
        assert best.id == f"id {number}"
        assert (best.ranks["dense"].rank, best.ranks["bm25"].rank) == (1, 1)
