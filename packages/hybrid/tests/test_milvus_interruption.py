"""A writer to Milvus Lite that is killed loses nothing: adding again completes the collection."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pymilvus", reason="pymilvus is not installed")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

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


def start(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
