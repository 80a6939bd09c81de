"""The documents of `StoreContract`, with ids and payloads that are hard to store."""

from __future__ import annotations

from typing import Any

from qwen3_rag import Qwen3Embedder
from qwen3_rag_hybrid import Document
from qwen3_rag_testkit.backends import TextBackend

__all__ = ["CAPITAL", "DOCUMENTS", "FIELDS", "IDS", "PAYLOADS", "TERMS", "make_embedder"]

DOCUMENTS = [
    Document("france", "Paris is the capital of France.", {"path": "a.md", "year": 1789}),
    Document("germany", "Berlin is the capital of Germany.", {"path": "b.md", "year": 1990}),
    Document("korea", "서울은 대한민국의 수도이다. 검색은 빠르다.", {"path": "c.md", "year": 1945}),
    Document(7, "The error E_4711 means that the disk is full.", {"path": "d.md", "tags": ["x"]}),
    Document("https://example.org/ü?q=1", "Bread is baked from flour.", {"path": "a.md"}),
    Document("empty", "", {"path": "e.md"}),
    Document("3f2504e0-4f89-41d3-9a0c-0305e82c3301", "Rivers flow into the sea.\n\nAlways."),
]
FIELDS = {"path": "keyword", "year": "integer"}
CAPITAL = "What is the capital of France?"

#: Words, each with the id of the only document that contains it.
TERMS = {
    "capitals of Germany": "germany",
    "E_4711": 7,
    "e-4711": 7,
    "검색": "korea",
    "BAKING": "https://example.org/ü?q=1",
    "river": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
}
IDS: list[str | int] = [
    *(0, 1, 2**63, 2**64 - 1, "0", "1", " ", "a/b.md#3", "Straße\n", "한국어", "\u00e9", "e\u0301"),
    *("\U0001f469\u200d\U0001f680", "x" * 10_000, "'; drop table documents"),
    "3F2504E0-4F89-41D3-9A0C-0305E82C3301",
]
PAYLOADS: list[dict[str, Any]] = [
    {},
    {"null": None, "yes": True, "no": False, "zero": 0, "text": "a field of mine"},
    {"least": -(2**63), "most": 2**63 - 1, "small": 5e-324, "large": 1.7976931348623157e308},
    {"float": 1.5, "whole": 2.0, "negative": -0.1},
    {"": "no name", "with space": 1, "with.dot": 2, "with[]": 3, "한국어": "검색", "$ref": "x"},
    {"list": [], "lists": [[1, [2, []]], [None]], "mixed": [1, "a", None, {"b": [True]}]},
    {"object": {}, "objects": {"a": {"b": {"c": {"d": ["e"]}}}}},
    {"string": 'quotes " and \\ and \x00 and \n and 👩‍🚀', "long": "x" * 100_000},
    {"like a date": "2026-01-01T00:00:00Z", "like a uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301"},
]


def make_embedder(dim: int = 64) -> Qwen3Embedder:
    """Make an embedder that needs no model; texts that share words have similar vectors."""
    return Qwen3Embedder("test/embedder", backend=TextBackend("embedding", dim))
