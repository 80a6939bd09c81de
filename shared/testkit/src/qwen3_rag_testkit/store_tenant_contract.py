"""`TenantContract`: the part of `StoreContract` that is about collections with tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

import pytest

from qwen3_rag import InputError, InputTypeError, StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid import Document, Finding, HybridSearcher, Store, renew_bm25
from qwen3_rag_testkit.memory_store import MemoryStore
from qwen3_rag_testkit.store_corpus import CAPITAL, DOCUMENTS, FIELDS, make_embedder
from qwen3_rag_testkit.store_search_contract import MakeSearcher, SearchContract, ids

__all__ = ["TENANTS", "TenantContract"]

#: Names of tenants that are hard to store, in alphabetical order.
TENANTS = sorted(
    [
        *("acme", "Acme", "acme ", "a b", "a/b", "it's", 'a "quoted" name', "back\\slash\\", "%"),
        *("1", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "한국어", "\u00e9", "e\u0301", "\U0001f469"),
        *('") or ("" == "', "x" * 1_000, "line\nbreak", "null\x00", "_"),
    ]
)

OTHERS = [Document(one.id, f"Bread of {one.id}", {"path": "a.md"}) for one in DOCUMENTS]


class TenantContract(SearchContract):
    """How tenants are kept apart; `StoreContract` has the other fixtures.

    Attributes:
        tenant_names: Names that a tenant may have, in alphabetical order.
        tenant_idf: Whether BM25 always counts how rare a word is in the documents of the tenant
            alone.
    """

    tenant_names: ClassVar[Sequence[str]] = TENANTS
    tenant_idf: ClassVar[bool] = True

    def counts_words_of_tenants(self) -> bool:
        """Whether the present store does; see `tenant_idf`."""
        return self.tenant_idf

    @pytest.fixture(autouse=True)
    def _tenants(self, request: pytest.FixtureRequest) -> None:
        if "two" in request.fixturenames:
            store: Store = request.getfixturevalue("store")
            if not store.can_have_tenants:
                pytest.skip(f"{type(store).__name__} has no tenants")

    @pytest.fixture
    def two(self, make: MakeSearcher) -> HybridSearcher:
        """A searcher over a collection of two tenants, whose documents have the same ids."""
        searcher = make()
        searcher.create(fields=FIELDS, tenants=True)
        searcher.add(DOCUMENTS, tenant="acme")
        searcher.add(OTHERS, tenant="globex")
        return searcher

    def test_a_tenant_sees_its_own_documents_alone(self, two: HybridSearcher) -> None:
        mine = {document.id: document for document in DOCUMENTS}
        theirs = {document.id: document for document in OTHERS}

        for tenant, expected in (("acme", mine), ("globex", theirs)):
            hits = two.search("Bread, the capital of France", tenant=tenant)
            found = two.retrieve([*mine, "nobody"], vectors=True, tenant=tenant)
            assert {hit.id: hit.text for hit in hits} == {k: d.text for k, d in expected.items()}
            assert {id_: point.document for id_, point in found.items()} == expected
            scanned = {point.document.id: point.document for point in two.scan(tenant=tenant)}
            assert scanned == expected
            assert two.count(tenant=tenant) == len(expected)
        assert two.tenants() == ["acme", "globex"]
        assert _problems(two) == []

    def test_a_tenants_hits_are_those_of_a_collection_of_its_own(self, two: HybridSearcher) -> None:
        alone = HybridSearcher(MemoryStore(own_bm25=self.own_bm25), make_embedder())
        alone.create()
        alone.add(DOCUMENTS)

        for query in (CAPITAL, "bread", "E_4711", "검색"):
            assert ids(two.search(query, tenant="acme")) == ids(alone.search(query)), query

    def test_a_document_replaces_that_of_its_own_tenant(self, two: HybridSearcher) -> None:
        two.add([Document("france", "Lyon", {"path": "z.md"})], tenant="globex")

        assert two.retrieve(["france"], tenant="acme")["france"].document == DOCUMENTS[0]
        changed = two.retrieve(["france"], tenant="globex")["france"].document
        assert changed == Document("france", "Lyon", {"path": "z.md"})
        assert two.count(tenant="globex") == two.count(tenant="acme") == len(DOCUMENTS)

    def test_documents_are_deleted_for_their_own_tenant(self, two: HybridSearcher) -> None:
        two.delete(["france", 7, "nobody"], tenant="acme")

        assert two.retrieve(["france", 7], tenant="acme") == {}
        assert two.count(tenant="acme") == len(DOCUMENTS) - 2
        assert two.count(tenant="globex") == len(OTHERS)

    def test_a_tenant_is_deleted_as_a_whole(self, two: HybridSearcher) -> None:
        two.delete_tenant("acme")
        two.delete_tenant("nobody")

        assert two.tenants() == ["globex"]
        assert two.search(CAPITAL, tenant="acme") == []
        assert two.count(tenant="acme") == 0
        assert two.count(tenant="globex") == len(OTHERS)
        two.add(DOCUMENTS[:1], tenant="acme")
        assert two.count(tenant="acme") == 1

    def test_everything_is_deleted_for_one_tenant(self, two: HybridSearcher) -> None:
        two.delete(["germany"], filter=self.equals("path", "a.md"), tenant="acme")
        two.delete(filter=self.equals("path", "a.md"), tenant="acme")
        assert two.count(tenant="acme") == len(DOCUMENTS) - 2
        assert two.count(tenant="globex") == len(OTHERS)

        asyncio.run(two.adelete(everything=True, tenant="globex"))
        two.delete(everything=True, tenant="nobody")
        two.delete(filter=self.equals("path", "a.md"), tenant="nobody")

        assert two.count(tenant="globex") == 0
        assert two.count(tenant="acme") == len(DOCUMENTS) - 2

    def test_chunks_are_replaced_for_one_tenant(self, two: HybridSearcher) -> None:
        new = Document("new", "Lyon", {"path": "a.md"})

        assert two.replace([new], by="path", tenant="acme") == 2
        assert asyncio.run(two.areplace([], by="path", values=["a.md"], tenant="globex")) == 7

        assert two.retrieve(["new"], tenant="acme")["new"].document == new
        assert two.count(tenant="acme") == len(DOCUMENTS) - 1
        assert two.count(tenant="globex") == 0

    def test_a_search_among_ids_is_among_those_of_the_tenant(self, two: HybridSearcher) -> None:
        two.add([Document("theirs", "text")], tenant="globex")
        among: list[str | int] = ["france", "theirs", 7]

        assert set(ids(two.search("bread", ids=among, tenant="acme"))) == {"france", 7}
        assert set(ids(two.search("bread", ids=among, tenant="globex"))) == set(among)

    def test_a_filter_narrows_the_tenants_documents(self, two: HybridSearcher) -> None:
        filter = self.equals("path", "a.md")

        hits = two.search("bread", filter=filter, tenant="acme")
        assert set(ids(hits)) == {"france", "https://example.org/ü?q=1"}
        assert two.count(filter=filter, tenant="acme") == 2
        assert len(list(two.scan(filter=filter, tenant="acme"))) == 2
        assert two.count(filter=filter, tenant="globex") == len(OTHERS)

    def test_an_unknown_tenant_has_nothing(self, two: HybridSearcher) -> None:
        filter = self.equals("path", "a.md")

        assert two.search(CAPITAL, tenant="nobody") == []
        assert two.search(CAPITAL, filter=filter, tenant="nobody") == []
        assert two.retrieve(["france"], tenant="nobody") == {}
        assert list(two.scan(tenant="nobody")) == []
        assert list(two.scan(filter=filter, tenant="nobody")) == []
        assert two.count(tenant="nobody") == two.count(filter=filter, tenant="nobody") == 0
        two.delete(["france"], tenant="nobody")
        assert two.tenants() == ["acme", "globex"]

    def test_a_tenant_is_named_exactly_where_there_are_tenants(self, two: HybridSearcher) -> None:
        for call in _uses(two, {}):
            with pytest.raises(InputError, match=r"has tenants.*`tenant=NAME`"):
                call()

        assert two.count(tenant="acme") == two.count(tenant="globex") == len(DOCUMENTS)

    def test_no_tenant_is_named_where_there_are_none(self, filled: HybridSearcher) -> None:
        if not filled.store.can_have_tenants:
            pytest.skip(f"{type(filled.store).__name__} has no tenants")
        uses = _uses(filled, {"tenant": "acme"})
        uses.append(partial(filled.delete_tenant, "acme"))
        for call in uses:
            with pytest.raises(InputError, match=r"has no tenants.*'acme'.*create\(tenants=True\)"):
                call()

        assert filled.count() == len(DOCUMENTS)
        assert filled.tenants() == []
        with pytest.raises(StoreError, match=r"has no tenants.*new collection"):
            filled.create(tenants=True)

    def test_tenants_have_names_of_many_kinds(self, two: HybridSearcher) -> None:
        for name in ("acme", "globex"):
            two.delete_tenant(name)
        for number, name in enumerate(self.tenant_names):
            two.add([Document("a", f"text {number}"), Document(number, "text")], tenant=name)

        assert two.tenants() == list(self.tenant_names)
        for number, name in enumerate(self.tenant_names):
            found = {hit.id: hit.text for hit in two.search("text", tenant=name)}
            assert found == {"a": f"text {number}", number: "text"}, name
        for name in self.tenant_names[::2]:
            two.delete_tenant(name)
        assert two.tenants() == list(self.tenant_names[1::2])

    @pytest.mark.parametrize(
        ("name", "error", "message"),
        [
            (7, InputTypeError, "`tenant` must be a str"),
            ("", InputError, "tenant's name must not be empty"),
            ("\ud800", InputError, "surrogate"),
        ],
    )
    def test_a_name_that_no_tenant_can_have_is_refused(
        self, two: HybridSearcher, name: Any, error: type[InputError], message: str
    ) -> None:
        uses = _uses(two, {"tenant": name})
        uses.append(partial(two.delete_tenant, name))
        for call in uses:
            with pytest.raises(error, match=message):
                call()

    def test_how_rare_a_word_is_depends_on_the_tenant(self, make: MakeSearcher) -> None:
        """In the documents of acme, `apple` is rarer than `pear`; in all, it is the other way."""
        if not (make().store.can_have_tenants and self.counts_words_of_tenants()):
            pytest.skip("the store cannot count the words of one tenant alone")
        searcher = make(weights={"dense": 0})
        searcher.create(tenants=True)
        mine = [Document("rare", "apple orchard"), Document("common", "pear orchard")]
        mine += [Document(n, "pear garden") for n in range(8)]
        searcher.add(mine, tenant="acme")
        searcher.add([Document(n, "apple garden") for n in range(80)], tenant="globex")

        best = [hit.id for hit in searcher.search("apple pear orchard", limit=2, tenant="acme")]

        assert best == ["rare", "common"]

    def test_bm25_is_renewed_for_every_tenant(self, two: HybridSearcher) -> None:
        encoder = BM25Encoder(avg_len=100)

        assert renew_bm25(two.store, encoder) == len(DOCUMENTS) + len(OTHERS)

        for tenant, documents in (("acme", DOCUMENTS), ("globex", OTHERS)):
            points = {one.document.id: one for one in two.scan(vectors=True, tenant=tenant)}
            for document in documents:
                assert points[document.id].document == document
                sparse = points[document.id].sparse
                wanted = encoder.encode_document(document.text).as_dict()
                assert ({} if sparse is None else sparse.as_dict()) == pytest.approx(wanted)
        with pytest.raises(InputError, match=r"opened for the tenant 'acme' alone"):
            renew_bm25(two.store.for_tenant("acme"))

    def test_the_record_says_that_there_are_tenants(
        self, two: HybridSearcher, make: MakeSearcher
    ) -> None:
        two.create(fields={"more": "keyword"})
        two.create(tenants=True)

        record = two.store.record()
        assert record is not None
        assert record.tenants
        assert record.fields == {**FIELDS, "more": "keyword"}
        again = make()
        assert again.count(tenant="acme") == len(DOCUMENTS)
        assert _problems(again) == []

    def test_a_store_of_one_tenant_is_for_that_alone(
        self, two: HybridSearcher, store: Store
    ) -> None:
        searcher = HybridSearcher(store.for_tenant("acme"), make_embedder())

        assert searcher.search(CAPITAL) == two.search(CAPITAL, tenant="acme")
        assert searcher.add([Document("new", "text")]) == 1
        assert searcher.count() == searcher.count(tenant="acme") == len(DOCUMENTS) + 1
        assert _problems(searcher) == []
        for call in _uses(searcher, {"tenant": "globex"}):
            with pytest.raises(
                InputError, match=r"for the tenant 'acme'.*not be used for 'globex'"
            ):
                call()
        with pytest.raises(InputError, match=r"opened for the tenant 'acme' alone"):
            searcher.tenants()

    def test_threads_add_tenants_at_once(self, two: HybridSearcher) -> None:
        def work(number: int) -> None:
            documents = [Document(f"{number} {n}", f"text {n}") for n in range(5)]
            two.add(documents, tenant=f"tenant{number % 6}")

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(12)))

        assert two.tenants() == ["acme", "globex", *(f"tenant{n}" for n in range(6))]
        assert [two.count(tenant=f"tenant{n}") for n in range(6)] == [10] * 6

    def test_async_keeps_tenants_apart_too(self, two: HybridSearcher) -> None:
        async def everything() -> list[Any]:
            await two.aadd([Document("new", "text")], tenant="initech")
            await two.adelete(["france"], tenant="globex")
            await two.adelete_tenant("nobody")
            names = ["acme", "globex", "initech"]
            searches = (two.asearch(CAPITAL, tenant=name) for name in names * 5)
            with pytest.raises(InputError, match="has tenants"):
                await two.asearch(CAPITAL)
            return await asyncio.gather(*searches)

        acme, globex, initech = asyncio.run(everything())[:3]

        assert acme == two.search(CAPITAL, tenant="acme")
        assert set(ids(globex)) == {document.id for document in OTHERS} - {"france"}
        assert ids(initech) == ["new"]


def _problems(searcher: HybridSearcher) -> list[Finding]:
    """The findings, without that of a server which counts the words of all tenants."""
    found = searcher.check_collection()
    return [one for one in found if (one.code, one.severity) != ("tenants", "warning")]


def _uses(searcher: HybridSearcher, tenant: dict[str, Any]) -> list[Callable[[], object]]:
    """Every use of a searcher's documents."""
    return [
        lambda: searcher.add([Document("new", "text")], **tenant),
        lambda: searcher.delete(["france"], **tenant),
        lambda: searcher.delete(everything=True, **tenant),
        lambda: searcher.replace([Document("new", "text", {"path": "a"})], by="path", **tenant),
        lambda: searcher.search("text", **tenant),
        lambda: searcher.search("text", ids=["france"], **tenant),
        lambda: searcher.retrieve(["france"], **tenant),
        lambda: list(searcher.scan(**tenant)),
        lambda: searcher.count(**tenant),
    ]
