"""Weaviate collections of other shapes, their fields and filters, and servers that fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import weaviate
from weaviate import WeaviateClient
from weaviate.classes.config import (
    Configure,
    DataType,
    Property,
    Tokenization,
    VectorDistances,
)
from weaviate.classes.query import Filter
from weaviate.connect import ConnectionParams

from qwen3_rag import InputError, InputTypeError, StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import (
    CollectionRecord,
    Document,
    HybridSearcher,
    Point,
    WeaviateStore,
    renew_bm25,
)
from qwen3_rag_testkit.store_corpus import make_embedder

# Nothing listens on these ports.
UNREACHABLE = ConnectionParams.from_params("127.0.0.1", 9, False, "127.0.0.1", 7, False)


def searcher_over(client: WeaviateClient, collection: str, dim: int = 64) -> HybridSearcher:
    return HybridSearcher(WeaviateStore(client, collection), make_embedder(dim))


def make_mine(client: WeaviateClient, collection: str, **changes: Any) -> None:
    """Make a collection like the store's own but for `changes`, with a description."""
    tokenization = changes.pop("tokenization", Tokenization.WHITESPACE)
    names = changes.pop("names", ["text", "_payload", "_document_id"])
    distance = changes.pop("distance", VectorDistances.COSINE)
    arguments: dict[str, Any] = {
        "description": "My pages.\nAll of them.",
        "properties": [
            Property(name="_bm25", data_type=DataType.TEXT, tokenization=tokenization),
            *(Property(name=name, data_type=DataType.TEXT) for name in names),
        ],
        "vector_config": Configure.Vectors.self_provided(
            name=changes.pop("vector", "dense"),
            vector_index_config=Configure.VectorIndex.hnsw(distance_metric=distance),
        ),
        **changes,
    }
    client.collections.create(collection, **arguments)


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"vector": "text"}, "dense", r"no vector named 'dense'; its named vectors: 'text'"),
        ({"distance": VectorDistances.DOT}, "distance", "compares vectors by 'dot'"),
        ({"tokenization": Tokenization.WORD}, "sparse", "tokenization 'whitespace'"),
        ({"names": ["text", "_document_id"]}, "property", "no property '_payload'"),
        (
            {"multi_tenancy_config": Configure.multi_tenancy(enabled=True)},
            "tenants",
            "has tenants",
        ),
    ],
)
def test_every_mismatch_is_named_with_its_remedy(
    weaviate_client: WeaviateClient,
    collection: str,
    changes: dict[str, Any],
    code: str,
    message: str,
) -> None:
    make_mine(weaviate_client, collection, **changes)
    searcher = searcher_over(weaviate_client, collection)

    [finding, no_record] = searcher.check_collection()

    assert (finding.code, finding.severity, no_record.code) == (code, "error", "record")
    assert "new collection" in finding.remedy
    for call in (searcher.create, lambda: searcher.search("x")):
        with pytest.raises(StoreError, match=message):
            call()


def test_a_collection_with_objects_is_taken_over_only_when_asked(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    first = searcher_over(weaviate_client, collection)
    first.create()
    first.add([Document("bread", "Bread is baked.")])
    config = weaviate_client.collections.use(collection).config
    config.update(description="My pages.\nAll of them.")
    searcher = searcher_over(weaviate_client, collection)

    assert [one.code for one in searcher.check_collection()] == ["record"]
    with pytest.raises(StoreError, match=r"documents in it but no record.*create\(adopt=True\)"):
        searcher.create()
    with pytest.raises(StoreError, match=r"64 numbers, and the embedder gives 32.*dim=64"):
        searcher_over(weaviate_client, collection, 32).create(adopt=True)
    searcher.create(adopt=True)
    searcher.create(fields={"path": "keyword"})

    assert searcher.check_collection() == []
    assert searcher.search("baked")[0].id == "bread"
    assert str(config.get().description).startswith("My pages.\nAll of them.\nqwen3_rag: {")
    assert str(config.get().description).count("qwen3_rag: ") == 1


def test_the_server_computes_bm25_with_the_parameters_of_the_encoder(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    store = WeaviateStore(weaviate_client, collection)
    searcher = HybridSearcher(store, make_embedder(), encoder=BM25Encoder(k1=1.5, b=0.5))
    searcher.create()
    searcher.add([Document(n, "bread " * n) for n in range(1, 9)])

    def parameters() -> tuple[float, float]:
        bm25 = weaviate_client.collections.use(collection).config.get().inverted_index_config.bm25
        return bm25.k1, bm25.b

    assert parameters() == (1.5, 0.5)
    assert searcher.check_collection() == []
    assert renew_bm25(store, BM25Encoder(k1=0.5, b=1)) == 8
    assert parameters() == (0.5, 1)

    make_parameters_differ = weaviate.classes.config.Reconfigure.inverted_index(bm25_k1=2.0)
    weaviate_client.collections.use(collection).config.update(
        inverted_index_config=make_parameters_differ
    )
    [finding] = searcher_over(weaviate_client, collection).check_collection()
    assert (finding.code, finding.severity) == ("encoder", "warning")
    assert "bm25_k1=0.5, bm25_b=1" in finding.remedy


def test_a_field_declared_later_filters_the_documents_that_are_there(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    searcher = searcher_over(weaviate_client, collection)
    searcher.create()
    searcher.add(
        [Document(n, f"text {n}", {"even": n % 2 == 0, "tags": ["a", str(n)]}) for n in range(600)]
    )
    before = [(point.document, point.dense) for point in searcher.scan(vectors=True)]

    searcher.create(fields={"even": "bool", "tags": "keyword", "absent": "integer"})

    even = Filter.by_property("even").equal(True)
    assert searcher.count(filter=even) == 300
    assert {point.document.id for point in searcher.scan(filter=even)} == {*range(0, 600, 2)}
    both = even & Filter.by_property("tags").contains_any(["7", "8"])
    assert [hit.id for hit in searcher.search("text", filter=both)] == [8]
    after = {point.document.id: point for point in searcher.scan(vectors=True)}
    assert len(after) == 600
    for document, vector in before:
        assert after[document.id].document == document
        assert after[document.id].dense == pytest.approx(vector, abs=1e-7)


VALUES: list[tuple[str, Any, Any, Callable[[Any], Any]]] = [
    ("keyword", "a b", "a", lambda field: field.equal("a b")),
    ("integer", [3, 2**62], 2**63, lambda field: field.greater_than(2**61)),
    ("float", 2, "2", lambda field: field.less_than(2.5)),
    ("bool", True, 1, lambda field: field.equal(True)),
    (
        "datetime",
        "2026-01-01",
        "yesterday",
        lambda field: field.less_than(datetime(2027, 1, 1, tzinfo=UTC)),
    ),
    ("text", "Bread is baked", "Rivers", lambda field: field.equal("bread")),
    (
        "uuid",
        "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "3f2504e0",
        lambda field: field.equal("3f2504e0-4f89-41d3-9a0c-0305e82c3301"),
    ),
]


def test_fields_of_every_type_are_filtered_by_and_other_values_come_back(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    searcher = searcher_over(weaviate_client, collection)
    searcher.create(fields={f"a_{kind}": kind for kind, *_ in VALUES})
    documents = [
        Document("passes", "text", {f"a_{kind}": passing for kind, passing, _, _ in VALUES}),
        Document("fails", "text", {f"a_{kind}": failing for kind, _, failing, _ in VALUES}),
        Document("empty", "text", {"a_keyword": None, "a_integer": [], "a_text": {"a": 1}}),
    ]
    searcher.add(documents)

    for kind, _, _, condition in VALUES:
        found = searcher.search("text", filter=condition(Filter.by_property(f"a_{kind}")))
        assert (kind, [hit.id for hit in found]) == (kind, ["passes"])
    assert {hit.id: dict(hit.payload) for hit in searcher.search("text")} == {
        document.id: document.payload for document in documents
    }


def test_integers_that_the_server_would_change_are_refused_before_anything_is_written(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    searcher = searcher_over(weaviate_client, collection)
    searcher.create(fields={"number": "integer"})
    kept = [Document(str(n), "text", {"number": n, "other": 2**53 + 1}) for n in (2**53, -(2**60))]
    searcher.add(kept)
    where = Filter.by_property("number")

    for number in (2**53 + 1, [0, -(2**53) - 1], 2**63 - 1):
        wrong = Document("wrong", "text", {"number": number})
        with pytest.raises(InputError, match=r"'number' of the document 'wrong'.*'keyword'"):
            searcher.add([Document("new", "text"), wrong], batch_size=1)
    for filter in (where.equal(2**53 + 1), where.equal(0) | where.contains_any([2**53 + 1])):
        with pytest.raises(InputError, match="filter has the integer 9007199254740993"):
            searcher.search("text", filter=filter)
    with pytest.raises(InputError, match=r"`values` of 'number'"):
        searcher.replace([], by="number", values=[2**53 + 1])

    assert searcher.count() == 2
    for document in kept:
        [hit] = searcher.search("text", filter=where.equal(document.payload["number"]))
        assert hit.payload == document.payload


def test_documents_are_filtered_by_their_ids(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    searcher = searcher_over(weaviate_client, collection)
    searcher.create(fields={"path": "keyword"})
    uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
    searcher.add([Document(id_, "text") for id_ in ("a.md", "b.md", 7, uuid)])

    among = Filter.by_property("_document_id").contains_any(["a.md", "7"])

    assert {hit.id for hit in searcher.search("text", filter=among)} == {"a.md", 7}
    [hit] = searcher.search("text", filter=Filter.by_id().equal(uuid))
    assert hit.id == uuid


@pytest.mark.parametrize("most", [9_000, 0])
def test_filtered_documents_are_read_however_many_pass(
    weaviate_client: WeaviateClient, collection: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WeaviateStore.scan.__globals__, "_MOST_FILTERED", most)
    searcher = searcher_over(weaviate_client, collection)
    searcher.create(fields={"path": "keyword"})
    searcher.add([Document(n, "text", {"path": f"{n % 2}.md"}) for n in range(1_200)])

    found = [
        point.document.id
        for point in searcher.scan(filter=Filter.by_property("path").equal("1.md"))
    ]

    assert sorted(found) == [*range(1, 1_200, 2)]


def test_a_filter_on_a_field_that_was_not_declared_is_an_error(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    searcher = searcher_over(weaviate_client, collection)
    searcher.create()
    searcher.add([Document("a", "text", {"path": "a.md"})])

    with pytest.raises(StoreError, match="path"):
        searcher.search("text", filter=Filter.by_property("path").equal("a.md"))


def test_refused_documents_are_named_and_the_others_written(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    searcher = searcher_over(weaviate_client, collection)
    searcher.create()
    searcher.add([Document("first", "text")])
    [point] = searcher.retrieve(["first"], vectors=True).values()
    short = np.ones(3, dtype=np.float32)
    points = [
        replace(point, document=Document("good", "text")),
        Point(Document("bad", "text"), short),
        Point(Document(7, "text"), short),
    ]

    with pytest.raises(StoreError, match=r"did not take 2 of 3 documents, 'bad', 7: .*3"):
        searcher.store.upsert(points)
    assert searcher.retrieve(["good", "bad", 7]).keys() == {"good"}
    with pytest.raises(StoreError, match="took none of 1 documents, 'bad'"):
        searcher.store.upsert(points[1:2])


def test_large_documents_are_written_in_several_requests(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    searcher = searcher_over(weaviate_client, collection)
    searcher.create()

    # A server takes 100 MB per request.
    searcher.add([Document(n, "text", {"page": "x" * 2**21}) for n in range(52)])

    assert searcher.count() == 52
    assert len(searcher.retrieve([51])[51].document.payload["page"]) == 2**21


def test_each_write_is_of_another_vector_but_for_the_last_bits(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    # A server leaves its indexes alone where the vector is equal, even if it lost them when it was
    # killed.
    searcher = searcher_over(weaviate_client, collection)
    searcher.create()
    written = []
    for _ in range(3):
        searcher.add([Document("a", "the same text")])
        [point] = searcher.retrieve(["a"], vectors=True).values()
        assert point.dense is not None
        written.append(point.dense)

    [vector] = searcher.embedder.embed_documents(["the same text"])
    assert len({each.tobytes() for each in written}) == 3
    for each in written:
        np.testing.assert_allclose(each, vector, atol=1e-7)


def test_a_collection_that_was_deleted_is_not_made_again_by_writing(
    weaviate_client: WeaviateClient, collection: str
) -> None:
    searcher = searcher_over(weaviate_client, collection)
    searcher.create()
    searcher.add([Document("a", "text")])
    points = [*searcher.retrieve(["a"], vectors=True).values()]
    weaviate_client.collections.delete(collection)

    for call in (
        lambda: searcher.store.upsert(points),
        lambda: searcher.delete(["a"]),
        lambda: searcher.search("text"),
    ):
        with pytest.raises(StoreError, match="There is no collection"):
            call()
    assert not weaviate_client.collections.exists(collection)


def test_an_unreachable_server_is_a_store_error() -> None:
    client = WeaviateClient(UNREACHABLE, skip_init_checks=True)
    searcher = searcher_over(client, "Documents")

    for call in (
        searcher.create,
        searcher.count,
        searcher.check_collection,
        lambda: searcher.search("x"),
        lambda: [*searcher.scan()],
    ):
        with pytest.raises(
            StoreError, match=r"the collection 'Documents' failed: Weaviate\w+Error"
        ):
            call()


def test_another_client_is_refused() -> None:
    with pytest.raises(InputTypeError, match=r"must be a weaviate.WeaviateClient, got str"):
        WeaviateStore("http://127.0.0.1:8080", "Documents")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["Path", "with space", "a.b", "한국어", "1st", "x" * 129, "id", "vector", "text", "_bm25"],
)
def test_a_field_that_cannot_be_a_property_is_named(name: str) -> None:
    searcher = searcher_over(WeaviateClient(UNREACHABLE, skip_init_checks=True), "Documents")
    record = CollectionRecord("m", "f", 64, BM25Encoder().parameters, {name: "keyword"})

    with pytest.raises(InputError, match=rf"field '{name}' cannot be declared.*Rename it"):
        searcher.store.create(record)


@pytest.mark.parametrize(
    ("filter", "unknown"),
    [
        (Filter.by_property("pfad").equal("a"), "pfad"),
        (Filter.by_property("pfad", length=True).equal(1), "pfad"),
        (
            Filter.by_property("path").equal("a")
            & (Filter.by_property("path").equal("b") | Filter.by_property("pfad").equal("a")),
            "pfad",
        ),
        (Filter.by_property("path").equal("a") | Filter.by_property("_document_id").equal("a"), ""),
        (Filter.by_ref("parent").by_property("path").equal("a"), "parent"),
        (Filter.by_creation_time().less_than(datetime(2027, 1, 1, tzinfo=UTC)), ""),
        (Filter.by_id().equal("3f2504e0-4f89-41d3-9a0c-0305e82c3301"), ""),
    ],
)
def test_the_fields_of_a_filter_are_checked(filter: Any, unknown: str) -> None:
    store = searcher_over(WeaviateClient(UNREACHABLE, skip_init_checks=True), "Documents").store

    store.check_filter(filter, {})
    if not unknown:
        store.check_filter(filter, {"path": "keyword"})
        return
    with pytest.raises(InputError, match=f"field '{unknown}'.*'path'"):
        store.check_filter(filter, {"path": "keyword"})
