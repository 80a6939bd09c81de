"""Tenants in Milvus: no filter expression leaves a tenant's documents, and what BM25 counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import InputError, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher
from qwen3_rag_testkit.store_corpus import make_embedder

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed")
lite = pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from qwen3_rag_hybrid import MilvusStore  # noqa: E402  # needs pymilvus


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    path = str(tmp_path / "milvus.db")
    client = pymilvus.MilvusClient(path)
    yield client
    client.close()
    lite.server_manager_instance.release_server(path)


@pytest.fixture
def searcher(client: Any) -> HybridSearcher:
    """A searcher over a collection of two tenants with a document each."""
    searcher = HybridSearcher(MilvusStore(client, "documents"), make_embedder())
    searcher.create(tenants=True)
    searcher.add([Document("mine", "bread", {"path": "a.md"})], tenant="acme")
    searcher.add([Document("theirs", "bread", {"path": "a.md"})], tenant='"globex" or')
    return searcher


@pytest.mark.parametrize(
    "filter",
    [
        'payload["path"] == "a.md") or (pk != "x"',
        'payload["path"] == "a.md")) or ((pk != "x"',
        'pk != "x") or (pk != "',
        "pk != 'x') or (pk != '",
        '(payload["path"] == "a.md"',
        'payload["path"] == "\\") or (pk != \\"',
        'payload["path"] == "a.md\n" or pk != "x"',
    ],
)
def test_a_filter_that_closes_what_it_did_not_open_is_refused(
    searcher: HybridSearcher, filter: str
) -> None:
    for call in (
        lambda: searcher.search("bread", filter=filter, tenant="acme"),
        lambda: searcher.count(filter=filter, tenant="acme"),
        lambda: list(searcher.scan(filter=filter, tenant="acme")),
    ):
        with pytest.raises(InputError, match="quote or a parenthesis too many or too few"):
            call()


@pytest.mark.parametrize(
    ("filter", "count"),
    [
        ('pk != "x" or pk == "x"', 1),
        ('pk != "x" || payload["path"] == "a.md"', 1),
        ('not (payload["path"] == "b.md")', 1),
        ('payload["path"] == ") or (pk != "', 0),
        ('payload["path"] != \') or ("\'', 1),
        ('payload["path"] == "\\") or (pk != \\"\\""', 0),
    ],
)
def test_a_complete_filter_holds_within_the_tenant(
    searcher: HybridSearcher, filter: str, count: int
) -> None:
    assert searcher.count(filter=filter, tenant="acme") == count
    assert len(searcher.search("bread", filter=filter, tenant="acme")) == count
    found = [point.document.id for point in searcher.scan(filter=filter, tenant="acme")]
    assert found == ["mine"] * count


def test_bm25_counts_the_documents_of_tenants_that_share_a_partition(client: Any) -> None:
    """What docs/milvus.md says: a word that is rare for one tenant may count as a common one."""
    searcher = HybridSearcher(
        MilvusStore(client, "documents"), make_embedder(), weights={"dense": 0}
    )
    searcher.create(tenants=True)
    mine = [Document("rare", "apple orchard"), Document("common", "pear orchard")]
    mine += [Document(number, "pear garden") for number in range(8)]
    searcher.add(mine, tenant="acme")
    for number in range(40):  # in 16 partitions
        others = [Document(n, "apple garden") for n in range(20)]
        searcher.add(others, tenant=f"tenant {number}")
    client.flush("documents")

    hits = searcher.search("apple pear orchard", limit=2, tenant="acme")

    assert [hit.id for hit in hits] == ["common", "rare"]


@pytest.mark.parametrize("has", [True, False])
def test_a_collection_of_the_other_kind_is_a_finding(client: Any, has: bool) -> None:
    searcher = HybridSearcher(MilvusStore(client, "documents"), make_embedder())
    searcher.create(tenants=has)
    client.alter_collection_properties("documents", properties={"qwen3_rag": ""})
    client.drop_collection_properties("documents", property_keys=["qwen3_rag"])
    again = HybridSearcher(MilvusStore(client, "documents"), make_embedder())

    with pytest.raises(StoreError, match=rf"has {'' if has else 'no '}tenants.*new collection"):
        again.create(tenants=not has)
    again.create(tenants=has)

    assert again.check_collection() == []


def test_a_name_that_does_not_fit_is_refused(searcher: HybridSearcher) -> None:
    with pytest.raises(InputError, match=r"tenant is 70,000 bytes long, of at most 65,535"):
        searcher.add([Document("a", "text")], tenant="x" * 70_000)
