"""What is particular to Milvus: its limits, its filters, and collections that do not fit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import InputError, InputTypeError, StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import Document, HybridSearcher, renew_bm25
from qwen3_rag_testkit.guides import run_examples
from qwen3_rag_testkit.store_corpus import make_embedder

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
lite = pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from qwen3_rag_hybrid import MilvusStore  # noqa: E402  # needs pymilvus

VARCHAR, JSON = pymilvus.DataType.VARCHAR, pymilvus.DataType.JSON
VECTOR, SPARSE = pymilvus.DataType.FLOAT_VECTOR, pymilvus.DataType.SPARSE_FLOAT_VECTOR


TEXT = {
    "datatype": VARCHAR,
    "max_length": 999,
    "enable_analyzer": True,
    "analyzer_params": {"tokenizer": "standard"},
}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "milvus.db")


@pytest.fixture
def client(path: str) -> Iterator[Any]:
    client = pymilvus.MilvusClient(path)
    yield client
    client.close()
    lite.server_manager_instance.release_server(path)


def searcher_over(client: Any, **names: str) -> HybridSearcher:
    return HybridSearcher(MilvusStore(client, "mine", **names), make_embedder())


def a_schema(**changes: Any) -> Any:
    """A schema that fits, but for what is changed."""
    fields: dict[str, Any] = {
        "pk": {"datatype": VARCHAR, "max_length": 36, "is_primary": True},
        "_id": {"datatype": VARCHAR, "max_length": 99},
        "text": {"datatype": VARCHAR, "max_length": 999},
        "payload": {"datatype": JSON},
        "terms": TEXT,
        "dense": {"datatype": VECTOR, "dim": 64},
        "bm25": {"datatype": SPARSE},
    }
    source = changes.pop("source", "terms")
    schema = pymilvus.MilvusClient.create_schema(auto_id=False)
    for name, arguments in {**fields, **changes}.items():
        if arguments is not None:
            schema.add_field(name, **arguments)
    if source is not None:
        schema.add_function(
            pymilvus.Function(
                name="function",
                function_type=pymilvus.FunctionType.BM25,
                input_field_names=[source],
                output_field_names=["bm25"],
            )
        )
    return schema


def indexes(metric: str = "COSINE", **bm25: float) -> Any:
    parameters = pymilvus.MilvusClient.prepare_index_params()
    parameters.add_index("dense", index_type="FLAT", metric_type=metric)
    parameters.add_index(
        "bm25",
        index_type="SPARSE_INVERTED_INDEX",
        metric_type="BM25",
        params={"params": {"bm25_k1": 1.2, "bm25_b": 0.75, **bm25}},
    )
    return parameters


@pytest.mark.parametrize(
    ("schema", "codes", "remedy"),
    [
        ({"payload": None}, ["schema"], "payload_key=NAME"),
        ({"payload": {"datatype": VARCHAR, "max_length": 9}}, ["schema"], "payload_key=NAME"),
        ({"text": None, "body": {"datatype": VARCHAR, "max_length": 9}}, ["schema"], "text_key="),
        ({"_id": None}, ["schema"], "id_key=NAME"),
        (
            {
                "pk": {"datatype": VARCHAR, "max_length": 36},
                "key": {"datatype": VARCHAR, "max_length": 36, "is_primary": True},
            },
            ["schema"],
            "primary_key=NAME",
        ),
        ({"dense": {"datatype": VECTOR, "dim": 32}}, ["dim"], "dim=32"),
        ({"text": TEXT, "source": "text"}, ["sparse"], "terms_key=NAME"),
        (
            {
                "terms": {
                    **TEXT,
                    "analyzer_params": {
                        "tokenizer": "standard",
                        "filter": [{"type": "stop", "stop_words": ["the"]}],
                    },
                }
            },
            ["sparse"],
            "create()",
        ),
    ],
)
def test_every_mismatch_of_the_schema_is_named_with_its_remedy(
    client: Any, schema: dict[str, Any], codes: list[str], remedy: str
) -> None:
    client.create_collection("mine", schema=a_schema(**schema), index_params=indexes())

    assert_refused(searcher_over(client), codes, remedy)


@pytest.mark.parametrize(
    ("arguments", "code", "remedy"),
    [
        ({"metric": "L2"}, "distance", "metric COSINE"),
        ({"bm25_k1": 0.9}, "encoder", "with 1.2"),
        ({"bm25_b": 0.5}, "encoder", "with 0.75"),
    ],
)
def test_every_mismatch_of_an_index_is_named_with_its_remedy(
    client: Any, arguments: dict[str, Any], code: str, remedy: str
) -> None:
    client.create_collection("mine", schema=a_schema(), index_params=indexes(**arguments))

    assert_refused(searcher_over(client), [code], remedy)


def assert_refused(searcher: HybridSearcher, codes: list[str], remedy: str) -> None:
    findings = searcher.check_collection()
    assert [finding.code for finding in findings] == [*codes, "record"]
    assert remedy in findings[0].remedy
    for call in (searcher.create, lambda: searcher.search("x")):
        with pytest.raises(StoreError) as error:
            call()
        assert str(findings[0]) in str(error.value)


def test_a_dense_vector_of_another_name_is_named(client: Any) -> None:
    schema = a_schema(dense=None, vector={"datatype": VECTOR, "dim": 64})
    client.create_collection("mine", schema=schema)

    findings = searcher_over(client).check_collection()

    assert "dense" in [finding.code for finding in findings]
    [finding] = [finding for finding in findings if finding.code == "dense"]
    assert "it has 'vector'" in finding.message
    assert searcher_over(client, dense="vector").check_collection()[-1].code == "record"


def test_missing_indexes_are_made_by_create(client: Any) -> None:
    client.create_collection("mine", schema=a_schema(), consistency_level="Strong")
    searcher = searcher_over(client)

    findings = searcher.check_collection()
    searcher.create()

    assert [finding.code for finding in findings] == ["index", "index", "record"]
    assert searcher.check_collection() == []
    searcher.add([Document("a", "Bread is baked.")])
    assert set(searcher.search("baked bread")[0].ranks) == {"dense", "bm25", "fused"}


def test_a_collection_of_your_own_is_taken_over_with_your_names(client: Any) -> None:
    names = {
        "dense": "vector",
        "sparse": "words",
        "text_key": "body",
        "id_key": "doc",
        "payload_key": "meta",
        "terms_key": "tokens",
        "primary_key": "key",
    }
    searcher = searcher_over(client, **names)
    searcher.create()
    searcher.add([Document(7, "Bread is baked.", {"path": "a.md", "text": "mine"})])
    client.drop_collection_properties("mine", ["qwen3_rag"])
    searcher = searcher_over(client, **names)

    described = client.describe_collection("mine")
    assert {field["name"] for field in described["fields"]} == set(names.values())
    with pytest.raises(StoreError, match=r"create\(adopt=True\)"):
        searcher.create()
    searcher.create(adopt=True)

    [hit] = searcher.search("bread", filter='meta["path"] == "a.md"')
    assert (hit.id, hit.text, hit.payload) == (
        7,
        "Bread is baked.",
        {"path": "a.md", "text": "mine"},
    )


@pytest.mark.parametrize("batch_size", [500, 1])
@pytest.mark.parametrize(
    ("document", "message"),
    [
        (Document("long", "é" * 40_000), r"'long'.* text is 80,000 bytes long.*65,535.*Split"),
        (Document("many", "本" * 15_000), r"'many'.* terms for BM25 are .*65,535.*Split"),
        (Document("large", "a", {"x": "y" * 70_000}), r"'large'.* payload is 70,008.*65,536"),
        (Document("i" * 70_000, "a"), r"'i{100}' .* id is 70,002 bytes"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    client: Any, document: Document, message: str, batch_size: int
) -> None:
    searcher = searcher_over(client)
    searcher.create()

    with pytest.raises(InputError, match=message):
        searcher.add([*(Document(n, "fits") for n in range(300)), document], batch_size=batch_size)

    assert searcher.count() == 0


def test_the_longest_text_fits(client: Any) -> None:
    searcher = searcher_over(client)
    searcher.create()
    document = Document("long", "a" * 65_535)

    searcher.add([document])

    assert searcher.retrieve(["long"])["long"].document == document


@pytest.mark.parametrize(
    ("word", "pieces"), [("वैष्णव", "व ष णव"), ("ปี่", "ป"), ("C++", "C"), ("E_4711", "E 4711")]
)
def test_words_that_an_analyzer_would_divide_stay_whole(
    client: Any, word: str, pieces: str
) -> None:
    searcher = searcher_over(client)
    searcher.create()
    searcher.add(
        [Document("whole", f"About {word} here"), Document("pieces", f"On {pieces} there")]
    )

    hits = {hit.id: hit.ranks.get("bm25") for hit in searcher.search(word)}

    assert hits["whole"] is not None
    assert hits["whole"].rank == 1
    assert hits["whole"].score > 0
    if not word.isascii():  # an identifier also has its parts for terms
        assert hits["pieces"] is None


@pytest.mark.parametrize(
    "filter",
    [
        'payload["path"] == "a.md"',
        "payload['path'] != 'pfad' and not (payload[\"year\"] > 1900)",
        'payload["path"] like "a%" OR payload["path"] like "zz%"',
        'json_contains(payload["tags"], "x") || payload["path"] == "a.md"',
        'payload["sub"]["unknown"] == 1 or _id == "a"',
        'pk in ["a", 7] and _id not in [ "b" , \'c\', ]',
        '_id != "b" and payload["path"] != "_id == 7"',
        'text like "Bread%" && payload["path"] == "a.md"',
    ],
)
def test_filters_are_passed_on(client: Any, filter: str) -> None:
    searcher = searcher_over(client)
    fields = {"path": "keyword", "year": "integer", "tags": "keyword", "sub": "keyword"}
    searcher.create(fields=fields)
    searcher.add(
        [
            Document("a", "Bread is baked.", {"path": "a.md", "year": 1789}),
            Document("b", "Rivers flow.", {"path": "pfad", "year": 1990}),
        ]
    )

    assert [hit.id for hit in searcher.search("bread", filter=filter)] == ["a"]
    assert searcher.count(filter=filter) == 1


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ('path == "a.md"', r"the field 'path', which .* write payload\[\"path\"\]"),
        ('payload["paths"] == 1', r"field 'paths' \(did you mean 'path'\?\)"),
        ('payload["path"] == "a" and exists payload["no"]', "field 'no'"),
        ('pk like "a%"', "field 'pk', whose values are derived from .* ids.*ids="),
        ('_id > "a"', "field '_id', whose values are derived"),
        ("_id == payload['path']", "field '_id', whose values are derived"),
        ("_id == 1.5", "field '_id', whose values are derived"),
        ('_id == ""', "id must not be empty"),
        ("_id == 007", r"'007' for ids of documents, which cannot be read.*`ids="),
        ('_id == "\\x"', r"for ids of documents, which cannot be read.*`ids="),
        ('_id in ["a" "b"]', "field '_id', whose values are derived"),
        (f"_id == {'1' * 5_000}", "for ids of documents, which cannot be read"),
    ],
)
def test_a_filter_that_would_find_nothing_is_refused(
    client: Any, filter: str, message: str
) -> None:
    searcher = searcher_over(client)
    searcher.create(fields={"path": "keyword"})

    with pytest.raises(InputError, match=message):
        searcher.count(filter=filter)


@pytest.mark.parametrize("filter", ["", " "])
def test_an_empty_filter_finds_everything_and_deletes_nothing(client: Any, filter: str) -> None:
    searcher = searcher_over(client)
    searcher.create()
    searcher.add([Document("a", "text")])
    assert len(searcher.search("text", filter=filter)) == searcher.count(filter=filter) == 1

    with pytest.raises(InputError, match="no conditions, so every document passes"):
        searcher.delete(filter=filter)

    assert searcher.count() == 1


def test_a_filter_that_milvus_cannot_read_is_a_store_error(client: Any) -> None:
    searcher = searcher_over(client)
    searcher.create()

    with pytest.raises(StoreError, match="Counting the collection 'mine' failed: MilvusException"):
        searcher.count(filter="1 +")


def test_the_encoders_parameters_reach_milvus(client: Any) -> None:
    scores = []
    for k1 in (0.4, 1.2):
        store = MilvusStore(client, f"k1_{10 * k1:.0f}")
        searcher = HybridSearcher(store, make_embedder(), encoder=BM25Encoder(k1=k1))
        searcher.create()
        searcher.add([Document("a", "bread bread bread"), Document("b", "river")])
        scores.append(searcher.search("bread")[0].ranks["bm25"].score)

    assert scores[0] < scores[1]


def test_a_file_can_be_opened_again(path: str) -> None:
    for step in ("write", "read"):
        client = pymilvus.MilvusClient(path)
        searcher = searcher_over(client)
        if step == "write":
            searcher.create()
            searcher.add([Document("a", "Bread is baked."), Document("b", "Rivers flow.")])
        else:  # it is not loaded
            assert searcher.count() == 2
            assert searcher.search("bread")[0].id == "a"
            searcher.delete(["a"])
            assert [point.document.id for point in searcher.scan()] == ["b"]
        client.close()
        lite.server_manager_instance.release_server(path)


def test_a_server_that_is_gone_is_a_store_error(path: str) -> None:
    client = pymilvus.MilvusClient(path, timeout=1)
    searcher = searcher_over(client)
    searcher.create()
    searcher.add([Document("a", "Bread is baked.")])
    lite.server_manager_instance.release_server(path)

    for call in (
        lambda: searcher.store.record(),
        lambda: searcher.retrieve(["a"]),
        lambda: list(searcher.scan()),
    ):
        with pytest.raises(StoreError, match="the collection 'mine' failed"):
            call()
    client.close()


def test_renewing_bm25_keeps_the_documents(client: Any) -> None:
    searcher = searcher_over(client)
    searcher.create()
    documents = [Document(n, f"text {n}", {"n": n}) for n in range(10)]
    searcher.add(documents)

    assert renew_bm25(searcher.store, BM25Encoder(avg_len=2)) == 10

    again = searcher_over(client)
    assert again.check_collection() == []
    assert [again.retrieve([n])[n].document for n in range(10)] == documents
    assert again.search("text 7")[0].id == 7


def test_a_record_that_cannot_be_read_is_a_store_error(client: Any) -> None:
    client.create_collection(
        "mine", schema=a_schema(), index_params=indexes(), properties={"qwen3_rag": "[1]"}
    )

    with pytest.raises(StoreError, match="record of the collection 'mine' cannot be read"):
        MilvusStore(client, "mine").record()


def test_an_async_client_is_refused_with_what_to_do() -> None:
    async def make() -> None:
        client = pymilvus.AsyncMilvusClient("http://127.0.0.1:1")
        with pytest.raises(InputTypeError, match=r"must be a pymilvus\.MilvusClient, got Async"):
            MilvusStore(client, "mine")

    asyncio.run(make())


def test_the_examples_of_the_guide_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="the examples run the small pair")
    pytest.importorskip("langchain_milvus", reason="langchain-milvus is not installed")
    monkeypatch.chdir(tmp_path)

    names = run_examples(Path(__file__).parents[3] / "docs" / "milvus.md")

    names["searcher"].close()
    names["client"].close()
    lite.server_manager_instance.release_server("index.db")
    assert "rerank" in capsys.readouterr().out
