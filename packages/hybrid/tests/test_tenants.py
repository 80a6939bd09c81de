"""Tenants: what no filter reaches, what is recorded, and what a store without tenants says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from qwen3_rag import InputError, StoreError
from qwen3_rag_hybrid import (
    CollectionRecord,
    Document,
    HybridSearcher,
    QdrantEdgeStore,
    QdrantStore,
    Store,
)
from qwen3_rag_hybrid.documents import point_id
from qwen3_rag_hybrid.stores import base
from qwen3_rag_testkit import qdrant_server
from qwen3_rag_testkit.memory_store import MemoryStore
from qwen3_rag_testkit.store_corpus import make_embedder


def filled(store: Store) -> HybridSearcher:
    """A searcher over two tenants with a document each."""
    searcher = HybridSearcher(store, make_embedder())
    searcher.create(tenants=True)
    searcher.add([Document("mine", "bread", {"path": "a.md"})], tenant="acme")
    searcher.add([Document("theirs", "bread", {"path": "a.md"})], tenant="globex")
    return searcher


def conditions(package: Any) -> list[Any]:
    """Filters that documents of both tenants pass."""

    def is_value(key: str, value: str) -> Any:
        return package.FieldCondition(key=key, match=package.MatchValue(value=value))

    globex, path = is_value("_tenant", "globex"), is_value("path", "a.md")
    return [
        package.Filter(should=[globex, path]),
        package.Filter(must_not=[is_value("_tenant", "nobody")]),
        package.Filter(should=[package.Filter(must=[globex]), package.Filter(must=[path])]),
        package.Filter(min_should=package.MinShould(conditions=[globex, path], min_count=1)),
        package.Filter(),
    ]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("package", [edge, models])
def test_no_filter_of_qdrant_reaches_another_tenant(
    package: Any, number: int, tmp_path: Path
) -> None:
    local = QdrantStore(QdrantClient(":memory:"), "documents")
    searcher = filled(QdrantEdgeStore(tmp_path) if package is edge else local)
    filter = conditions(package)[number]

    assert [hit.id for hit in searcher.search("bread", filter=filter, tenant="acme")] == ["mine"]
    assert [p.document.id for p in searcher.scan(filter=filter, tenant="acme")] == ["mine"]
    assert searcher.count(filter=filter, tenant="acme") == 1
    if number < 4:  # a filter without conditions is refused
        searcher.delete(filter=filter, tenant="acme")
        assert (searcher.count(tenant="acme"), searcher.count(tenant="globex")) == (0, 1)
    searcher.close()


def test_a_filter_on_the_other_tenant_finds_nothing() -> None:
    searcher = filled(QdrantStore(QdrantClient(":memory:"), "documents"))
    match = models.MatchValue(value="globex")
    other = models.Filter(must=[models.FieldCondition(key="_tenant", match=match)])

    assert searcher.search("bread", filter=other, tenant="acme") == []
    assert searcher.count(filter=other, tenant="acme") == 0


def test_the_field_of_the_tenant_is_taken_in_collections_with_tenants_only() -> None:
    client = QdrantClient(":memory:")
    document = Document("a", "text", {"_tenant": "globex"})
    searcher = filled(QdrantStore(client, "documents"))
    without = HybridSearcher(QdrantStore(client, "others"), make_embedder())
    without.create()
    without.add([document])

    with pytest.raises(InputError, match="'_tenant', which the collection keeps for itself"):
        searcher.add([document], tenant="acme")
    assert without.retrieve(["a"])["a"].document == document


def test_documents_without_a_tenant_are_not_taken_over() -> None:
    client = QdrantClient(":memory:")
    searcher = HybridSearcher(QdrantStore(client, "documents"), make_embedder())
    searcher.create()
    searcher.add([Document("a", "text")])
    client.update_collection("documents", metadata={"qwen3_rag": None})

    with pytest.raises(StoreError, match=r"1 documents without a tenant.*new collection"):
        searcher.create(adopt=True, tenants=True)
    searcher.create(adopt=True)


def test_findings_of_a_qdrant_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with qdrant_server.QdrantServer() as server:
        client = QdrantClient(url=server.url, check_compatibility=False)
        searcher = filled(QdrantStore(client, "documents"))
        index = client.get_collection("documents").payload_schema["_tenant"]
        assert index.params is not None
        assert getattr(index.params, "is_tenant", False)

        client.delete_payload_index("documents", "_tenant")
        [finding] = searcher.check_collection()
        assert (finding.code, finding.severity) == ("index", "warning")
        searcher.create()
        assert searcher.check_collection() == []

        monkeypatch.setattr(qdrant_server, "VERSION", "1.18.2")
        [finding] = searcher.check_collection()
        assert (finding.code, finding.severity) == ("tenants", "warning")
        assert "Update Qdrant to 1.19" in finding.remedy
        client.close()


@pytest.fixture(params=["qdrant", "milvus", "weaviate"])
def over(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Store]]:
    """Opens collections of stores that have aliases, by name."""
    if request.param == "qdrant":
        with closing(QdrantClient(":memory:")) as client:
            yield lambda name: QdrantStore(client, name)
        return
    if request.param == "milvus":
        from milvus_lite import server_manager_instance
        from pymilvus import MilvusClient

        from qwen3_rag_hybrid import MilvusStore

        path = str(tmp_path / "milvus.db")
        with closing(MilvusClient(path)) as milvus:
            yield lambda name: MilvusStore(milvus, name)
        server_manager_instance.release_server(path)
        return
    from qwen3_rag_hybrid import WeaviateStore

    client = request.getfixturevalue("weaviate_client")
    suffix = uuid4().hex
    yield lambda name: WeaviateStore(client, f"{name.title()}_{suffix}")
    for name in ("Plain", "Divided"):
        client.collections.delete(f"{name}_{suffix}")


@pytest.mark.parametrize("lasting", [0, 60])
def test_an_alias_that_moves_never_mixes_tenants(
    over: Callable[[str], Store], lasting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "LASTING", lasting)
    plain, divided = over("plain"), over("divided")
    before = HybridSearcher(plain, make_embedder())
    before.create(fields={"path": "keyword"})
    before.add([Document("plain", "bread", {"path": "a.md"})])
    after = HybridSearcher(divided, make_embedder())
    after.create(tenants=True, fields={"path": "keyword"})
    after.add([Document("mine", "bread", {"path": "a.md"})], tenant="acme")
    plain.move_alias(alias := over("alias").collection)  # type: ignore[attr-defined]
    opened = HybridSearcher(over("alias"), make_embedder())
    assert [hit.id for hit in opened.search("bread")] == ["plain"]
    assert opened.count() == 1

    divided.move_alias(alias)

    for write in (
        lambda: opened.delete(["mine"]),
        lambda: opened.delete(everything=True),
        lambda: opened.add([Document("new", "bread")]),
        lambda: opened.replace([], by="path", values=["a.md"]),
    ):
        with pytest.raises(InputError, match=r"has tenants, and the call names none"):
            write()
    assert after.count(tenant="acme") == 1
    if not lasting:  # else what reads may say so up to a minute later
        for read in (
            lambda: opened.search("bread"),
            lambda: opened.retrieve(["mine"]),
            lambda: [*opened.scan()],
            opened.count,
        ):
            with pytest.raises(InputError, match=r"has tenants, and the call names none"):
                read()
        assert [hit.id for hit in opened.search("bread", tenant="acme")] == ["mine"]

        plain.move_alias(alias)

        assert opened.count() == 1
        assert [hit.id for hit in opened.search("bread")] == ["plain"]


@pytest.mark.parametrize("kind", ["langchain", "llama-index", "haystack"])
def test_a_collection_of_a_framework_has_no_tenants(kind: str) -> None:
    store = QdrantStore(QdrantClient(":memory:"), "documents", layout=kind)

    with pytest.raises(StoreError, match="without `layout`"):
        HybridSearcher(store, make_embedder()).create(tenants=True)


def test_a_store_that_cannot_have_tenants_refuses_them() -> None:
    class Simple(MemoryStore):
        can_have_tenants = False

    searcher = HybridSearcher(Simple(), make_embedder())

    with pytest.raises(StoreError, match="Simple cannot keep tenants apart"):
        searcher.create(tenants=True)
    searcher.create()
    with pytest.raises(StoreError, match="Simple cannot keep tenants apart"):
        searcher.search("text", tenant="acme")


def test_the_mean_length_is_that_of_the_first_documents_of_any_tenant() -> None:
    first, later = (HybridSearcher(MemoryStore(), make_embedder()) for _ in range(2))
    many = [Document(n, "one two three four") for n in range(200)]
    for searcher in (first, later):
        searcher.create(tenants=True)

    first.add(many, tenant="acme")
    later.add(many[:5], tenant="acme")
    later.add(many, tenant="globex")

    assert (first.encoder.avg_len, later.encoder.avg_len) == (4, 256)


async def test_a_store_with_an_async_form_of_all_tenants_uses_a_thread_for_one() -> None:
    class Simple(MemoryStore):
        for_tenant = Store.for_tenant

    searcher = filled(Simple(native_async=True))

    assert [hit.id for hit in await searcher.asearch("bread", tenant="acme")] == ["mine"]
    searcher.close()


def test_a_record_without_tenants_is_as_before_and_one_with_is_of_a_later_format() -> None:
    record = CollectionRecord("model", "fingerprint", 8, {}, tenants=True)
    before = CollectionRecord("model", "fingerprint", 8, {})

    assert record.as_dict()["format"] == 3
    assert CollectionRecord.from_dict(record.as_dict()) == record
    assert before.as_dict()["format"] == 2
    assert "tenants" not in before.as_dict()
    assert not CollectionRecord.from_dict(before.as_dict()).tenants


def test_the_id_of_a_point_depends_on_tenant_id_and_type() -> None:
    ids: list[str | int] = [7, "7", "a", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"]

    places = {point_id(id_, tenant) for id_ in ids for tenant in (None, "acme", "acm", "acme ")}

    assert len(places) == 4 * len(ids)
    # Documents that were stored must be found by it for ever.
    assert point_id("a", "acme") == "c16a8149-e280-5b36-9cfe-e178edece6fb"
