"""The stand-in answers as Weaviate does: the expected answers are those of a server, 1.39.0.

With `WEAVIATE_URL` or `WEAVIATE_BINARY`, that server answers instead: see `weaviate_for_tests`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

weaviate = pytest.importorskip("weaviate", reason="weaviate-client is not installed")

from weaviate.classes.config import (  # noqa: E402  # needs weaviate-client
    Configure,
    DataType,
    Property,
    Tokenization,
    VectorDistances,
)
from weaviate.classes.data import DataObject  # noqa: E402
from weaviate.classes.query import Filter, MetadataQuery  # noqa: E402
from weaviate.exceptions import WeaviateBaseError  # noqa: E402

from qwen3_rag_testkit.weaviate_server import weaviate_for_tests  # noqa: E402

BY = Filter.by_property
SPACE = UUID("5b0f8f3e-6f0c-5d0a-9a55-3c1f6b8f2a71")
IDS = [uuid5(SPACE, str(n)) for n in range(60)]
OTHER = uuid5(SPACE, "another")

PROPERTIES = {
    "text": (DataType.TEXT, None),
    "field": (DataType.TEXT, Tokenization.FIELD),
    "space": (DataType.TEXT, Tokenization.WHITESPACE),
    "lower": (DataType.TEXT, Tokenization.LOWERCASE),
    "texts": (DataType.TEXT_ARRAY, None),
    "int": (DataType.INT, None),
    "ints": (DataType.INT_ARRAY, None),
    "number": (DataType.NUMBER, None),
    "numbers": (DataType.NUMBER_ARRAY, None),
    "bool": (DataType.BOOL, None),
    "bools": (DataType.BOOL_ARRAY, None),
    "date": (DataType.DATE, None),
    "dates": (DataType.DATE_ARRAY, None),
    "uuid": (DataType.UUID, None),
    "uuids": (DataType.UUID_ARRAY, None),
}


def day(year: int) -> datetime:
    return datetime(year, 1, 2, tzinfo=UTC)


OBJECTS: list[dict[str, Any]] = [
    {
        "text": "The bread is baked with the flour",
        "field": "A B",
        "space": "Aa bb_c",
        "lower": "Xx-Yy zz",
        "texts": ["red wine", "white"],
        "int": 1,
        "ints": [1, 2],
        "number": 1.5,
        "numbers": [1.5],
        "bool": True,
        "bools": [True, False],
        "date": day(2020),
        "dates": [day(2020), day(2021)],
        "uuid": OTHER,
        "uuids": [OTHER],
    },
    {
        "text": "bread bread bread",
        "field": "a b",
        "texts": ["wine"],
        "int": 2,
        "ints": [2],
        "number": -1.0,
        "numbers": [2.0, 3.0],
        "bool": False,
        "date": day(2022),
    },
    {"text": "Straße Über 서울은 3.11.2 E_4711", "texts": [], "int": 3, "ints": []},
    {"text": "", "field": "", "int": None},
    {"text": "the a of", "field": " padded ", "int": 2**62, "bool": None},
]
VECTORS = [[1.0, 0, 0, 0], [0.9, 0.1, 0, 0], [0, 1.0, 0, 0], [-1.0, 0, 0, 0], [0, 0, 0.5, 2.0]]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with weaviate_for_tests() as address, weaviate.connect_to_local(**address) as client:
        yield client


@pytest.fixture
def make(client: Any) -> Iterator[Any]:
    """Make empty collections, which are deleted at the end."""
    names: list[str] = []

    def make(**arguments: Any) -> Any:
        names.append(f"Test_{uuid4().hex}")
        return client.collections.create(names[-1], **arguments)

    yield make
    client.collections.delete(names)


@pytest.fixture(scope="module")
def filled(client: Any) -> Iterator[Any]:
    """A collection with `OBJECTS`, which tests only read."""
    collection = client.collections.create(
        f"Test_{uuid4().hex}",
        properties=[
            *(
                Property(name=name, data_type=kind, tokenization=tokenization)
                for name, (kind, tokenization) in PROPERTIES.items()
            ),
            Property(
                name="hidden",
                data_type=DataType.TEXT,
                index_filterable=False,
                index_searchable=False,
            ),
        ],
        vector_config=Configure.Vectors.self_provided(name="dense"),
    )
    assert insert(collection, OBJECTS, VECTORS, name="dense") == {}
    yield collection
    client.collections.delete(collection.name)


def insert(collection: Any, objects: Any, vectors: Any = None, name: str = "") -> dict[int, str]:
    """Insert objects with the first of `IDS`; give the errors by their places."""
    given = [
        DataObject(
            uuid=IDS[number],
            properties=properties,
            vector={name: vectors[number]} if name else (vectors or [None] * 9)[number],
        )
        for number, properties in enumerate(objects)
    ]
    errors = collection.data.insert_many(given).errors
    return {number: error.message for number, error in errors.items()}


def numbers(found: Any) -> list[int]:
    return [IDS.index(UUID(str(one.uuid))) for one in found.objects]


FILTERS: list[tuple[Any, list[int]]] = [
    (BY("text").equal("bread"), [0, 1]),
    (BY("text").equal("Bread FLOUR"), [0]),
    (BY("text").equal("the bread"), [0, 1]),  # without stop words
    (BY("text").not_equal("bread"), [2, 3, 4]),
    (BY("text").like("bre*"), [0, 1]),
    (BY("text").like("B?EAD"), [0, 1]),
    (BY("text").like("*"), [0, 1, 2, 4]),
    (BY("text").contains_any(["flour", "straße"]), [0, 2]),
    (BY("text").contains_all(["bread", "flour"]), [0]),
    (BY("text").contains_none(["bread"]), [2, 3, 4]),
    (BY("text").equal("4711"), [2]),
    (BY("text").greater_than("c"), [0, 2, 4]),
    (BY("field").equal("A B"), [0]),
    (BY("field").equal("A"), []),
    (BY("field").equal("padded"), [4]),
    (BY("field").equal(""), [3]),
    (BY("field").like("a*"), [1]),
    (BY("field").contains_any(["A B", "a b"]), [0, 1]),
    (BY("space").equal("Aa"), [0]),
    (BY("space").equal("aa"), []),
    (BY("lower").equal("XX-YY"), [0]),
    (BY("texts").equal("wine"), [0, 1]),
    (BY("texts").not_equal("white"), [1, 2, 3, 4]),
    (BY("int").greater_than(1), [1, 2, 4]),
    (BY("int").not_equal(2), [0, 2, 3, 4]),
    (BY("int").contains_any([1, 3]), [0, 2]),
    (BY("ints").contains_all([1, 2]), [0]),
    (BY("ints").contains_none([1]), [1, 2, 3, 4]),
    (BY("ints").greater_than(1), [0, 1]),
    (BY("number").less_than(0.0), [1]),
    (BY("numbers").greater_or_equal(3.0), [1]),
    (BY("bool").equal(True), [0]),
    (BY("bool").not_equal(True), [1, 2, 3, 4]),
    (BY("bools").contains_all([True, False]), [0]),
    (BY("date").greater_than(day(2021)), [1]),
    (BY("dates").contains_any([day(2021)]), [0]),
    (BY("uuid").equal(OTHER), [0]),
    (BY("uuids").contains_any([OTHER]), [0]),
    (Filter.by_id().equal(IDS[1]), [1]),
    (Filter.by_id().contains_any([IDS[1], IDS[2], IDS[50]]), [1, 2]),
    (Filter.by_id().not_equal(IDS[1]), [0, 2, 3, 4]),
    (BY("int").greater_than(1) & BY("bool").equal(False), [1]),
    (BY("int").equal(1) | BY("field").equal("a b"), [0, 1]),
    (Filter.not_(BY("text").equal("bread")), [2, 3, 4]),
]


@pytest.mark.parametrize(("filter", "expected"), FILTERS)
def test_filters(filled: Any, filter: Any, expected: list[int]) -> None:
    found = filled.query.fetch_objects(filters=filter, limit=100)

    assert sorted(numbers(found)) == expected
    assert filled.aggregate.over_all(total_count=True, filters=filter).total_count == len(expected)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        (BY("text").equal("the"), "only stopwords provided"),
        (BY("text").equal("?!"), "only stopwords provided"),
        (BY("uuid").equal("no uuid"), "parse uuid filter value"),
        (BY("int").is_none(True), "Nullstate must be indexed"),
        (BY("hidden").equal("a"), "'hidden' requires inverted index"),
        (BY("nothing").equal("a"), "no such prop with name 'nothing'"),
    ],
)
def test_filters_that_are_refused(filled: Any, filter: Any, message: str) -> None:
    with pytest.raises(WeaviateBaseError, match=message):
        filled.query.fetch_objects(filters=filter)


def scores(collection: Any, query: str, **arguments: Any) -> list[tuple[int, float]]:
    metadata = MetadataQuery(score=True)
    found = collection.query.bm25(query, limit=100, return_metadata=metadata, **arguments)
    values = [round(one.metadata.score, 4) for one in found.objects]
    return list(zip(numbers(found), values, strict=True))


def test_bm25(filled: Any) -> None:
    # Word counts 7, 3, 8 and 3 of `text` (the empty one is left out), k1 1.2, b 0.75, without the
    # factor 2.2; the IDF of "bread" is ln(1 + 3.5 / 2.5).
    bread = [(1, 0.6886), (0, 0.3502)]

    assert scores(filled, "bread", query_properties=["text"]) == bread
    assert scores(filled, "the Bread", query_properties=["text"]) == bread
    assert scores(filled, "bread", query_properties=["text"], filters=BY("int").equal(1)) == [
        (0, 0.3502)
    ]
    for found in (
        scores(filled, "bread bread", query_properties=["text"]),
        scores(filled, "bread", query_properties=["text^2", "texts"]),
    ):
        assert [number for number, _ in found] == [1, 0]
        assert [score for _, score in found] == pytest.approx([1.3772, 0.7004], abs=2e-4)
    assert [number for number, _ in scores(filled, "wine straße")] == [2, 1, 0]
    assert scores(filled, "the") == scores(filled, "nothing") == scores(filled, "?!") == []
    for query, names, message in (
        ("", ["text"], "must have query set"),
        ("a", ["hidden"], "'hidden' requires inverted index"),
        ("a", ["int"], "'int' requires inverted index"),
        ("a", ["nothing"], "'nothing' requires inverted index"),
    ):
        with pytest.raises(WeaviateBaseError, match=message):
            scores(filled, query, query_properties=names)


def near(collection: Any, vector: list[float], **arguments: Any) -> list[tuple[int, float]]:
    found = collection.query.near_vector(
        vector, return_metadata=MetadataQuery(distance=True), **arguments
    )
    return [
        (number, round(one.metadata.distance, 4))
        for number, one in zip(numbers(found), found.objects, strict=True)
    ]


def test_search_by_vector(filled: Any, make: Any) -> None:
    everything = near(filled, [3.0, 0, 0, 0], target_vector="dense")

    assert everything[:2] == [(0, 0.0), (1, 0.0061)]
    assert sorted(everything[2:4]) == [(2, 1.0), (4, 1.0)]
    assert everything[4:] == [(3, 2.0)]
    assert near(filled, [1.0, 0, 0, 0]) == everything  # its only vector
    for condition in ({"distance": 0.5}, {"certainty": 0.9}, {"limit": 2}):
        assert near(filled, [1.0, 0, 0, 0], **condition) == everything[:2]
    assert near(filled, [1.0, 0, 0, 0], limit=1, offset=1) == everything[1:2]
    assert near(filled, [1.0, 0, 0, 0], filters=BY("int").equal(2)) == everything[1:2]
    for arguments in ({"near_vector": [1.0]}, {"near_vector": [1.0] * 4, "target_vector": "no"}):
        with pytest.raises(WeaviateBaseError, match=r"vector lengths don't match|named vector no"):
            filled.query.near_vector(**arguments)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (VectorDistances.DOT, [(4, -4.0), (0, -1.0), (1, -0.9), (2, 0.0), (3, 1.0)]),
        (VectorDistances.L2_SQUARED, [(4, 1.25), (0, 4.0), (1, 4.02), (2, 6.0), (3, 8.0)]),
    ],
)
def test_other_metrics(make: Any, metric: Any, expected: Any) -> None:
    index = Configure.VectorIndex.hnsw(distance_metric=metric)
    collection = make(
        vector_config=Configure.Vectors.self_provided(name="dense", vector_index_config=index)
    )
    insert(collection, [{}] * 5, VECTORS, name="dense")

    assert near(collection, [1.0, 0, 0, 2.0]) == expected


def test_values_come_back(filled: Any) -> None:
    found = {
        number: one.properties
        for number, one in zip(
            numbers(filled.query.fetch_objects(limit=9)),
            filled.query.fetch_objects(limit=9).objects,
            strict=True,
        )
    }

    for number, given in enumerate(OBJECTS):
        assert found[number] == {name: given.get(name) for name in [*PROPERTIES, "hidden"]}
    [one] = filled.query.fetch_objects_by_ids(
        [IDS[0], IDS[50]], return_properties=["int"], include_vector=True
    ).objects
    assert (one.properties, one.vector) == ({"int": 1}, {"dense": VECTORS[0]})


def test_pages(filled: Any) -> None:
    order = sorted(range(5), key=lambda number: str(IDS[number]))

    assert numbers(filled.query.fetch_objects()) == order
    assert numbers(filled.query.fetch_objects(limit=2, offset=4)) == order[4:]
    assert numbers(filled.query.fetch_objects(limit=2, offset=5)) == []
    assert numbers(filled.query.fetch_objects(limit=2, after=IDS[order[1]])) == order[2:4]
    with pytest.raises(WeaviateBaseError, match="query maximum results exceeded"):
        filled.query.fetch_objects(limit=2, offset=9_999)
    with pytest.raises(WeaviateBaseError, match="where cannot be set with after"):
        filled.query.fetch_objects(after=IDS[0], filters=BY("int").equal(1))


def test_objects_that_are_refused_do_not_hinder_others(make: Any) -> None:
    collection = make(
        properties=[
            Property(name="int", data_type=DataType.INT),
            Property(name="text", data_type=DataType.TEXT),
            Property(name="date", data_type=DataType.DATE),
        ],
        vector_config=Configure.Vectors.self_provided(name="dense"),
    )

    assert insert(collection, [{"text": "good"}], [[1.0, 0, 0]], name="dense") == {}
    errors = insert(
        collection,
        [{"text": "good"}, {"int": "a"}, {"text": 5}, {"date": "yesterday"}, {"text": "short"}],
        [[1.0, 0, 0]] * 4 + [[1.0, 0]],
        name="dense",
    )

    assert errors.keys() == {1, 2, 3, 4}
    assert "'int'" in errors[1]
    assert "'text'" in errors[2]
    assert "'date'" in errors[3]
    assert "vector with length 2. Existing nodes have vectors with length 3" in errors[4]
    assert numbers(collection.query.fetch_objects()) == [0]
    [error] = collection.data.insert_many(
        [
            DataObject(uuid=IDS[1], properties={}, vector={"other": [1.0]}),
            DataObject(uuid=IDS[2], properties={"text": "fine"}),
        ]
    ).errors.values()
    assert "does not have configuration for vector other" in error.message


def test_what_is_not_configured_is_guessed(client: Any, make: Any) -> None:
    collection = make()
    given = {"text": "a", "number": 5, "texts": ["a"], "bool": True, "date": "2026-01-02T03:04:05Z"}

    assert insert(collection, [{**given, "none": []}]) == {}
    assert {one.name: one.data_type.value for one in collection.config.get().properties} == {
        "text": "text",
        "number": "number",
        "texts": "text[]",
        "bool": "boolean",
        "date": "date",
        "none": "text[]",
    }

    client.collections.delete(collection.name)
    assert insert(collection, [{"text": "a"}]) == {}
    assert client.collections.exists(collection.name)


def test_an_unnamed_vector(make: Any) -> None:
    collection = make()
    assert insert(collection, [{}, {}], VECTORS) == {}

    assert near(collection, VECTORS[0]) == [(0, 0.0), (1, 0.0061)]
    [one] = collection.query.fetch_objects_by_ids([IDS[0]], include_vector=True).objects
    assert one.vector == {"default": VECTORS[0]}


def test_the_schema(client: Any, make: Any) -> None:
    collection = make(properties=[Property(name="text", data_type=DataType.TEXT)])
    config = collection.config.get()

    assert client.collections.exists(collection.name[0].lower() + collection.name[1:])
    assert collection.name in client.collections.list_all()
    inverted = config.inverted_index_config
    assert (inverted.bm25.k1, inverted.bm25.b, inverted.stopwords.preset) == (1.2, 0.75, "en")
    assert config.properties[0].tokenization == Tokenization.WORD
    assert config.vector_config["default"].vector_index_config.max_connections == 32
    collection.config.update(description="mine")
    assert collection.config.get().description == "mine"
    with pytest.raises(WeaviateBaseError, match="conflict for property"):
        collection.config.add_property(Property(name="Text", data_type=DataType.TEXT))
    with pytest.raises(WeaviateBaseError, match="already exists"):
        client.collections.create(collection.name)
    missing = client.collections.use("Nothing_of_this_name")
    for call in (
        missing.config.get,
        missing.query.fetch_objects,
        lambda: missing.data.delete_many(where=BY("text").equal("a")),
    ):
        with pytest.raises(WeaviateBaseError, match=r"404|could not find class"):
            call()
    client.collections.delete("Nothing_of_this_name")


def test_deleting_by_a_filter(make: Any) -> None:
    collection = make(properties=[Property(name="int", data_type=DataType.INT)])
    insert(collection, [{"int": n} for n in range(5)])
    above = BY("int").greater_than(2)

    dry = collection.data.delete_many(where=above, dry_run=True)
    assert (dry.matches, len(collection.query.fetch_objects().objects)) == (2, 5)
    done = collection.data.delete_many(where=above, verbose=True)
    assert (done.matches, done.successful, done.failed, len(done.objects)) == (2, 2, 0, 2)
    assert sorted(numbers(collection.query.fetch_objects())) == [0, 1, 2]
    with pytest.raises(WeaviateBaseError, match="no such prop"):
        collection.data.delete_many(where=BY("nothing").equal(1))


def test_tenants(make: Any) -> None:
    collection = make(
        properties=[Property(name="text", data_type=DataType.TEXT)],
        multi_tenancy_config=Configure.multi_tenancy(enabled=True),
    )
    collection.tenants.create(["a", "b"])
    a, b, c = map(collection.with_tenant, "abc")
    insert(a, [{"text": "bread wine"}, {"text": "bread"}])
    insert(b, [{"text": "bread"}])

    assert sorted(collection.tenants.get()) == ["a", "b"]
    assert sorted(collection.tenants.get_by_names(["a", "z"])) == ["a"]
    assert (collection.tenants.exists("a"), collection.tenants.exists("z")) == (True, False)
    counts = [each.aggregate.over_all(total_count=True).total_count for each in (a, b)]
    assert counts == [2, 1]
    assert scores(b, "bread") == [(0, 0.1308)]  # of its own documents
    for call in (collection.query.fetch_objects, lambda: insert(collection, [{"text": "a"}])):
        with pytest.raises(WeaviateBaseError, match="request was without tenant"):
            call()
    for call in (c.query.fetch_objects, lambda: insert(c, [{"text": "a"}])):
        with pytest.raises(WeaviateBaseError, match='tenant not found: "c"'):
            call()
    collection.tenants.remove(["a"])
    assert sorted(collection.tenants.get()) == ["b"]

    plain = make(properties=[Property(name="text", data_type=DataType.TEXT)])
    with pytest.raises(WeaviateBaseError, match="request was with tenant"):
        plain.with_tenant("a").query.fetch_objects()
    with pytest.raises(WeaviateBaseError, match="multi-tenancy is not enabled"):
        plain.tenants.get()
    by_writing = make(
        multi_tenancy_config=Configure.multi_tenancy(enabled=True, auto_tenant_creation=True)
    )
    assert insert(by_writing.with_tenant("new"), [{"text": "a"}]) == {}
    assert sorted(by_writing.tenants.get()) == ["new"]
    with pytest.raises(WeaviateBaseError, match="tenant not found"):
        by_writing.with_tenant("other").query.fetch_objects()
