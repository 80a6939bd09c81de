"""The collections of `WeaviateStandIn`: configuration, filters, BM25, and search by vector."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weaviate.proto.v1 import base_pb2

__all__ = ["Collection", "Refused", "Stored", "capitalised"]

Vector = NDArray[np.float32]

_HNSW: dict[str, Any] = {
    "distance": "cosine",
    "ef": -1,
    "efConstruction": 128,
    "maxConnections": 32,
    "dynamicEfFactor": 8,
    "dynamicEfMax": 500,
    "dynamicEfMin": 100,
    "cleanupIntervalSeconds": 300,
    "filterStrategy": "acorn",
    "flatSearchCutoff": 40000,
    "skip": False,
    "vectorCacheMaxObjects": 10**12,
}
_CLASS: dict[str, Any] = {
    "invertedIndexConfig": {
        "bm25": {"b": 0.75, "k1": 1.2},
        "cleanupIntervalSeconds": 60,
        "stopwords": {"preset": "en", "additions": None, "removals": None},
    },
    "multiTenancyConfig": {
        "enabled": False,
        "autoTenantActivation": False,
        "autoTenantCreation": False,
    },
    "replicationConfig": {
        "factor": 1,
        "asyncEnabled": False,
        "deletionStrategy": "TimeBasedResolution",
    },
    "shardingConfig": {
        "actualCount": 1,
        "actualVirtualCount": 128,
        "desiredCount": 1,
        "desiredVirtualCount": 128,
        "function": "murmur3",
        "key": "_id",
        "strategy": "hash",
        "virtualPerPhysical": 128,
    },
}
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


class Refused(Exception):
    """What the server would answer with an error."""


@dataclass
class Stored:
    """An object: properties have the types of the configuration, vectors are by name."""

    uuid: str
    properties: Mapping[str, Any]
    vectors: Mapping[str, Vector]


@dataclass
class Collection:
    """One class of the schema with its objects, which are kept by tenant and UUID."""

    config: dict[str, Any]
    tenants: dict[str, dict[str, Stored]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def made(cls, given: Mapping[str, Any]) -> Collection:
        """Make a collection from the JSON of a request, with the server's defaults."""
        config = _merged(_CLASS, given)
        config["class"] = capitalised(given["class"])
        config["properties"] = [_property(one) for one in given.get("properties") or ()]
        named = config.get("vectorConfig") or {}
        for vector in named.values():
            vector.setdefault("vectorIndexType", "hnsw")
            vector["vectorIndexConfig"] = _merged(_HNSW, vector.get("vectorIndexConfig") or {})
        if not named:
            config["vectorIndexType"] = "hnsw"
            config["vectorizer"] = config.get("vectorizer") or "none"
            config["vectorIndexConfig"] = _merged(_HNSW, config.get("vectorIndexConfig") or {})
        collection = cls(config)
        if not collection.has_tenants:
            collection.tenants[""] = {}
        return collection

    @property
    def has_tenants(self) -> bool:
        """Whether each object belongs to a tenant."""
        return bool(self.config["multiTenancyConfig"]["enabled"])

    def add_property(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Add a property, which no object has."""
        made = _property(given)
        if made["name"] in self._properties():
            raise Refused(f"class {self.config['class']}: property {made['name']!r} already exists")
        self.config["properties"].append(made)
        return made

    def property(self, name: str) -> Mapping[str, Any]:
        """Look up a property's configuration."""
        if name not in self._properties():
            raise Refused(
                f"no such prop with name '{name}' found in class '{self.config['class']}' in the "
                "schema. Check your schema files for which properties in this class are available"
            )
        return self._properties()[name]

    def guess_properties(self, given: Mapping[str, Any]) -> None:
        """Add the properties that an object has and the collection has not, as the server does."""
        for name, value in given.items():
            if name not in self._properties() and value not in (None, []):
                self.add_property({"name": name, "dataType": [_guessed_type(value)]})

    def objects(self, tenant: str, *, create: bool = False) -> dict[str, Stored]:
        """Look up a tenant's objects; the tenant is empty in a collection without tenants."""
        name = self.config["class"]
        if self.has_tenants and not tenant:
            raise Refused(f"class {name} has multi-tenancy enabled, but request was without tenant")
        if tenant and not self.has_tenants:
            raise Refused(f"class {name} has multi-tenancy disabled, but request was with tenant")
        if tenant not in self.tenants:
            if not create or not self.config["multiTenancyConfig"]["autoTenantCreation"]:
                raise Refused(f"tenant not found: {tenant!r}")
            self.tenants[tenant] = {}
        return self.tenants[tenant]

    def put(self, tenant: str, given: Stored) -> None:
        """Write an object."""
        for name in given.properties:
            self.property(name)
        for name, vector in given.vectors.items():
            size = self.sizes.get(name, len(vector))
            if size != len(vector):
                raise Refused(
                    f"vector lengths don't match: new node has a vector with length {len(vector)}. "
                    f"Existing nodes have vectors with length {size}"
                )
        objects = self.objects(tenant, create=True)
        self.sizes.update({name: len(vector) for name, vector in given.vectors.items()})
        objects[given.uuid] = given

    def passing(self, tenant: str, filters: Any) -> list[Stored]:
        """List the objects that pass a filter, in the order of their UUIDs; all without one."""
        passes = self._filter(filters) if filters is not None else lambda _: True
        found = [one for one in self.objects(tenant).values() if passes(one)]
        return sorted(found, key=lambda one: one.uuid)

    def nearest(
        self, objects: Sequence[Stored], name: str, wanted: Vector
    ) -> list[tuple[Stored, float]]:
        """Order objects by the distance of their vectors, the nearest first."""
        named = self.config.get("vectorConfig") or {}
        if named and name not in named:
            raise Refused(f"class {self.config['class']} does not have named vector {name!r}")
        index = (named[name] if named else self.config)["vectorIndexConfig"]
        have = [one for one in objects if name in one.vectors]
        if not have:
            return []
        if self.sizes[name] != len(wanted):
            raise Refused(
                f"vector lengths don't match: {self.sizes[name]} and {len(wanted)} numbers"
            )
        vectors = np.stack([one.vectors[name] for one in have]).astype(np.float64)
        distances = _DISTANCES[index["distance"]](vectors, wanted.astype(np.float64))
        order = np.argsort(distances, kind="stable")
        return [(have[at], float(distances[at])) for at in order]

    def bm25(
        self, tenant: str, objects: Sequence[Stored], query: str, properties: Sequence[str]
    ) -> list[tuple[Stored, float]]:
        """Score objects by the words of a query, the best first.

        The statistics are those of all the tenant's objects. The constant factor k1 + 1 is left
        out. A word that the query repeats counts as often.
        """
        names = properties or [
            each["name"] for each in self._properties().values() if each["indexSearchable"]
        ]
        scores: defaultdict[str, float] = defaultdict(float)
        for each in names:
            name, _, boost = each.partition("^")
            for uuid, score in self._scores(tenant, query, name).items():
                scores[uuid] += score * float(boost or 1)
        found = [(one, scores[one.uuid]) for one in objects if one.uuid in scores]
        return sorted(found, key=lambda hit: -hit[1])

    def _scores(self, tenant: str, query: str, name: str) -> dict[str, float]:
        described = self.property(name)
        if not described["indexSearchable"]:
            raise Refused(f"Searching by property '{name}' requires inverted index to be enabled")
        index, tokenise = self.config["invertedIndexConfig"], _tokenizer(described)
        k1, b = index["bm25"]["k1"], index["bm25"]["b"]
        stored = self.objects(tenant)
        counts = {
            uuid: Counter(word for text in _values(one, name) for word in tokenise(text))
            for uuid, one in stored.items()
            if _values(one, name)
        }
        mean = sum(words.total() for words in counts.values()) / max(len(counts), 1)
        scores: defaultdict[str, float] = defaultdict(float)
        for word, times in Counter(tokenise(query)).items():
            if index["stopwords"]["preset"] == "en" and word in _STOPWORDS:
                continue
            holding = [uuid for uuid, words in counts.items() if word in words]
            idf = math.log(1 + (len(stored) - len(holding) + 0.5) / (len(holding) + 0.5))
            for uuid in holding:
                often, length = counts[uuid][word], counts[uuid].total()
                norm = k1 * (1 - b + b * length / mean)
                scores[uuid] += times * idf * often / (often + norm)
        return scores

    def _properties(self) -> dict[str, Mapping[str, Any]]:
        return {one["name"]: one for one in self.config["properties"]}

    def _filter(self, given: Any) -> Callable[[Stored], bool]:
        operator = base_pb2.Filters.Operator.Name(given.operator).removeprefix("OPERATOR_")
        if operator in ("AND", "OR", "NOT"):
            parts = [self._filter(one) for one in given.filters]
            if operator == "AND":
                return lambda one: all(part(one) for part in parts)
            if operator == "OR":
                return lambda one: any(part(one) for part in parts)
            return lambda one: not parts[0](one)
        name = given.target.property or (given.on[0] if given.on else "")
        wanted = getattr(given, given.WhichOneof("test_value"))
        values = list(wanted.values) if hasattr(wanted, "values") else [wanted]
        if name == "_id":
            described: Mapping[str, Any] = {"dataType": ["uuid"]}
        else:
            described = self.property(name)
            if not described["indexFilterable"]:
                raise Refused(
                    f"Filtering by property '{name}' requires inverted index to be enabled in "
                    "collection"
                )
        return partial(self._passes, operator, described, values)

    def _passes(
        self, operator: str, described: Mapping[str, Any], values: Sequence[Any], one: Stored
    ) -> bool:
        have = _values(one, described["name"]) if "name" in described else [one.uuid]
        kind = described["dataType"][0].removesuffix("[]")
        if operator == "IS_NULL":
            return (not have) is values[0]
        if kind == "text":
            tokenise = _tokenizer(described)
            words = {word for text in have for word in tokenise(text)}
            if operator == "LIKE":
                patterns = tokenise(values[0]) if kind != "word" else [values[0].lower()]
                return any(fnmatchcase(word, each) for word in words for each in patterns)
            equal = [words.issuperset(tokenise(value)) for value in values]
        else:
            read = _READERS[kind]
            have, values = [read(each) for each in have], [read(each) for each in values]
            equal = [value in have for value in values]
        if operator in _SETS:
            return _SETS[operator](equal)
        return any(_ORDERS[operator](each, values[0]) for each in have)


def capitalised(name: str) -> str:
    """Make the first letter a capital, as the server does with names of classes."""
    return name[:1].upper() + name[1:]


def _property(given: Mapping[str, Any]) -> dict[str, Any]:
    made = {
        "indexFilterable": True,
        "indexRangeFilters": False,
        **{key: value for key, value in given.items() if value is not None},
    }
    text = made["dataType"][0] in ("text", "text[]")
    made.setdefault("indexSearchable", text)
    if text:
        made.setdefault("tokenization", "word")
    return made


def _guessed_type(value: Any) -> str:
    if isinstance(value, list):
        return f"{_guessed_type(value[0])}[]"
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


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(given)
    for key, value in defaults.items():
        if isinstance(value, Mapping):
            merged[key] = _merged(value, merged.get(key) or {})
        elif merged.get(key) is None:
            merged[key] = value
    return merged


def _values(one: Stored, name: str) -> list[Any]:
    value = one.properties.get(name)
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _tokenizer(described: Mapping[str, Any]) -> Callable[[str], list[str]]:
    name = described["tokenization"]
    if name not in _TOKENIZERS:
        raise Refused(f"The stand-in does not have the tokenization {name!r}.")
    return _TOKENIZERS[name]


def _cosine(vectors: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted)
    return np.asarray(1 - (vectors @ wanted) / np.where(lengths == 0, 1, lengths))


_DISTANCES: dict[str, Callable[..., NDArray[np.float64]]] = {
    "cosine": _cosine,
    "dot": lambda vectors, wanted: -(vectors @ wanted),
    "l2-squared": lambda vectors, wanted: ((vectors - wanted) ** 2).sum(axis=1),
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "uuid": str.lower,
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
