"""A class of the schema with its objects: defaults, writing, BM25, and search by vector."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen3_rag_testkit.weaviate_stand_in.errors import Refused
from qwen3_rag_testkit.weaviate_stand_in.properties import (
    Stored,
    Vector,
    check_value,
    guessed,
    made,
    make_filter,
    query_words,
    words,
)

__all__ = ["Collection", "Collections"]

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


@dataclass
class Collection:
    """A class of the schema; its objects are kept by tenant and UUID."""

    config: dict[str, Any]
    tenants: dict[str, dict[str, Stored]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def made(cls, given: Mapping[str, Any]) -> Collection:
        """Make a collection from the JSON of a request, with the server's defaults."""
        config = _merged(_CLASS, given)
        config["class"] = _capitalised(given["class"])
        config["properties"] = [made(one) for one in given.get("properties") or ()]
        for vector in (config.get("vectorConfig") or {"": config}).values():
            vector.setdefault("vectorIndexType", "hnsw")
            vector["vectorIndexConfig"] = _merged(_HNSW, vector.get("vectorIndexConfig") or {})
        collection = cls(config)
        if not collection.has_tenants:
            collection.tenants[""] = {}
        return collection

    @property
    def name(self) -> str:
        """The name of the class."""
        return str(self.config["class"])

    @property
    def has_tenants(self) -> bool:
        """Whether each object belongs to a tenant."""
        return bool(self.config["multiTenancyConfig"]["enabled"])

    @property
    def vectors(self) -> Mapping[str, Any]:
        """The configurations of the vectors; the name is empty for an unnamed one."""
        return self.config.get("vectorConfig") or {"": self.config}

    @property
    def properties(self) -> Mapping[str, Mapping[str, Any]]:
        """The configurations of the properties."""
        return {one["name"]: one for one in self.config["properties"]}

    def property(self, name: str) -> Mapping[str, Any]:
        """Look up a property's configuration."""
        if name not in self.properties:
            raise Refused(
                f"no such prop with name '{name}' found in class '{self.name}' in the schema. "
                "Check your schema files for which properties in this class are available"
            )
        return self.properties[name]

    def add_property(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Add a property, which no object has."""
        described = made(given)
        name = described["name"][:1].lower() + described["name"][1:]
        if name in self.properties:
            raise Refused(f'class "{self.name}": conflict for property "{name}": already in use')
        self.config["properties"].append(described)
        return described

    def objects(self, tenant: str, *, create: bool = False) -> dict[str, Stored]:
        """Look up a tenant's objects; the tenant is empty in a collection without tenants."""
        if self.has_tenants != bool(tenant):
            state, what = ("enabled", "without") if self.has_tenants else ("disabled", "with")
            raise Refused(
                f"class {self.name} has multi-tenancy {state}, but request was {what} tenant"
            )
        if tenant not in self.tenants:
            if not create or not self.config["multiTenancyConfig"]["autoTenantCreation"]:
                raise Refused(f'tenant not found: "{tenant}"')
            self.tenants[tenant] = {}
        return self.tenants[tenant]

    def put(self, tenant: str, given: Stored) -> None:
        """Write an object; a property that is not there is made by guessing at its type."""
        for name, value in given.properties.items():
            if name not in self.properties:
                self.add_property({"name": name, "dataType": [guessed(value)]})
            check_value(self.name, self.property(name), value)
        for name, vector in given.vectors.items():
            if name not in self.vectors:
                raise Refused(
                    f"collection {self.name} does not have configuration for vector {name}"
                )
            if self.sizes.get(name, len(vector)) != len(vector):
                raise Refused(
                    f"new node has a vector with length {len(vector)}. Existing nodes have vectors "
                    f"with length {self.sizes[name]}"
                )
        self.objects(tenant, create=True)[given.uuid] = given
        self.sizes.update({name: len(vector) for name, vector in given.vectors.items()})

    def passing(self, tenant: str, filters: Any) -> list[Stored]:
        """List the objects that pass a filter, in the order of their UUIDs; all without one."""
        objects = self.objects(tenant).values()
        if filters is not None:
            passes = make_filter(self.config, self.property, filters)
            objects = [one for one in objects if passes(one)]  # type: ignore[assignment]
        return sorted(objects, key=lambda one: one.uuid)

    def nearest(
        self, objects: Sequence[Stored], name: str, wanted: Vector
    ) -> list[tuple[Stored, float]]:
        """Order objects by the distance of their vectors, the nearest first."""
        if not name and len(self.vectors) == 1:
            [name] = self.vectors
        if name not in self.vectors:
            raise Refused(f"class {self.name} does not have named vector {name} configured")
        have = [one for one in objects if name in one.vectors]
        if not have:
            return []
        if self.sizes[name] != len(wanted):
            raise Refused(
                f"vector lengths don't match: {self.sizes[name]} and {len(wanted)} numbers"
            )
        vectors = np.stack([one.vectors[name] for one in have]).astype(np.float64)
        distance = _DISTANCES[self.vectors[name]["vectorIndexConfig"]["distance"]]
        distances = distance(vectors, wanted.astype(np.float64))
        order = np.argsort(distances, kind="stable")
        return [(have[at], float(distances[at])) for at in order]

    def bm25(
        self, tenant: str, objects: Sequence[Stored], query: str, properties: Sequence[str]
    ) -> list[tuple[Stored, float]]:
        """Score objects by the words of a query, the best first.

        The statistics are those of all the tenant's objects; a server's mean length also counts
        those deleted of late. The constant factor k1 + 1 is left out. A word that the query repeats
        counts as often.
        """
        if not query:
            raise Refused("keyword search (bm25) must have query set")
        searchable = [name for name, one in self.properties.items() if one["indexSearchable"]]
        scores: defaultdict[str, float] = defaultdict(float)
        for each in properties or searchable:
            name, _, boost = each.partition("^")
            if name not in searchable:
                raise Refused(
                    f"Searching by property '{name}' requires inverted index. Is `indexSearchable` "
                    f"option of property '{name}' enabled? Set it to `true` or leave empty"
                )
            for uuid, score in self._scores(self.objects(tenant), query, name).items():
                scores[uuid] += score * float(boost or 1)
        found = [(one, scores[one.uuid]) for one in objects if one.uuid in scores]
        return sorted(found, key=lambda hit: -hit[1])

    def _scores(self, stored: Mapping[str, Stored], query: str, name: str) -> Mapping[str, float]:
        described, bm25 = self.property(name), self.config["invertedIndexConfig"]["bm25"]
        counts = {
            uuid: found
            for uuid, one in stored.items()
            if (found := Counter(w for text in one.values(name) for w in words(described, text)))
        }
        mean = sum(found.total() for found in counts.values()) / max(len(counts), 1)
        scores: defaultdict[str, float] = defaultdict(float)
        for word, times in Counter(query_words(self.config, described, query)).items():
            holding = [uuid for uuid, found in counts.items() if word in found]
            idf = math.log(1 + (len(stored) - len(holding) + 0.5) / (len(holding) + 0.5))
            for uuid in holding:
                often, length = counts[uuid][word], counts[uuid].total()
                norm = bm25["k1"] * (1 - bm25["b"] + bm25["b"] * length / mean)
                scores[uuid] += times * idf * often / (often + norm)
        return scores


class Collections:
    """The schema: collections by the names of their classes, which begin with a capital."""

    def __init__(self) -> None:
        """Make an empty schema."""
        self.by_name: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}

    def find(self, name: str, *, create: bool = False) -> Collection:
        """Look up a collection.

        Args:
            name: Its name.
            create: Whether to make one that is not there, as a server does for a document.
        """
        name = self.resolve(name)
        if name not in self.by_name:
            if not create:
                raise Refused(f"could not find class {name} in schema")
            self.by_name[name] = Collection.made({"class": name})
        return self.by_name[name]

    def resolve(self, name: str) -> str:
        """Return the name of a class, which is given or has this alias."""
        name = _capitalised(name)
        return self.aliases.get(name, name)

    def create(self, given: Mapping[str, Any]) -> Collection:
        """Make a collection from the JSON of a request."""
        collection = Collection.made(given)
        if collection.name in self.by_name:
            raise Refused(f"class name {collection.name} already exists")
        self.by_name[collection.name] = collection
        return collection

    def drop(self, name: str) -> None:
        """Delete a collection, if it is there."""
        self.by_name.pop(_capitalised(name), None)


def _capitalised(name: str) -> str:
    return name[:1].upper() + name[1:]


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(given)
    for key, value in defaults.items():
        if isinstance(value, Mapping):
            merged[key] = _merged(value, merged.get(key) or {})
        elif merged.get(key) is None:
            merged[key] = value
    return merged


def _cosine(vectors: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted)
    return np.asarray(1 - (vectors @ wanted) / np.where(lengths == 0, 1, lengths))


_DISTANCES: dict[str, Callable[..., NDArray[np.float64]]] = {
    "cosine": _cosine,
    "dot": lambda vectors, wanted: -(vectors @ wanted),
    "l2-squared": lambda vectors, wanted: ((vectors - wanted) ** 2).sum(axis=1),
}
