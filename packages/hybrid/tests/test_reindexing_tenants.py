"""Collections with tenants, and with short vectors, are embedded anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from qwen3_rag import InputError, Qwen3Embedder, StoreError
from qwen3_rag_hybrid import Document, HybridSearcher, Store, reindex
from qwen3_rag_testkit.memory_store import MemoryStore
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, FIELDS, make_embedder

Opener = Callable[[str], Store]

#: Documents with the same ids.
OTHERS = [Document(one.id, f"Bread of {one.id}", {"path": "a.md"}) for one in DOCUMENTS]
BOTH = {"acme": DOCUMENTS, "globex": OTHERS}


def fill(
    store: Store, tenants: dict[str, list[Document]] = BOTH, short_dim: int | None = None
) -> HybridSearcher:
    searcher = HybridSearcher(store, make_embedder(48))
    searcher.create(fields=FIELDS, tenants=True, short_dim=short_dim)
    for tenant, documents in tenants.items():
        searcher.add(documents, tenant=tenant)
    return searcher


def content(store: Store) -> dict[str, list[Document]]:
    """The documents of each tenant, in the order of their ids."""
    found = {}
    for tenant in store.tenants():
        points = store.for_tenant(tenant).scan(vectors=True)
        documents = []
        for point in points:
            assert point.dense is not None
            assert len(point.dense) == 64
            documents.append(point.document)
        if documents:  # Weaviate lists tenants that have none
            found[tenant] = ordered(documents)
    return found


def ordered(documents: list[Document]) -> list[Document]:
    return sorted(documents, key=lambda document: str(document.id))


def after(embedder: Qwen3Embedder, calls: int, act: Callable[[], object]) -> list[str]:
    """Act after so many calls of `embed_documents`; return a list of the texts embedded."""
    embed, texts = embedder.embed_documents, []

    def embed_documents(given: Any, **arguments: Any) -> Any:
        nonlocal calls
        found = embed(given, **arguments)
        texts.extend(given)
        calls -= 1
        if calls == 0:
            act()
        return found

    embedder.embed_documents = embed_documents  # type: ignore[assignment,method-assign]
    return texts


def test_every_tenant_has_its_documents_with_vectors_of_the_new_model(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    fill(old)

    assert reindex(old, new, make_embedder(64), batch_size=3) == 2 * len(DOCUMENTS)

    assert content(new) == {tenant: ordered(documents) for tenant, documents in BOTH.items()}
    record = new.record()
    assert record is not None
    assert (record.tenants, record.dim, dict(record.fields)) == (True, 64, FIELDS)
    searcher = HybridSearcher(new, make_embedder(64))
    for tenant, text in (("acme", DOCUMENTS[0].text), ("globex", OTHERS[0].text)):
        [hit] = searcher.search(text, limit=1, tenant=tenant)
        assert (hit.id, hit.text) == ("france", text)
    assert reindex(old, new, make_embedder(64)) == 0


def test_a_call_interrupted_in_a_tenant_continues_there(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    tenants = {
        name: [Document(n, f"{name} {n}") for n in range(20)] for name in ("acme", "globex", "last")
    }
    fill(old, tenants)
    embedder = make_embedder(64)

    def interrupt() -> None:
        raise KeyboardInterrupt

    texts = after(embedder, 4, interrupt)  # in the second tenant
    with pytest.raises(KeyboardInterrupt):
        reindex(old, new, embedder, batch_size=8)
    again = reindex(old, new, embedder, batch_size=8)

    assert again == 60 - 20
    assert len(texts) == 60 + 8  # one batch twice
    assert content(new) == {name: ordered(documents) for name, documents in tenants.items()}


def test_changes_in_tenants_that_are_made_meanwhile_are_carried_over(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    searcher = fill(old, {**BOTH, "gone": DOCUMENTS})

    def change() -> None:
        searcher.delete(["france"], tenant="acme")
        searcher.add([Document("france", "Lyon")], tenant="globex")
        searcher.delete_tenant("gone")
        searcher.add([Document("new", "a new tenant")], tenant="late")

    embedder = make_embedder(64)
    after(embedder, 3, change)
    reindex(old, new, embedder)

    assert content(new) == {
        "acme": ordered([one for one in DOCUMENTS if one.id != "france"]),
        "globex": ordered([Document("france", "Lyon"), *OTHERS[1:]]),
        "late": [Document("new", "a new tenant")],
    }


def test_one_tenant_fills_a_collection_without_tenants(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    fill(old)

    assert reindex(old.for_tenant("globex"), new, make_embedder(64)) == len(OTHERS)

    assert ordered([point.document for point in new.scan()]) == ordered(OTHERS)
    assert reindex(old.for_tenant("globex"), new, make_embedder(64)) == 0
    for source in (old, old.for_tenant("acme")):
        with pytest.raises(StoreError, match="Choose the name of a new collection"):
            reindex(source, new, make_embedder(64))


def test_the_alias_of_a_collection_with_tenants_moves(opener: Opener) -> None:
    behind: Any = opener("old")
    new = opener("new")
    if not behind.has_aliases:
        pytest.skip(f"{type(behind).__name__} has no aliases")
    fill(behind)
    alias = f"live_{uuid4().hex}"
    behind.move_alias(alias)

    reindex(behind, new, make_embedder(64), alias=alias)

    live = HybridSearcher(type(behind)(behind.client, alias), make_embedder(64))
    assert live.search(CAPITAL, limit=1, tenant="acme")[0].id == "france"
    assert live.tenants() == ["acme", "globex"]


@pytest.mark.parametrize(("given", "made"), [(None, 32), (40, 40), (0, None)])
def test_short_vectors_are_those_of_the_source_unless_told_otherwise(
    opener: Opener, given: int | None, made: int | None
) -> None:
    old, new = opener("old"), opener("new")
    fill(old, short_dim=32)
    embedder = make_embedder(64)

    def interrupt() -> None:
        raise KeyboardInterrupt

    after(embedder, 1, interrupt)
    with pytest.raises(KeyboardInterrupt):
        reindex(old, new, embedder, short_dim=given)
    reindex(old, new, embedder)

    record = new.record()
    assert record is not None
    assert record.short_dim == made
    searcher = HybridSearcher(new, make_embedder(64))
    assert searcher.check_collection() == []
    for tenant, documents in BOTH.items():
        hits = searcher.search(CAPITAL, tenant=tenant)
        assert {hit.text for hit in hits if "dense" in hit.ranks} == {d.text for d in documents}


def test_short_vectors_are_made_for_a_collection_that_has_none(opener: Opener) -> None:
    old, new = opener("old"), opener("new")
    HybridSearcher(old, make_embedder(48)).create()
    HybridSearcher(old, make_embedder(48)).add(DOCUMENTS)

    reindex(old, new, make_embedder(64), short_dim=32)

    record = new.record()
    assert record is not None
    assert record.short_dim == 32
    hits = HybridSearcher(new, make_embedder(64)).search(CAPITAL)
    assert hits[0].id == "france"
    assert sum("dense" in hit.ranks for hit in hits) == len(DOCUMENTS)


def test_short_vectors_that_the_new_model_cannot_have_are_refused() -> None:
    old, new = MemoryStore(), MemoryStore()
    fill(old, short_dim=40)

    with pytest.raises(InputError, match=r"short vectors of 40 numbers.*have 40.*`short_dim=0`"):
        reindex(old, new, make_embedder(40))

    assert new.record() is None
    assert reindex(old, new, make_embedder(40), short_dim=0) == 2 * len(DOCUMENTS)


def test_a_target_of_another_kind_is_refused() -> None:
    class Simple(MemoryStore):
        can_have_tenants = False

    with_tenants, without, empty = MemoryStore(), MemoryStore(), MemoryStore()
    fill(with_tenants)
    without_tenants = HybridSearcher(without, make_embedder())
    without_tenants.create()
    HybridSearcher(empty, make_embedder()).create(tenants=True)

    with pytest.raises(InputError, match="opened for the tenant 'acme' alone"):
        reindex(with_tenants, MemoryStore().for_tenant("acme"), make_embedder())
    with pytest.raises(StoreError, match="Simple cannot keep tenants apart"):
        reindex(with_tenants, Simple(), make_embedder())
    with pytest.raises(StoreError, match=r"has no tenants.*new collection"):
        reindex(with_tenants, without, make_embedder())
    with pytest.raises(StoreError, match=r"has tenants.*new collection"):
        reindex(without, empty, make_embedder())
    without_tenants.add(DOCUMENTS)
    with pytest.raises(StoreError, match="Choose the name of a new collection"):
        reindex(without, with_tenants, make_embedder())
