"""Collections of the user's own: taken as they are, and every mismatch named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from qwen3_rag import InputError, Qwen3Embedder, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantStore
from qwen3_rag_testkit.backends import TextBackend
from qwen3_rag_testkit.qdrant_server import QdrantServer

COSINE = models.VectorParams(size=64, distance=models.Distance.COSINE)
IDF = models.SparseVectorParams(modifier=models.Modifier.IDF)


def searcher_over(client: QdrantClient, **names: Any) -> HybridSearcher:
    embedder = Qwen3Embedder("test/embedder", backend=TextBackend("embedding", 64))
    return HybridSearcher(QdrantStore(client, "mine", **names), embedder)


def test_the_collection_it_makes_weighs_words_by_idf() -> None:
    client = QdrantClient(":memory:")

    searcher_over(client).create()

    parameters = client.get_collection("mine").config.params
    assert parameters.sparse_vectors is not None
    assert parameters.sparse_vectors["bm25"].modifier == models.Modifier.IDF


def test_short_vectors_need_a_name_for_the_others() -> None:
    client = QdrantClient(":memory:")

    with pytest.raises(InputError, match=r"of this collection has no name.*dense=NAME"):
        searcher_over(client, dense="").create(short_dim=32)

    assert not client.collection_exists("mine")


def test_a_collection_without_short_vectors_is_not_searched_by_them() -> None:
    client = QdrantClient(":memory:")
    client.create_collection(
        "mine", vectors_config={"dense": COSINE}, sparse_vectors_config={"bm25": IDF}
    )

    with pytest.raises(StoreError, match=r"32 numbers under 'dense_short', and has no such vector"):
        searcher_over(client).create(short_dim=32)


@pytest.mark.parametrize(
    ("vectors", "sparse", "codes", "remedy"),
    [
        ({"dense": COSINE}, {"bm25": models.SparseVectorParams()}, ["idf"], "update_collection"),
        ({"dense": COSINE}, {"words": IDF}, ["sparse"], "sparse=NAME"),
        ({"dense": COSINE}, None, ["sparse"], "sparse_vectors_config"),
        ({"text": COSINE}, {"bm25": IDF}, ["dense"], "dense=NAME"),
        (COSINE, {"bm25": IDF}, ["dense"], '"" for the unnamed one'),
        (
            {"dense": models.VectorParams(size=32, distance=models.Distance.EUCLID)},
            {"bm25": IDF},
            ["dim", "distance"],
            "dim=32",
        ),
        (
            {
                "dense": models.VectorParams(
                    size=64,
                    distance=models.Distance.COSINE,
                    multivector_config=models.MultiVectorConfig(
                        comparator=models.MultiVectorComparator.MAX_SIM
                    ),
                )
            },
            {"bm25": IDF},
            ["dense"],
            "single vector",
        ),
    ],
)
def test_every_mismatch_is_named_with_its_remedy(
    vectors: Any, sparse: Any, codes: list[str], remedy: str
) -> None:
    client = QdrantClient(":memory:")
    client.create_collection("mine", vectors_config=vectors, sparse_vectors_config=sparse)
    searcher = searcher_over(client)

    findings = searcher.check_collection()

    assert [finding.code for finding in findings] == [*codes, "record"]
    assert remedy in findings[0].remedy
    for call in (searcher.create, lambda: searcher.search("x")):
        with pytest.raises(StoreError) as error:
            call()
        assert findings[0].message in str(error.value)
        assert findings[0].remedy in str(error.value)


def test_the_remedy_for_a_missing_idf_works() -> None:
    client = QdrantClient(":memory:")
    client.create_collection(
        "mine",
        vectors_config={"dense": COSINE},
        sparse_vectors_config={"bm25": models.SparseVectorParams()},
    )

    client.update_collection("mine", sparse_vectors_config={"bm25": IDF})

    searcher_over(client).create()
    assert searcher_over(client).check_collection() == []


def test_a_collection_with_points_is_taken_over_only_when_asked() -> None:
    client = QdrantClient(":memory:")
    client.create_collection(
        "mine", vectors_config=COSINE, sparse_vectors_config={"words": IDF}, metadata={"mine": 1}
    )
    names = {"dense": "", "sparse": "words", "text_key": "page_content", "id_key": "doc"}
    searcher = searcher_over(client, **names)
    [vector] = searcher.embedder.embed_documents(["Bread is baked."])
    sparse = searcher.encoder.encode_document("Bread is baked.")
    uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
    client.upsert(
        "mine",
        [
            models.PointStruct(
                id=uuid,
                vector={
                    "": vector.tolist(),
                    "words": models.SparseVector(
                        indices=sparse.indices.tolist(), values=sparse.values.tolist()
                    ),
                },
                payload={"page_content": "Bread is baked.", "text": "a field of mine"},
            )
        ],
    )

    with pytest.raises(StoreError, match=r"no record of the model.*create\(adopt=True\)"):
        searcher.create()
    with pytest.raises(StoreError, match="no record"):
        searcher.search("bread")
    searcher.create(adopt=True)
    searcher.add([Document("a", "Rivers flow.", {"text": "allowed, it is not the text's place"})])

    best = searcher.search("bread baked")[0]
    assert (best.id, best.text) == (uuid, "Bread is baked.")
    assert best.payload == {"text": "a field of mine"}
    assert searcher.check_collection() == []
    assert client.get_collection("mine").config.metadata["mine"] == 1  # type: ignore[index]
    searcher.delete([uuid])
    assert searcher.count() == 1


def test_a_wrong_text_field_is_named() -> None:
    client = QdrantClient(":memory:")
    searcher_over(client, text_key="page_content").create()
    searcher_over(client, text_key="page_content").add([Document(1, "Bread is baked.")])

    with pytest.raises(StoreError, match=r"no text in its payload field 'text'.*'page_content'"):
        searcher_over(client).search("bread")


def test_a_server_that_is_not_there_is_told() -> None:
    client = QdrantClient(url="http://127.0.0.1:1", check_compatibility=False)
    searcher = searcher_over(client)

    with pytest.raises(StoreError, match=r"the collection 'mine' failed: .*refused"):
        searcher.search("x")


def test_a_folder_keeps_collection_and_record(tmp_path: Path) -> None:
    client = QdrantClient(path=str(tmp_path))
    searcher_over(client).create(fields={"path": "keyword"})
    # Its database is used from several threads here.
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: searcher_over(client).add([Document(n, f"text {n}")]), range(4)))
    asyncio.run(searcher_over(client).aadd([Document("a", "Bread is baked.", {"path": "x"})]))
    client.close()

    again = QdrantClient(path=str(tmp_path))
    searcher = searcher_over(again)
    assert searcher.check_collection() == []
    assert searcher.count() == 5
    assert searcher.search("bread")[0].id == "a"
    searcher.close()
    assert again.collection_exists("mine")  # the client stays the user's
    again.close()
    with pytest.raises(StoreError, match="closed"):
        searcher.count()


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    with QdrantServer() as server:
        yield server


@pytest.fixture
def client(server: QdrantServer) -> Iterator[QdrantClient]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    yield client
    client.close()


def test_a_server_gets_payload_indexes_and_misses_them(client: QdrantClient) -> None:
    searcher = searcher_over(client)

    searcher.create(fields={"path": "keyword", "year": "integer"})

    indexes = client.get_collection("mine").payload_schema
    assert {name: index.data_type.value for name, index in indexes.items()} == {
        "path": "keyword",
        "year": "integer",
    }
    assert searcher.check_collection() == []

    client.delete_payload_index("mine", "year")
    [finding] = searcher.check_collection()
    assert (finding.code, finding.severity) == ("index", "warning")
    assert "no index on the field 'year'" in finding.message
    searcher.create()  # which is the remedy it names
    assert searcher.check_collection() == []


def test_a_collection_that_another_program_makes_at_the_same_time_is_used(
    server: QdrantServer, client: QdrantClient
) -> None:
    other = searcher_over(client)

    def make_first(request: str) -> None:
        if request == "PUT /collections/mine":
            server.on_request = None
            other.create(fields={"year": "integer"})

    server.on_request = make_first
    searcher_over(client).create(fields={"year": "integer"})

    assert other.check_collection() == []
    assert server.requests.count("PUT /collections/mine") == 2


def test_local_mode_neither_makes_payload_indexes_nor_misses_them() -> None:
    client = QdrantClient(":memory:")
    searcher = searcher_over(client)

    searcher.create(fields={"path": "keyword"})  # the client would warn of an index

    assert searcher.check_collection() == []


def test_a_server_answers_several_searches_at_once(
    server: QdrantServer, client: QdrantClient
) -> None:
    searcher = searcher_over(client)
    searcher.create()
    searcher.add([Document("a", "Bread is baked.")])
    both_there = Barrier(2)

    def wait(request: str) -> None:
        if request.endswith("/query/batch"):
            both_there.wait(timeout=10)  # broken if the second search waits for the first

    server.on_request = wait
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(searcher.search, ["bread", "baked"]))

    assert [hits[0].id for hits in found] == ["a", "a"]


@pytest.mark.parametrize(
    ("text", "payload", "requests"),
    [
        ("text {}", {}, range(4, 8)),  # short ones: by their number
        ("word {} " + "of a sentence " * 100, {}, range(4, 8)),
        ("text {}", {"notes": ["수" * 3_000]}, range(5, 8)),
        ("{} " + " ".join(f"word{n}" for n in range(300)), {}, range(8, 16)),  # many terms
    ],
)
def test_a_large_batch_is_sent_in_parts_that_a_server_takes(
    text: str, payload: dict[str, Any], requests: range
) -> None:
    with QdrantServer(most_bytes=3 * 2**20) as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        searcher = searcher_over(client)
        searcher.create()

        documents = [Document(n, text.format(n), payload) for n in range(1_000)]
        searcher.add(documents, batch_size=1_000)

        assert searcher.count() == 1_000
        assert server.requests.count("PUT /collections/mine/points") in requests
        client.close()
