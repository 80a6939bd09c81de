"""Conditions that can be tested on documents, and the filters of each store that mean the same."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qwen3_rag.fusion import Id
from qwen3_rag_hybrid import Document

__all__ = [
    "AllOf",
    "Among",
    "AnyOf",
    "Condition",
    "Equal",
    "Holds",
    "Not",
    "Range",
    "of_milvus",
    "of_qdrant",
    "of_weaviate",
]


class Condition(ABC):
    """What a store's own filter is made of; a document passes it or does not."""

    @abstractmethod
    def passes(self, document: Document) -> bool:
        """Whether a document passes."""


@dataclass(frozen=True)
class Equal(Condition):
    """A payload field has one of some values."""

    field: str
    values: tuple[Any, ...]

    def passes(self, document: Document) -> bool:
        """See `Condition`."""
        return document.payload.get(self.field) in self.values


@dataclass(frozen=True)
class Holds(Condition):
    """The list in a payload field has a value."""

    field: str
    value: str

    def passes(self, document: Document) -> bool:
        """See `Condition`."""
        return self.value in document.payload.get(self.field, ())


@dataclass(frozen=True)
class Range(Condition):
    """A payload field has a number from `least` to less than `below`."""

    field: str
    least: float
    below: float

    def passes(self, document: Document) -> bool:
        """See `Condition`."""
        number = document.payload.get(self.field)
        return number is not None and self.least <= number < self.below


@dataclass(frozen=True)
class Among(Condition):
    """A document has one of some ids."""

    ids: tuple[Id, ...]

    def passes(self, document: Document) -> bool:
        """See `Condition`."""
        return document.id in self.ids


@dataclass(frozen=True)
class Not(Condition):
    """Another condition is not met."""

    inner: Condition

    def passes(self, document: Document) -> bool:
        """See `Condition`."""
        return not self.inner.passes(document)


@dataclass(frozen=True)
class AllOf(Condition):
    """All of some conditions are met."""

    inner: tuple[Condition, ...]

    def passes(self, document: Document) -> bool:
        """See `Condition`."""
        return all(one.passes(document) for one in self.inner)


@dataclass(frozen=True)
class AnyOf(Condition):
    """One of some conditions is met."""

    inner: tuple[Condition, ...]

    def passes(self, document: Document) -> bool:
        """See `Condition`."""
        return any(one.passes(document) for one in self.inner)


def of_qdrant(package: Any) -> Callable[[Condition], Any]:
    """Give the function that makes filters of qdrant-client's `models`, or of `qdrant_edge`."""

    def made(condition: Condition) -> Any:
        match condition:
            case Not(inner):
                return package.Filter(must_not=[made(inner)])
            case AllOf(inner):
                return package.Filter(must=[made(one) for one in inner])
            case AnyOf(inner):
                return package.Filter(should=[made(one) for one in inner])
            case Among(ids):
                return package.Filter(must=[package.HasIdCondition(has_id=[*ids])])
            case Range(field, least, below):
                kind = getattr(package, "RangeFloat", None) or package.Range
                within = kind(gte=least, lt=below)
                return package.Filter(must=[package.FieldCondition(key=field, range=within)])
            case Equal(field, values):
                return package.Filter(should=[equal(field, value) for value in values])
            case Holds(field, value):
                return package.Filter(must=[equal(field, value)])
        raise AssertionError(condition)

    def equal(field: str, value: Any) -> Any:
        return package.FieldCondition(key=field, match=package.MatchValue(value=value))

    return made


def of_milvus(condition: Condition) -> str:
    """Make an expression of Milvus."""
    match condition:
        case Not(inner):
            return f"not ({of_milvus(inner)})"
        case AllOf(inner):
            return f"({' and '.join(map(of_milvus, inner))})"
        case AnyOf(inner):
            return f"({' or '.join(map(of_milvus, inner))})"
        case Among(ids):
            return f"_id in {_quoted(list(ids))}"
        case Range(field, least, below):
            place = f'payload["{field}"]'
            return f"({place} >= {least} and {place} < {below})"
        case Equal(field, values):
            equal = (f'payload["{field}"] == {_quoted(value)}' for value in values)
            return f"({' or '.join(equal)})"
        case Holds(field, value):
            return f'json_contains(payload["{field}"], {_quoted(value)})'
    raise AssertionError(condition)


def of_weaviate(condition: Condition) -> Any:
    """Make a filter of Weaviate's client, which takes UUIDs alone for ids."""
    from weaviate.classes.query import Filter

    match condition:
        case Not(inner):
            return Filter.not_(of_weaviate(inner))
        case AllOf(inner):
            return Filter.all_of([of_weaviate(one) for one in inner])
        case AnyOf(inner):
            return Filter.any_of([of_weaviate(one) for one in inner])
        case Range(field, least, below):
            place = Filter.by_property(field)
            return place.greater_or_equal(least) & place.less_than(below)
        case Equal(field, values):
            return Filter.by_property(field).contains_any([*values])
        case Holds(field, value):
            return Filter.by_property(field).contains_any([value])
    raise AssertionError(condition)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
