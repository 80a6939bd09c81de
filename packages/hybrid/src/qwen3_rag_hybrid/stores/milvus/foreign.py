"""How LangChain, LlamaIndex and Haystack lay out a document in a row of Milvus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient

from qwen3_rag.errors import InputError, InputTypeError, StoreError
from qwen3_rag_hybrid.documents import Document, Id, Keys, Point, from_payload, to_payload
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.stores.milvus.rows import LONGEST, Names, check_size
from qwen3_rag_hybrid.stores.milvus.schema import check_dense
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.short import missing_short

__all__ = ["ForeignLayout", "Found", "foreign_layout"]

_TOLERANCE = 0.01  # of a unit vector's length
_DYNAMIC = "$meta"  # the field with all fields that are not in the schema


@dataclass(frozen=True)
class ForeignLayout:
    """Metadata are fields of their own, or in one JSON field, and the primary key is the id.

    Attributes:
        framework: The framework's name for error messages.
        names: The names of the fields; `payload` is empty if metadata are fields of their own.
        keys: Where the parts of a document are in a row.
    """

    framework: str
    names: Names
    keys: Keys

    def to_row(self, point: Point, found: Found) -> dict[str, Any]:
        """Make a point's row.

        Raises:
            InputError: As in `to_scalars`.
            StoreError: As in `to_scalars`.
        """
        assert point.dense is not None
        return {**self.to_scalars(point.document, found), self.names.dense: point.dense.tolist()}

    def to_scalars(self, document: Document, found: Found) -> dict[str, Any]:
        """Make the fields of a document's row that are no vectors.

        Raises:
            InputError: The id is not a string, the text is too long, or the payload has a field of
                the name of the primary key or of a vector.
            StoreError: Milvus makes the ids of the collection.
        """
        if found.makes_ids:
            raise StoreError(
                "Milvus makes the ids of this collection (`auto_id`), so documents cannot be added "
                f"with ids of yours. Add them with {self.framework}."
            )
        check_size(document.id, "text is", document.text, LONGEST, "Split the document.")
        fields = to_payload(document, self.keys)
        taken = found.own_fields.intersection(fields)
        if taken and not self.keys.node:
            raise InputError(
                f"The payload of the document {document.id!r} has the field {min(taken)!r}, where "
                "the collection has a primary key or a vector. Rename it."
            )
        return {**fields, self.names.primary: self.key(document.id, found)}

    def key(self, id_: Id, found: Found) -> Id:
        """Return the primary key of a document's row.

        Raises:
            InputTypeError: The id is of another type.
        """
        kind = int if found.has_numbers else str
        if type(id_) is not kind or not str(id_):
            raise InputTypeError(
                f"The ids of this collection of {self.framework} are of the type {kind.__name__}, "
                f"got {id_!r}."
            )
        return id_

    def read_id(self, hit: Mapping[str, Any]) -> Id:
        """Read the document's id from a hit."""
        key = self.names.primary
        id_: Id = hit[key] if key in hit else hit["entity"][key]
        return id_

    def read_point(self, row: Mapping[str, Any], vectors: bool) -> Point:
        """Read a row."""
        rest = dict(row)
        id_ = rest.pop(self.names.primary)
        dense = rest.pop(self.names.dense, None)
        document = from_payload(id_, rest, self.keys)
        return Point(document, np.asarray(dense, dtype=np.float32) if vectors else None)

    def make_schema(self, dim: int) -> CollectionSchema:
        """Make the schema of a new collection, whose texts Milvus's own BM25 searches."""
        names = self.names
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
        schema.add_field(names.primary, DataType.VARCHAR, is_primary=True, max_length=LONGEST)
        schema.add_field(names.text, DataType.VARCHAR, max_length=LONGEST, enable_analyzer=True)
        if self.keys.node:
            schema.add_field("doc_id", DataType.VARCHAR, max_length=LONGEST)
        if names.payload:
            schema.add_field(names.payload, DataType.JSON)
        schema.add_field(names.dense, DataType.FLOAT_VECTOR, dim=dim)
        schema.add_field(names.sparse, DataType.SPARSE_FLOAT_VECTOR)
        bm25 = Function(
            name=f"{names.sparse}_function",
            function_type=FunctionType.BM25,
            input_field_names=[names.text],
            output_field_names=[names.sparse],
        )
        schema.add_function(bm25)
        return schema

    def check_schema(
        self, name: str, found: Found, record: CollectionRecord, vectors: Sequence[Sequence[float]]
    ) -> list[Finding]:
        """Report problems with the fields, the index and some vectors of a collection.

        Args:
            name: The collection's name for error messages.
            found: What the collection is.
            record: The record that it has to match.
            vectors: Some of its vectors, if another program wrote them.
        """
        return [
            *self._check_scalars(name, found),
            *check_dense(name, found.fields, found.indexes, self.names.dense, record.dim, _METRICS),
            *self._check_lengths(name, found, vectors),
            *missing_short(name, record.short_dim, None),
        ]

    def _check_scalars(self, name: str, found: Found) -> Iterator[Finding]:
        wanted = [
            ("primary_key", self.names.primary, (DataType.VARCHAR, DataType.INT64)),
            ("text_key", self.names.text, (DataType.VARCHAR,)),
        ]
        if self.names.payload:
            wanted.append(("payload_key", self.names.payload, (DataType.JSON,)))
        for argument, field, kinds in wanted:
            have = found.fields.get(field)
            is_key = have is not None and bool(have.get("is_primary"))
            if have is None or have["type"] not in kinds or is_key != (argument == "primary_key"):
                what = "primary key" if argument == "primary_key" else "field"
                yield Finding(
                    "schema",
                    "error",
                    f"{name} has no {what} {field!r} of the type {kinds[0].name}; its fields are "
                    f"{', '.join(map(repr, found.fields))}.",
                    f"Pass `MilvusStore(..., layout=NAME, {argument}=NAME)`.",
                )

    def _check_lengths(
        self, name: str, found: Found, vectors: Sequence[Sequence[float]]
    ) -> Iterator[Finding]:
        metric = found.metric(self.names.dense)
        lengths = [float(np.linalg.norm(vector)) for vector in vectors]
        wrong = [length for length in lengths if abs(length - 1) > _TOLERANCE]
        if wrong and metric != "COSINE":
            yield Finding(
                "distance",
                "error",
                f"{name} compares vectors by {metric}, and one has the length {wrong[0]:.3g} and "
                "not 1, so that the order is not that of the cosine.",
                f"Drop the index on {self.names.dense!r} and make one with the metric COSINE; "
                "nothing has to be added again.",
            )


@dataclass(frozen=True)
class Found:
    """What a collection is.

    Attributes:
        fields: The fields, by name.
        functions: The functions.
        indexes: The indexes, by field.
        is_dynamic: Whether rows may have fields that are not in the schema.
    """

    fields: Mapping[str, Mapping[str, Any]]
    functions: Sequence[Mapping[str, Any]]
    indexes: Mapping[str, Mapping[str, Any]]
    is_dynamic: bool

    @classmethod
    def of(cls, description: Mapping[str, Any], indexes: Mapping[str, Mapping[str, Any]]) -> Found:
        """Read the answers of `describe_collection` and of `describe_index`."""
        return cls(
            {field["name"]: field for field in description["fields"]},
            description.get("functions") or (),
            indexes,
            bool(description.get("enable_dynamic_field")),
        )

    @property
    def has_numbers(self) -> bool:
        """Whether the primary key is a number."""
        return any(one.get("is_primary") and one["type"] == DataType.INT64 for one in self._all)

    @property
    def makes_ids(self) -> bool:
        """Whether Milvus makes the primary keys."""
        return any(one.get("is_primary") and one.get("auto_id") for one in self._all)

    @property
    def own_fields(self) -> frozenset[str]:
        """The primary key and the vectors, which no payload can have."""
        vectors = (DataType.FLOAT_VECTOR, DataType.SPARSE_FLOAT_VECTOR)
        return frozenset(
            name
            for name, one in self.fields.items()
            if one.get("is_primary") or one["type"] in vectors
        )

    def bm25_of(self, text: str) -> str | None:
        """Return the sparse vector that Milvus computes of a text, if it does."""
        for function in self.functions:
            if function["type"] == FunctionType.BM25 and text in function["input_field_names"]:
                return str(function["output_field_names"][0])
        return None

    def metric(self, vector: str) -> str:
        """Return the metric of a vector's index."""
        return str(self.indexes.get(vector, {}).get("metric_type", "COSINE"))

    def scalars(self) -> list[str]:
        """The fields of a row that are no vectors."""
        vectors = (DataType.FLOAT_VECTOR, DataType.SPARSE_FLOAT_VECTOR)
        names = [name for name, one in self.fields.items() if one["type"] not in vectors]
        return [*names, _DYNAMIC] if self.is_dynamic else names

    @property
    def _all(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.fields.values())


def foreign_layout(framework: str, given: Mapping[str, str]) -> ForeignLayout:
    """Make the layout of a framework's collections.

    Args:
        framework: The framework.
        given: Names that replace its own, by the attribute of `Names`.

    Raises:
        InputError: The framework is unknown.
    """
    if framework not in _FRAMEWORKS:
        raise InputError(
            f"`layout` must be one of {', '.join(map(repr, _FRAMEWORKS))} or None, got "
            f"{framework!r}."
        )
    if unknown := given.keys() & {"id", "terms"}:
        raise InputError(
            f"A collection of {framework!r} has no field for the {unknown.pop()!r} of a document. "
            "Leave `id_key` and `terms_key` out: the primary key is the id."
        )
    title, names, node = _FRAMEWORKS[framework]
    names = replace(names, **given)
    names = replace(names, id=names.primary, terms=names.text)
    return ForeignLayout(title, names, Keys(names.text, "", names.payload, node))


# Unit vectors are in the same order by all of these.
_METRICS = ("COSINE", "IP", "L2")

_FRAMEWORKS = {
    "langchain": ("LangChain", Names("pk", "pk", "text", "", "text", "vector", "sparse"), ""),
    "llama-index": (
        "LlamaIndex",
        Names("id", "id", "text", "", "text", "embedding", "sparse_embedding"),
        "_node_content",
    ),
    "haystack": ("Haystack", Names("id", "id", "text", "", "text", "vector", "sparse_vector"), ""),
}
