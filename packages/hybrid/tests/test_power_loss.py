"""Edge: a loss of power leaves what was published, and what was flushed, as it was."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from qwen3_rag import Qwen3Embedder
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore
from qwen3_rag_testkit.backends import TextBackend
from qwen3_rag_testkit.power import Disk, mounted

COUNT = 40

# Writes one version of all documents after another, by changes of all kinds, and tells what is
# certain: what was flushed, and what was published.
WRITER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_power_loss import COUNT, documents, searcher_at

with searcher_at(sys.argv[1]) as searcher:
    version = int(sys.argv[2])
    while True:
        version += 1
        searcher.create(fields={{"n": "integer", f"extra{{version}}": "keyword"}})
        searcher.delete([f"document {{n}}" for n in range(version % COUNT)])
        searcher.add(documents(version))
        if version % 3 == 0:
            searcher.store.optimize()
        searcher.store.flush()
        print("flushed", version, flush=True)
        searcher.store.publish()
        print("published", version, flush=True)
"""


def searcher_at(path: str | Path, *, read_only: bool = False) -> HybridSearcher:
    embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 64))
    return HybridSearcher(QdrantEdgeStore(path, read_only=read_only), embedder)


def documents(version: int) -> list[Document]:
    return [
        Document(f"document {n}", f"version{version} {n} of {n % 17}", {"n": n})
        for n in range(COUNT)
    ]


def checked(searcher: HybridSearcher) -> list[int]:
    """Check each document by itself, and give the version of each."""
    points = list(searcher.scan(vectors=True))
    if not points:
        return []
    embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 64))
    wanted = embedder.embed_documents([point.document.text for point in points])
    stored = np.stack([point.dense for point in points if point.dense is not None])
    np.testing.assert_allclose(stored, wanted, atol=1e-5)
    for point in points:
        assert point.sparse is not None
        assert len(point.sparse) > 1
        assert point.document.id == f"document {point.document.payload['n']}"
        assert f" {point.document.payload['n']} of " in point.document.text
    return [int(point.document.text.split()[0].removeprefix("version")) for point in points]


def lose_power(disk: Disk, steps: int, seconds: float, version: int) -> dict[str, int]:
    """Write until the power is lost, and give the last versions that were told.

    Args:
        disk: With the store.
        steps: Steps to be told before.
        seconds: To wait after the last.
        version: The last one that was written.
    """
    store = disk.folder / "store"
    command = [sys.executable, "-c", WRITER, str(store), str(version)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(steps)]
        time.sleep(seconds)
        disk.lose_power()
        writer.kill()
        told, _ = writer.communicate()
    disk.start_again()
    last = {"flushed": version, "published": version}
    for line in [*lines, *told.splitlines()]:
        name, number = line.split()
        last[name] = int(number)
    return last


def lose_power_often(disk: Disk, times: int) -> None:
    moments = random.Random(7)
    store = disk.folder / "store"
    version = 0
    for number in range(times):
        seconds = moments.choice([0, moments.uniform(0, 1)])
        last = lose_power(disk, 1 + number % 6, seconds, version)
        if last["published"]:
            with searcher_at(store, read_only=True) as reader:
                found = checked(reader)
                assert len(found) == COUNT
                assert len(set(found)) == 1
                assert found[0] >= last["published"]
                assert reader.search(f"version{found[0]} 3 of 3")[0].id == "document 3"
        version = last["flushed"] + 1  # what was not flushed is there in part, or not
        with searcher_at(store) as writer:
            writer.create(fields={"n": "integer"})
            assert all(last["flushed"] <= found <= version for found in checked(writer))
            version += 1
            writer.add(documents(version))
            assert isinstance(writer.store, QdrantEdgeStore)
            writer.store.publish()
        with searcher_at(store, read_only=True) as reader:
            assert checked(reader) == [version] * COUNT


def test_what_was_published_and_flushed_survives_three_losses_of_power(tmp_path: Path) -> None:
    with mounted(tmp_path / "image", tmp_path / "disk") as disk:
        lose_power_often(disk, 3)


@pytest.mark.slow
def test_what_was_published_and_flushed_survives_fifty_losses_of_power(tmp_path: Path) -> None:
    with mounted(tmp_path / "image", tmp_path / "disk") as disk:
        lose_power_often(disk, 50)
