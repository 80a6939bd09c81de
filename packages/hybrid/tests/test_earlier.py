"""Collections of earlier releases, whose sparse vector is named "lexical", stay in use as they are.

They are written here as those releases wrote them, with the engine and the client themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from qwen3_rag.errors import StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore, QdrantStore, Store
from qwen3_rag_testkit.store_corpus import make_embedder

EARLIER = """{
  "format": 1,
  "model": "text-embedding",
  "fingerprint": "text-embedding-64",
  "dim": 64,
  "encoder": {
    "encoder_version": 1,
    "k1": 1.2,
    "b": 0.75,
    "avg_len": 256.0
  },
  "fields": {
    "path": "keyword"
  },
  "version": "0.1.0"
}
"""
# Such a record with the present encoder, so that the rest of the format can be tested.
RECORD = json.dumps({**json.loads(EARLIER), "encoder": BM25Encoder().parameters}, indent=2) + "\n"
# Points as they are stored: "bread" is the document's id, the UUID the point's.
POINTS: list[tuple[int | str, dict[str, Any]]] = [
    (7, {"path": "a.md", "text": "The error E_4711 means that the disk is full.", "_id": 7}),
    (
        "82510bb0-3733-55c2-b0bd-0ab6ffab0347",
        {"path": "b.md", "text": "Bread is baked from flour.", "_id": "bread"},
    ),
]


def vectors_of(text: str) -> tuple[list[float], list[int], list[float]]:
    with make_embedder() as embedder:
        [dense] = embedder.embed_documents([text])
    sparse = BM25Encoder().encode_document(text)
    return dense.tolist(), sparse.indices.tolist(), sparse.values.tolist()


def write_edge_folder(folder: Path, record: str = RECORD) -> None:
    shard_folder = folder / "collection" / "shard"
    shard_folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "collection" / "settings.json").write_text(record, encoding="utf-8")
    dense = edge.EdgeVectorParams(size=64, distance=edge.Distance.Cosine)
    sparse = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)
    shard = edge.EdgeShard.create(
        str(shard_folder),
        edge.EdgeConfig(vectors={"dense": dense}, sparse_vectors={"lexical": sparse}),
    )
    points = []
    for id_, payload in POINTS:
        vector, indices, values = vectors_of(payload["text"])
        terms = edge.SparseVector(indices=indices, values=values)
        vectors: dict[str, Any] = {"dense": vector, "lexical": terms}
        points.append(edge.Point(id_, vectors, payload))
    shard.update(edge.UpdateOperation.upsert_points(points))
    kind = edge.PayloadSchemaType.Keyword
    shard.update(edge.UpdateOperation.create_field_index("path", kind))
    shard.close()


def write_collection(client: QdrantClient, name: str) -> None:
    client.create_collection(
        name,
        vectors_config={"dense": models.VectorParams(size=64, distance=models.Distance.COSINE)},
        sparse_vectors_config={"lexical": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        metadata={"qwen3_rag": json.loads(RECORD)},
    )
    points = []
    for id_, payload in POINTS:
        vector, indices, values = vectors_of(payload["text"])
        terms = models.SparseVector(indices=indices, values=values)
        vectors: dict[str, Any] = {"dense": vector, "lexical": terms}
        points.append(models.PointStruct(id=id_, vector=vectors, payload=payload))
    client.upsert(name, points)


@pytest.fixture(params=["edge", "client"])
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store over a collection that an earlier release made."""
    if request.param == "edge":
        write_edge_folder(tmp_path)
        yield QdrantEdgeStore(tmp_path)
        return
    client = QdrantClient(":memory:")
    write_collection(client, "documents")
    yield QdrantStore(client, "documents")
    client.close()


def test_an_earlier_collection_is_searched_and_written_to(earlier: Store) -> None:
    with HybridSearcher(earlier, make_embedder()) as searcher:
        assert searcher.check_collection() == []
        error, bread = searcher.search("E_4711 disk bread")
        assert (error.id, bread.id) == (7, "bread")
        assert error.ranks["bm25"].score == pytest.approx(4.5565276)
        assert bread.payload == {"path": "b.md"}
        assert searcher.retrieve(["bread"], vectors=True)["bread"].sparse is not None

        searcher.add([Document("new", "A second disk error", {"path": "c.md"})])
        searcher.delete([7])

        assert [point.document.id for point in searcher.scan()].count("new") == 1
        assert searcher.search("disk")[0].id == "new"
        assert searcher.search("disk")[0].ranks["bm25"].rank == 1
        assert all(point.sparse is not None for point in searcher.scan(vectors=True))


def test_a_collection_of_encoder_version_1_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    write_edge_folder(tmp_path, EARLIER)

    with HybridSearcher(QdrantEdgeStore(tmp_path), make_embedder()) as searcher:
        for use in (lambda: searcher.search("bread"), lambda: searcher.add([Document("a", "b")])):
            with pytest.raises(StoreError, match=r"encoder_version 1.*renew_bm25"):
                use()
        assert searcher.count() == len(POINTS)

    record = tmp_path / "collection" / "settings.json"
    assert record.read_text(encoding="utf-8") == EARLIER


def test_new_fields_leave_the_rest_of_an_earlier_record_as_it_was(tmp_path: Path) -> None:
    write_edge_folder(tmp_path / "edge")
    client = QdrantClient(":memory:")
    write_collection(client, "documents")

    for store in (QdrantEdgeStore(tmp_path / "edge"), QdrantStore(client, "documents")):
        with HybridSearcher(store, make_embedder()) as searcher:
            searcher.create()
            searcher.create(fields={"year": "integer"})

    expected = RECORD.replace('"path": "keyword"', '"path": "keyword",\n    "year": "integer"')
    record = tmp_path / "edge" / "collection" / "settings.json"
    assert record.read_text(encoding="utf-8") == expected
    metadata = client.get_collection("documents").config.metadata
    assert metadata == {"qwen3_rag": json.loads(expected)}
    with HybridSearcher(QdrantEdgeStore(tmp_path / "edge"), make_embedder()) as searcher:
        assert searcher.search("bread")[0].id == "bread"
    client.close()


def test_a_record_of_this_release_does_not_rename_an_earlier_sparse_vector(earlier: Store) -> None:
    recorded = earlier.record()
    assert recorded is not None

    earlier.create(replace(recorded, fields={}, format=2))

    record = earlier.record()
    assert record is not None
    assert (record.fields, record.format) == ({}, 1)
    earlier.close()


def test_a_new_collection_names_its_sparse_vector_bm25(tmp_path: Path) -> None:
    client = QdrantClient(":memory:")
    for store in (QdrantEdgeStore(tmp_path), QdrantStore(client, "documents")):
        with HybridSearcher(store, make_embedder()) as searcher:
            searcher.create()

    assert list(client.get_collection("documents").config.params.sparse_vectors or ()) == ["bm25"]
    shard = edge.EdgeShard.load(str(tmp_path / "collection" / "shard"))
    nearest = edge.Query.Nearest(edge.SparseVector(indices=[1], values=[1.0]), using="bm25")
    assert shard.query(edge.QueryRequest(limit=1, query=nearest)) == []
    shard.close()
    client.close()
