"""Properties of a class: their defaults, words, values and filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from weaviate.proto.v1 import base_pb2

from qwen3_rag_testkit.weaviate_stand_in.errors import Refused

__all__ = [
    "Stored",
    "Vector",
    "check_value",
    "guessed",
    "made",
    "make_filter",
    "query_words",
    "words",
]

Vector = NDArray[np.float32]

_STOPWORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by for if in into is it no not of on or such that the their "
        "then there these they this to was will with",
    )
)
_TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "word": lambda text: re.findall(r"[^\W_]+", text.lower()),
    "lowercase": lambda text: text.lower().split(),
    "whitespace": str.split,
    "field": lambda text: [text.strip()],
}


@dataclass
class Stored:
    """An object: properties have the types of the configuration, vectors are by name."""

    uuid: str
    properties: Mapping[str, Any]
    vectors: Mapping[str, Vector]

    def values(self, name: str) -> list[Any]:
        """List a property's values; empty if the object does not have it."""
        value = self.uuid if name == "_id" else self.properties.get(name)
        if value is None:
            return []
        return list(value) if isinstance(value, list) else [value]


def made(given: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a property's configuration."""
    described = {
        "indexFilterable": True,
        "indexRangeFilters": False,
        **{key: value for key, value in given.items() if value is not None},
    }
    text = described["dataType"][0] in ("text", "text[]")
    described.setdefault("indexSearchable", text)
    if text:
        described.setdefault("tokenization", "word")
    return described


def words(described: Mapping[str, Any], text: str) -> list[str]:
    """Divide a stored text into words."""
    name = described["tokenization"]
    if name not in _TOKENIZERS:
        raise Refused(f"The stand-in does not have the tokenization {name!r}.")
    return _TOKENIZERS[name](text)


def query_words(config: Mapping[str, Any], described: Mapping[str, Any], query: str) -> list[str]:
    """Divide the text of a query or filter into words, without stop words."""
    stop = _STOPWORDS if config["invertedIndexConfig"]["stopwords"]["preset"] == "en" else ()
    return [word for word in words(described, query) if word not in stop]


def guessed(value: Any) -> str:
    """Guess the type of a property that is not configured."""
    if isinstance(value, list):
        return f"{guessed(value[0]) if value else 'text'}[]"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if not isinstance(value, str):
        raise Refused(f"The stand-in has no properties of the type {type(value).__name__}.")
    try:
        return "date" if datetime.fromisoformat(value).tzinfo else "text"
    except ValueError:
        return "text"


def check_value(name: str, described: Mapping[str, Any], value: Any) -> None:
    """Refuse a value of another type than the property's.

    Args:
        name: The class's name for the error.
        described: The property's configuration.
        value: The value.
    """
    kind = described["dataType"][0]
    single = kind.removesuffix("[]")
    fits = isinstance(value, list) == (single != kind)
    try:
        for each in value if isinstance(value, list) else [value]:
            fits = fits and isinstance(each, _TYPES[single])
            _READERS[single](each)
    except (TypeError, ValueError, AttributeError):
        fits = False
    if not fits:
        raise Refused(
            f"invalid {kind} property '{described['name']}' on class '{name}': {value!r} given"
        )


def make_filter(
    config: Mapping[str, Any], find: Callable[[str], Mapping[str, Any]], given: Any
) -> Callable[[Stored], bool]:
    """Make a function that tells whether an object passes.

    Args:
        config: The configuration of the class.
        find: Looks up a property's configuration.
        given: The request's `Filters`.
    """
    operator = base_pb2.Filters.Operator.Name(given.operator).removeprefix("OPERATOR_")
    if operator in ("AND", "OR", "NOT"):
        parts = [make_filter(config, find, one) for one in given.filters]
        if operator == "NOT":
            return lambda one: not parts[0](one)
        every = all if operator == "AND" else any
        return lambda one: every(part(one) for part in parts)
    name = given.target.property
    wanted = getattr(given, given.WhichOneof("test_value"))
    values = list(wanted.values) if hasattr(wanted, "values") else [wanted]
    described = {"name": name, "dataType": ["uuid"]} if name == "_id" else find(name)
    if not described.get("indexFilterable", True):
        raise Refused(
            f"Filtering by property '{name}' requires inverted index. Is `indexFilterable` option "
            f"of property '{name}' enabled? Set it to `true` or leave empty"
        )
    if operator == "IS_NULL":
        if not config["invertedIndexConfig"].get("indexNullState"):
            raise Refused("Nullstate must be indexed to be filterable!")
        return lambda one: (not one.values(name)) is values[0]
    if described["dataType"][0].removesuffix("[]") == "text":
        return _text_filter(config, described, operator, values)
    return _value_filter(described, operator, values)


def _text_filter(
    config: Mapping[str, Any], described: Mapping[str, Any], operator: str, values: Sequence[str]
) -> Callable[[Stored], bool]:
    """Compare words: a text equals all texts that have its words."""
    tokenization = described["tokenization"]

    def have(one: Stored) -> set[str]:
        return {word for text in one.values(described["name"]) for word in words(described, text)}

    if operator == "LIKE":
        exact = tokenization in ("field", "whitespace")
        pattern = values[0] if exact else values[0].lower()
        return lambda one: any(fnmatchcase(word, pattern) for word in have(one))
    wanted = [query_words(config, described, value) for value in values]
    if tokenization != "field" and not all(wanted):
        raise Refused("invalid search term, only stopwords provided")
    if operator in _SETS:
        return lambda one: _SETS[operator]([have(one).issuperset(each) for each in wanted])
    return lambda one: any(_ORDERS[operator](word, wanted[0][0]) for word in have(one))


def _value_filter(
    described: Mapping[str, Any], operator: str, values: Sequence[Any]
) -> Callable[[Stored], bool]:
    kind = described["dataType"][0].removesuffix("[]")
    read = _READERS[kind]
    try:
        wanted = [read(each) for each in values]
    except ValueError as error:
        raise Refused(f"parse {kind} filter value: {error}") from error

    def passes(one: Stored) -> bool:
        have = [read(each) for each in one.values(described["name"])]
        if operator in _SETS:
            return _SETS[operator]([each in have for each in wanted])
        return any(_ORDERS[operator](each, wanted[0]) for each in have)

    return passes


@cache
def _uuid(text: str) -> UUID:
    return UUID(text)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "uuid": str,
    "date": str,
    "int": (int, float),
    "number": (int, float),
    "boolean": bool,
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "text": str,
    "uuid": _uuid,
    "date": datetime.fromisoformat,
    "int": int,
    "number": float,
    "boolean": bool,
}
_SETS: dict[str, Callable[[Iterable[bool]], bool]] = {
    "EQUAL": all,
    "NOT_EQUAL": lambda equal: not all(equal),
    "CONTAINS_ANY": any,
    "CONTAINS_ALL": all,
    "CONTAINS_NONE": lambda equal: not any(equal),
}
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "GREATER_THAN": lambda have, wanted: bool(have > wanted),
    "GREATER_THAN_EQUAL": lambda have, wanted: bool(have >= wanted),
    "LESS_THAN": lambda have, wanted: bool(have < wanted),
    "LESS_THAN_EQUAL": lambda have, wanted: bool(have <= wanted),
}
