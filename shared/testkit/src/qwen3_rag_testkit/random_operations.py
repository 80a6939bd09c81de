"""Random operations on a store's collection, each compared with a dictionary and exact search."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from qwen3_rag import Hit, Qwen3Reranker
from qwen3_rag.fusion import Id, fuse
from qwen3_rag.lexical import tokens
from qwen3_rag.search import BM25, DENSE
from qwen3_rag_hybrid import Document, HybridSearcher, Store
from qwen3_rag_testkit.backends import TextBackend
from qwen3_rag_testkit.store_conditions import (
    AllOf,
    Among,
    AnyOf,
    Condition,
    Equal,
    Holds,
    Not,
    Range,
)
from qwen3_rag_testkit.store_corpus import make_embedder

__all__ = ["run_operations"]

_FIELDS = {
    "path": "keyword",
    "year": "integer",
    "price": "float",
    "done": "bool",
    "tags": "keyword",
}

_CANDIDATES = 60  # more than there are ids, so that every list is complete
_DEPTH = 5  # hits to rerank
_WORDS = ["capital", "France", "Germany", "bread", "E_4711", "검색은", "Straße", "the", "disk full"]
_PATHS = ["a.md", "b.md", "ü/'x' \"y\"\\.md", "and", "payload"]
_IDS: list[Id] = [
    *(
        0,
        1,
        7,
        "0",
        "1",
        "a",
        "b",
        "A",
        "ü/é",
        "e\u0301",
        " ",
        "'; \"--\\",
        "\U0001f680",
        "x" * 300,
    ),
    *(2**53 + 1, 2**63, 2**64 - 1, "_id", "%", "true"),
    *("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "3F2504E0-4F89-41D3-9A0C-0305E82C3301"),
    *(f"document {number}" for number in range(12)),
]
_TENANTS = ["acme", "Acme", "globex"]


def run_operations(
    seed: int,
    stores: Sequence[Store],
    native: Callable[[Condition], Any],
    *,
    operations: int = 30,
    conditions: Sequence[type[Condition]] = (Equal, Holds, Range, Among),
    negates: bool = True,
    most: int = 2**63 - 1,
) -> None:
    """Run a random sequence of operations, and compare each answer with the model's.

    Args:
        seed: Decides the sequence.
        stores: Stores of one collection, which does not exist yet; each operation uses one of them.
            They are closed at the end.
        native: Makes the store's own filter.
        operations: Length of the sequence.
        conditions: The conditions that the store has filters for.
        negates: Whether the store's `not` is true of a document without the field.
        most: The largest integer that the store's filters tell from its neighbours.
    """
    with asyncio.Runner() as runner:
        session = _Session(random.Random(seed), stores, native, runner, conditions, negates, most)
        session.create()
        for _ in range(operations):
            session.step()
        for store in stores:
            store.close()


@dataclass
class _Session:
    random: random.Random
    stores: Sequence[Store]
    native: Callable[[Condition], Any]
    runner: asyncio.Runner
    conditions: Sequence[type[Condition]]
    negates: bool
    most: int
    documents: dict[str | None, dict[Id, Document]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.embedder = make_embedder()
        reranker = Qwen3Reranker("test/reranker", backend=TextBackend("reranking"))
        self.reranker = self.random.choice([None, reranker])
        self.searchers = [
            HybridSearcher(
                store,
                self.embedder,
                self.reranker,
                candidates=_CANDIDATES,
                rerank_depth=_DEPTH,
                fusion=self.random.choice(["rrf", "relative_score"]),
            )
            for store in self.stores
        ]
        self.has_tenants = self.random.random() < 0.5
        self.tenants: Sequence[str | None] = _TENANTS if self.has_tenants else [None]

    def create(self) -> None:
        self._call(
            "create",
            fields=_FIELDS,
            tenants=self.has_tenants,
            short_dim=self.random.choice([None, 32]),
        )

    def step(self) -> None:
        """Run one operation."""
        operations = {
            self.add: 6,
            self.search: 6,
            self.replace: 2,
            self.delete: 3,
            self.delete_everything: 0.2,
            self.read: 3,
            self.fields: 0.3,
        }
        [operation] = self.random.choices([*operations], [*operations.values()])
        operation()

    def add(self) -> None:
        tenant, documents = self._tenant(), self._documents(self.random.randrange(8))
        batch_size = self.random.choice([1, 3, 256])
        added = self._call("add", documents, batch_size=batch_size, tenant=tenant)

        assert added == len(documents)
        self._of(tenant).update({document.id: document for document in documents})

    def replace(self) -> None:
        tenant, paths = self._tenant(), self.random.sample(_PATHS, self.random.randint(1, 2))
        documents = self._documents(self.random.randrange(4), paths)
        values = paths if self.random.random() < 0.5 or not documents else None
        removed = self._call("replace", documents, by="path", values=values, tenant=tenant)

        replaced = values or {document.payload["path"] for document in documents}
        have = self._of(tenant)
        kept = {document.id for document in documents}
        gone = [
            id_
            for id_, one in have.items()
            if one.payload.get("path") in replaced and id_ not in kept
        ]
        assert removed == len(gone)
        for id_ in gone:
            del have[id_]
        have.update({document.id: document for document in documents})

    def delete(self) -> None:
        tenant = self._tenant()
        ids = self._some_ids() if self.random.random() < 0.6 else None
        condition = self._condition() if ids is None or self.random.random() < 0.4 else None
        self._call("delete", ids, filter=self._native(condition), tenant=tenant)

        have = self._of(tenant)
        for one in self._passing(tenant, condition, ids):
            del have[one.id]

    def delete_everything(self) -> None:
        tenant = self._tenant()
        if tenant is not None and self.random.random() < 0.5:
            self._call("delete_tenant", tenant)
        else:
            self._call("delete", everything=True, tenant=tenant)
        self._of(tenant).clear()

    def fields(self) -> None:
        self._call("create", fields={"more": "keyword"})

    def read(self) -> None:
        tenant, ids, condition = self._tenant(), self._some_ids(), self._condition()
        searcher, filter = self._searcher(), self._native(condition)
        have = self._of(tenant)
        passing = {one.id: one for one in self._passing(tenant, condition)}

        found = searcher.retrieve(ids, tenant=tenant)
        assert {id_: p.document for id_, p in found.items()} == {
            id_: have[id_] for id_ in ids if id_ in have
        }
        scanned = [*searcher.scan(tenant=tenant)]
        assert {point.document.id: point.document for point in scanned} == have
        assert len(scanned) == len(have) == searcher.count(tenant=tenant)
        scanned = [*searcher.scan(filter=filter, tenant=tenant)]
        assert {point.document.id: point.document for point in scanned} == passing, condition
        assert len(scanned) == len(passing) == searcher.count(filter=filter, tenant=tenant)
        listed = set(searcher.tenants()) - {""}
        assert {name for name, all_ in self.documents.items() if name and all_} <= listed
        assert listed <= set(self.tenants)

    def search(self) -> None:
        tenant = self._tenant()
        query = " ".join(self.random.sample(_WORDS, 2))
        condition = self._condition() if self.random.random() < 0.6 else None
        ids = self._some_ids() if self.random.random() < 0.3 else None
        which = {"filter": self._native(condition), "ids": ids, "tenant": tenant}
        searcher = self._searcher()

        hits = self._call("search", query, limit=_CANDIDATES, searcher=searcher, **which)
        passing = {one.id: one for one in self._passing(tenant, condition, ids)}
        assert {hit.id: _document(hit) for hit in hits} == passing, (condition, ids)
        assert len(hits) == len(passing)
        self._check_scores(searcher, query, hits)

        offset, limit = self.random.randrange(5), self.random.randint(1, 8)
        page = self._call("search", query, limit=limit, offset=offset, searcher=searcher, **which)
        assert _comparable(page) == _comparable(hits[offset : offset + limit])
        group, most = self.random.choice(["path", "year", "tags"]), self.random.randint(1, 3)
        page = self._call(
            "search",
            query,
            limit=limit,
            offset=offset,
            group_by=group,
            per_group=most,
            searcher=searcher,
            **which,
        )
        assert _comparable(page) == _comparable(_grouped(hits, group, most, offset, limit))
        if self.reranker is not None and hits:
            least = self.random.choice(hits[:_DEPTH]).score
            page = self._call(
                "search", query, limit=50, min_score=least, searcher=searcher, **which
            )
            best = [hit for hit in hits[:_DEPTH] if hit.score >= least]
            assert _comparable(page) == _comparable(best)

    def _check_scores(self, searcher: HybridSearcher, query: str, hits: Sequence[Hit]) -> None:
        [vector] = self.embedder.embed_queries([query])
        vectors = self.embedder.embed_documents([hit.text for hit in hits])
        terms = set(searcher.encoder.query_terms(query))
        lists: dict[str, list[tuple[Id, float]]] = {DENSE: [], BM25: []}
        for hit, its in zip(hits, vectors, strict=True):
            cosine = float(np.dot(its, vector))
            assert hit.ranks[DENSE].score == pytest.approx(cosine, abs=1e-5)
            assert (BM25 in hit.ranks) == bool(terms & set(tokens(hit.text))), hit.text
            for name in lists.keys() & hit.ranks.keys():
                lists[name].append((hit.id, hit.ranks[name].score))
        fused = fuse(lists, searcher.pipeline.fusion)
        order = [hit.id for hit in sorted(hits, key=lambda hit: hit.ranks["fused"].rank)]
        assert order == [one.id for one in fused]
        if self.reranker is not None:
            scores = [hit.score for hit in hits[:_DEPTH]]
            assert {hit.id for hit in hits[:_DEPTH]} == set(order[:_DEPTH])
            assert [hit.ranks["rerank"].rank for hit in hits[:_DEPTH]] == [
                *range(1, len(scores) + 1)
            ]
            assert scores == sorted(scores, reverse=True)
            order = [*(hit.id for hit in hits[:_DEPTH]), *order[_DEPTH:]]
        assert [hit.id for hit in hits] == order

    def _call(
        self, method: str, *arguments: Any, searcher: HybridSearcher | None = None, **named: Any
    ) -> Any:
        searcher = searcher or self._searcher()
        if self.random.random() < 0.5:
            return self.runner.run(getattr(searcher, f"a{method}")(*arguments, **named))
        return getattr(searcher, method)(*arguments, **named)

    def _searcher(self) -> HybridSearcher:
        return self.random.choice(self.searchers)

    def _tenant(self) -> str | None:
        return self.random.choice(self.tenants)

    def _of(self, tenant: str | None) -> dict[Id, Document]:
        return self.documents.setdefault(tenant, {})

    def _passing(
        self, tenant: str | None, condition: Condition | None, ids: Sequence[Id] | None = None
    ) -> list[Document]:
        return [
            one
            for one in self._of(tenant).values()
            if (condition is None or condition.passes(one)) and (ids is None or one.id in ids)
        ]

    def _native(self, condition: Condition | None) -> Any:
        return None if condition is None else self.native(condition)

    def _some_ids(self) -> list[Id]:
        return self.random.choices(_IDS, k=self.random.randrange(12))

    def _documents(self, count: int, paths: Sequence[str] = ()) -> list[Document]:
        return [
            Document(id_, self._text(), self._payload(paths))
            for id_ in self.random.choices(_IDS, k=count)
        ]

    def _text(self) -> str:
        if self.random.random() < 0.05:
            return self.random.choice(["", " ", "?!", "\n"])
        return " ".join(self.random.choices(_WORDS, k=self.random.randint(1, 6)))

    def _payload(self, paths: Sequence[str]) -> dict[str, Any]:
        choose = self.random.choice
        payload = {
            "path": choose(paths or [*_PATHS, None]),
            "year": choose([-self.most, -5, 0, 1, 1990, self.most - 1, self.most, None]),
            "price": choose([-0.5, 0.0, 1.0, 2.5, 1e300]),
            "done": choose([True, False]),
            "tags": self.random.sample(["x", "y", "ü 'z'"], self.random.randrange(3)),
            "other": choose([None, "text", 7, 1.5, True, [], [[1, {"a": None}]], {"b": {"": 0}}]),
        }
        kept = {key: value for key, value in payload.items() if self.random.random() < 0.7}
        return {**kept, "path": payload["path"]} if paths else kept

    def _condition(self, depth: int = 0) -> Condition:
        kind = self.random.random()
        if depth < 2 and kind < 0.4:
            inner = tuple(self._condition(depth + 1) for _ in range(self.random.randint(1, 3)))
            kinds = [AllOf(inner), AnyOf(inner)]
            if self.negates:
                kinds.append(Not(inner[0]))
            return self.random.choice(kinds)
        chosen = self.random.choice([*self.conditions])
        if chosen is Among:
            return Among(tuple(self._some_ids()) or ("a",))
        if chosen is Holds:
            return Holds("tags", self.random.choice(["x", "y", "ü 'z'"]))
        if chosen is Range:
            name, least, below = self.random.choice(
                [("year", -6, 1), ("year", 0, 2000), ("price", 0.0, 2.5), ("price", -1.0, 0.5)]
            )
            return Range(name, least, below)
        return self.random.choice(
            [
                Equal("path", tuple(self.random.sample(_PATHS, 1))),
                Equal("path", tuple(self.random.sample(_PATHS, 2))),
                Equal("year", (self.random.choice([-5, 0, 1, 1990, self.most]),)),
                Equal("done", (self.random.choice([True, False]),)),
            ]
        )


def _document(hit: Hit) -> Document:
    return Document(hit.id, hit.text, hit.payload)


def _comparable(hits: Sequence[Hit]) -> list[Any]:
    return [(hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in hits]


def _grouped(hits: Sequence[Hit], name: str, per_group: int, offset: int, limit: int) -> list[Hit]:
    groups: dict[Any, list[Hit]] = {}
    for hit in hits:
        value = hit.payload.get(name)
        groups.setdefault((True, hit.id) if value is None else repr(value), []).append(hit)
    wanted = [
        hit for group in [*groups.values()][offset : offset + limit] for hit in group[:per_group]
    ]
    return [hit for hit in hits if hit in wanted]
