"""Documents of a collection are embedded anew into another one, and killed calls continue."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from qwen3_rag import InputError, StoreError
from qwen3_rag.lexical import mean_length
from qwen3_rag_hybrid import (
    Document,
    HybridSearcher,
    Point,
    Store,
    open_store,
    reindex,
)
from qwen3_rag_testkit.store_corpus import DOCUMENTS, FIELDS, make_embedder

Opener = Callable[[str], Store]


def fill(store: Store, documents: list[Document]) -> None:
    with make_embedder(32) as embedder:
        searcher = HybridSearcher(store, embedder)
        searcher.create(fields=FIELDS)
        searcher.add(documents)


def content(store: Store) -> dict[Any, Point]:
    return {point.document.id: point for point in store.scan(vectors=True)}


class Counting:
    """Counts the texts that an embedder embeds."""

    def __init__(self, dim: int = 64) -> None:
        self.embedder = make_embedder(dim)
        self.texts: list[str] = []
        embed = self.embedder.embed_documents

        def counted(texts: Any, **arguments: Any) -> Any:
            self.texts += texts
            return embed(texts, **arguments)

        self.embedder.embed_documents = counted  # type: ignore[assignment,method-assign]


def test_a_new_collection_has_the_documents_with_vectors_of_the_new_model(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    fill(old, DOCUMENTS)

    assert reindex(old, new, make_embedder(64), batch_size=3) == len(DOCUMENTS)

    found = content(new)
    assert {id_: p.document for id_, p in found.items()} == {d.id: d for d in DOCUMENTS}
    assert all(point.dense is not None and len(point.dense) == 64 for point in found.values())
    record = new.record()
    assert record is not None
    assert (record.dim, dict(record.fields)) == (64, FIELDS)
    searcher = HybridSearcher(new, make_embedder(64))
    assert searcher.search("capital of Germany", limit=1)[0].id == "germany"
    assert reindex(old, new, make_embedder(64)) == 0


def test_an_interrupted_call_continues_and_embeds_nothing_twice_but_a_batch(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    documents = [Document(n, f"text {n}", {"path": f"{n}.md"}) for n in range(50)]
    fill(old, documents)
    counting = Counting()
    write, writes = new.upsert, 0

    def upsert(points: Any) -> None:
        nonlocal writes
        writes += 1
        if writes == 3:
            raise KeyboardInterrupt
        write(points)

    new.upsert = upsert  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        reindex(old, new, counting.embedder, batch_size=10)
    again = reindex(old, new, counting.embedder, batch_size=10)

    assert again == 30
    assert len(counting.texts) == 60  # one batch twice
    assert {point.document.id for point in new.scan()} == {d.id for d in documents}


def test_changes_that_are_made_meanwhile_are_carried_over(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    documents = [Document(n, f"text {n}", {"path": "a.md"}) for n in range(20)]
    fill(old, documents)
    counting = Counting()
    embed = counting.embedder.embed_documents

    def change(texts: Any, **arguments: Any) -> Any:
        counting.embedder.embed_documents = embed  # type: ignore[method-assign]
        with make_embedder(32) as embedder:
            searcher = HybridSearcher(old, embedder)
            searcher.add([Document(0, "another text"), Document(1, "text 1", {"path": "b.md"})])
            searcher.add([Document("late", "a late text")])
            searcher.delete([2])
        return embed(texts, **arguments)

    counting.embedder.embed_documents = change  # type: ignore[assignment,method-assign]
    reindex(old, new, counting.embedder, batch_size=20)

    expected = {d.id: d for d in documents[3:]} | {
        0: Document(0, "another text"),
        1: Document(1, "text 1", {"path": "b.md"}),
        "late": Document("late", "a late text"),
    }
    assert {id_: p.document for id_, p in content(new).items()} == expected
    assert sorted(counting.texts[20:]) == ["a late text", "another text"]


def test_documents_of_others_are_never_touched(opener: Opener) -> None:
    old, other, new = opener("old"), opener("other"), opener("new")
    fill(old, DOCUMENTS)
    fill(other, [Document("theirs", "their text")])

    with pytest.raises(StoreError, match="Choose the name of a new collection"):
        reindex(old, other, make_embedder(32))
    reindex(old, new, make_embedder(64))
    HybridSearcher(new, make_embedder(64)).add([Document("added later", "a text")])
    assert reindex(old, new, make_embedder(64)) == 0

    assert [point.document.id for point in other.scan()] == ["theirs"]
    assert new.count() == len(DOCUMENTS) + 1


def test_a_missing_source_is_named(opener: Opener) -> None:
    with pytest.raises(StoreError, match=r"(?i)no collection|not found"):
        reindex(opener("nothing"), opener("new"), make_embedder())


def test_an_empty_collection_gives_an_empty_one(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    fill(old, [])

    assert reindex(old, new, make_embedder(64)) == 0

    assert new.count() == 0
    assert new.record() is not None


def test_the_mean_length_is_measured(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    documents = [Document(n, f"text number {n} " * 4) for n in range(250)]
    fill(old, documents[:1])
    fill(old, documents)

    reindex(old, new, make_embedder())

    record = new.record()
    assert record is not None
    mean = mean_length([document.text for document in documents])
    assert record.encoder["avg_len"] == pytest.approx(mean, abs=0.1)


def test_an_alias_moves_when_all_is_there(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    fill(old, DOCUMENTS)
    alias = f"live_{uuid4().hex}"
    if not new.has_aliases:
        with pytest.raises(InputError, match="has no aliases"):
            reindex(old, new, make_embedder(64), alias=alias)
        with pytest.raises(StoreError, match="has no aliases"):
            new.move_alias(alias)
        assert new.count() == 0
        return
    behind: Any = old
    old.move_alias(alias)
    live: Any = type(behind)(behind.client, alias)
    before = live.record()

    with pytest.raises(StoreError, match="is the name of a collection"):
        reindex(old, new, make_embedder(64), alias=behind.collection)
    reindex(old, new, make_embedder(64), alias=alias)

    assert before is not None
    assert before.dim == 32
    after = live.record()
    assert after is not None
    assert after.dim == 64
    searcher = HybridSearcher(live, make_embedder(64))
    assert searcher.search("capital of Germany", limit=1)[0].id == "germany"


def test_a_searcher_that_is_open_refuses_another_model_behind_its_alias(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from qdrant_client import QdrantClient

    from qwen3_rag_hybrid import QdrantStore
    from qwen3_rag_hybrid.stores import base

    monkeypatch.setattr(base, "LASTING", 0)
    with closing(QdrantClient(":memory:")) as client:
        old, new = QdrantStore(client, "old"), QdrantStore(client, "new")
        fill(old, DOCUMENTS)
        old.move_alias("live")
        searcher = HybridSearcher(QdrantStore(client, "live"), make_embedder(32))
        assert searcher.search("capital of Germany", limit=1)[0].id == "germany"

        reindex(old, new, make_embedder(64), alias="live")

        with pytest.raises(StoreError, match="holds vectors of 64 numbers"):
            searcher.search("capital of Germany")


def test_a_collection_without_a_record_is_read_by_its_names(tmp_path: Path) -> None:
    from qdrant_client import QdrantClient, models

    from qwen3_rag_hybrid import QdrantStore

    with closing(QdrantClient(":memory:")) as client:
        size = models.VectorParams(size=4, distance=models.Distance.COSINE)
        client.create_collection("theirs", vectors_config=size)
        payload = {"page_content": "Paris is the capital of France.", "metadata": {"page": 1}}
        uuid = str(uuid4())
        point = models.PointStruct(id=uuid, vector=[1.0, 0.0, 0.0, 0.0], payload=payload)
        client.upsert("theirs", [point])
        theirs = QdrantStore(client, "theirs", dense="", text_key="page_content")
        new = QdrantStore(client, "new", text_key="page_content")

        assert reindex(theirs, new, make_embedder()) == 1

        [hit] = HybridSearcher(new, make_embedder()).search("capital")
        assert (hit.id, hit.payload) == (uuid, {"metadata": {"page": 1}})


WRITER = """
import sys
from qwen3_rag_hybrid import open_store, reindex
from qwen3_rag_testkit.store_corpus import make_embedder

embedder = make_embedder(64)
embed = embedder.embed_documents

def embed_documents(texts, **arguments):
    print("embedded", *(text.split()[1] for text in texts), flush=True)
    return embed(texts, **arguments)

embedder.embed_documents = embed_documents
reindex(open_store(sys.argv[1]), open_store(sys.argv[2]), embedder, batch_size=8)
print("complete", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("kind", ["edge", "milvus"])
@pytest.mark.parametrize("batches", [[0], [1, 2, 1], [3, 5], [8]])
def test_killed_processes_embed_at_most_a_batch_twice(
    kind: str, batches: list[int], tmp_path: Path
) -> None:
    if kind == "milvus":
        pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    old = str(tmp_path / "old")
    new = str(tmp_path / "new") if kind == "edge" else f"milvus:{tmp_path}/new.db/new"
    with closing(open_store(old)) as store:
        fill(store, [Document(n, f"text {n}") for n in range(60)])
    embedded: list[str] = []

    def run(most: int) -> bool:
        """Kill the process after so many batches; return whether it ended by itself."""
        command = [sys.executable, "-c", WRITER, old, new]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("complete"):
                    return True
                embedded.extend(line.split()[1:])
                if most == 0:
                    process.kill()
                most -= 1
        return False

    for most in batches:
        run(most)
    assert run(1_000)

    assert len(embedded) <= 60 + 8 * len(batches)
    with closing(open_store(new)) as store:
        assert sorted(p.document.text for p in store.scan()) == sorted(
            f"text {n}" for n in range(60)
        )
