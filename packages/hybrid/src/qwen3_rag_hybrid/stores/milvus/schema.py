"""The schema and indexes of a Milvus collection, and the checks of those of an existing one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient

from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid.stores.findings import Finding, tenant_finding
from qwen3_rag_hybrid.stores.milvus.rows import LONGEST, Names
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.short import SHORT, missing_short

__all__ = ["check_dense", "check_schema", "index_parameters", "make_schema"]

_LONGEST_KEY = 36  # a UUID

# Analyzers that leave `join_terms` as it is. Milvus Lite has the second only; on a server it
# divides Chinese into characters.
_SPACES, _LITE = "whitespace", "standard"


def make_schema(names: Names, record: CollectionRecord, *, lite: bool) -> CollectionSchema:
    """Make the schema of a new collection.

    Args:
        names: The names of its fields.
        record: The collection's record.
        lite: Whether it is for Milvus Lite, which has fewer analyzers.
    """
    analyzer = {"tokenizer": _LITE if lite else _SPACES}
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(names.primary, DataType.VARCHAR, is_primary=True, max_length=_LONGEST_KEY)
    schema.add_field(names.id, DataType.VARCHAR, max_length=LONGEST)
    schema.add_field(names.text, DataType.VARCHAR, max_length=LONGEST)
    schema.add_field(names.payload, DataType.JSON)
    schema.add_field(
        names.terms,
        DataType.VARCHAR,
        max_length=LONGEST,
        enable_analyzer=True,
        analyzer_params=analyzer,
    )
    if record.tenants:  # those of some tenants each are kept and searched together
        schema.add_field(names.tenant, DataType.VARCHAR, max_length=LONGEST, is_partition_key=True)
    schema.add_field(names.dense, DataType.FLOAT_VECTOR, dim=record.dim)
    if record.short_dim is not None:
        schema.add_field(SHORT, DataType.FLOAT_VECTOR, dim=record.short_dim)
    schema.add_field(names.sparse, DataType.SPARSE_FLOAT_VECTOR)
    bm25 = Function(
        name=f"{names.sparse}_function",
        function_type=FunctionType.BM25,
        input_field_names=[names.terms],
        output_field_names=[names.sparse],
    )
    schema.add_function(bm25)
    return schema


def index_parameters(
    names: Names, encoder: BM25Encoder, short_dim: int | None, *, lite: bool
) -> dict[str, dict[str, Any]]:
    """Return the arguments of `add_index` for each vector, by the vector's name."""
    bm25 = {"bm25_k1": encoder.k1, "bm25_b": encoder.b}
    # Milvus Lite's automatic index misses hits of collections that it can search exactly.
    searched = {"index_type": "FLAT" if lite else "AUTOINDEX", "metric_type": "COSINE"}
    dense = {names.dense: searched}
    if short_dim is not None:
        # Whole vectors are only read, but Milvus loads no collection without an index on each.
        dense = {names.dense: {**searched, "index_type": "FLAT"}, SHORT: searched}
    return {
        **dense,
        names.sparse: {
            "index_type": "SPARSE_INVERTED_INDEX",
            "metric_type": "BM25",
            # Milvus Lite reads parameters in the form of earlier clients only.
            "params": {"params": bm25} if lite else bm25,
        },
    }


def check_schema(
    name: str,
    description: Mapping[str, Any],
    indexes: Mapping[str, Mapping[str, Any]],
    names: Names,
    record: CollectionRecord,
) -> list[Finding]:
    """Report problems with the fields and indexes of a collection.

    Args:
        name: The collection's name for error messages.
        description: The answer of `describe_collection`.
        indexes: The answers of `describe_index`, by field.
        names: The names of the fields.
        record: The record that the collection has to match.
    """
    fields = {field["name"]: field for field in description["fields"]}
    return [
        *_check_scalars(name, fields, names),
        *_check_tenant(name, fields, names, record),
        *check_dense(name, fields, indexes, names.dense, record.dim),
        *missing_short(name, record.short_dim, _size(fields.get(SHORT))),
        *_check_sparse(name, fields, description.get("functions") or (), names),
        *_check_indexes(name, fields, indexes, names, record),
    ]


def _size(field: Mapping[str, Any] | None) -> int | None:
    return None if field is None else int(field["params"]["dim"])


def _check_scalars(name: str, fields: Mapping[str, Any], names: Names) -> Iterator[Finding]:
    for argument, field, kind in (
        ("primary_key", names.primary, DataType.VARCHAR),
        ("id_key", names.id, DataType.VARCHAR),
        ("text_key", names.text, DataType.VARCHAR),
        ("payload_key", names.payload, DataType.JSON),
    ):
        found = fields.get(field)
        is_key = found is not None and bool(found.get("is_primary"))
        if found is None or found["type"] != kind or is_key != (argument == "primary_key"):
            what = "primary key" if argument == "primary_key" else "field"
            yield Finding(
                "schema",
                "error",
                f"{name} has no {what} {field!r} of the type {kind.name}; its fields are "
                f"{', '.join(map(repr, fields))}.",
                f"Pass `MilvusStore(..., {argument}=NAME)`, or make a new collection with "
                "`create()`.",
            )


def _check_tenant(
    name: str, fields: Mapping[str, Any], names: Names, record: CollectionRecord
) -> list[Finding]:
    field = fields.get(names.tenant, {})
    is_key = field.get("type") == DataType.VARCHAR and bool(field.get("is_partition_key"))
    return [] if is_key == record.tenants else [tenant_finding(name, has=is_key)]


def check_dense(
    name: str,
    fields: Mapping[str, Any],
    indexes: Mapping[str, Mapping[str, Any]],
    dense: str,
    dim: int,
    metrics: Sequence[str] = ("COSINE", "IP"),
) -> Iterator[Finding]:
    """Report problems with the dense vector.

    Args:
        name: The collection's name for error messages.
        fields: Its fields, by name.
        indexes: Its indexes, by field.
        dense: The vector's name.
        dim: Size of the embedder's vectors.
        metrics: Metrics by which vectors of unit length are in the right order.
    """
    vectors = [key for key, field in fields.items() if field["type"] == DataType.FLOAT_VECTOR]
    if dense not in vectors:
        yield Finding(
            "dense",
            "error",
            f"{name} has no dense vector named {dense!r}; it has "
            f"{', '.join(map(repr, vectors)) or 'none'}.",
            "Pass `MilvusStore(..., dense=NAME)`.",
        )
        return
    size = int(fields[dense]["params"]["dim"])
    if size != dim:
        yield Finding(
            "dim",
            "error",
            f"{name} holds vectors of {size} numbers, and the embedder gives {dim}.",
            f"Make the embedder with dim={size}, or a new collection.",
        )
    metric = indexes.get(dense, {}).get("metric_type", "COSINE")
    if metric not in metrics:
        yield Finding(
            "distance",
            "error",
            f"{name} compares dense vectors by {metric}, where less is better; fusion takes more "
            "for better.",
            f"Drop the index on {dense!r} and make one with the metric COSINE; nothing has to be "
            "added again.",
        )


def _check_sparse(
    name: str, fields: Mapping[str, Any], functions: Sequence[Mapping[str, Any]], names: Names
) -> Iterator[Finding]:
    if not any(
        function["type"] == FunctionType.BM25
        and list(function["input_field_names"]) == [names.terms]
        and list(function["output_field_names"]) == [names.sparse]
        for function in functions
    ):
        yield Finding(
            "sparse",
            "error",
            f"{name} does not compute BM25 of the field {names.terms!r} into the sparse vector "
            f"{names.sparse!r}. BM25 of another field, such as the text, is of other terms.",
            "Pass `MilvusStore(..., terms_key=NAME, sparse=NAME)`, or make a new collection with "
            "`create()`.",
        )
        return
    analyzer = json.loads(fields[names.terms]["params"].get("analyzer_params") or "{}")
    if analyzer not in ({"tokenizer": _SPACES}, {"tokenizer": _LITE}):
        yield Finding(
            "sparse",
            "error",
            f"The field {names.terms!r} of {name} has the analyzer {analyzer}, which changes the "
            "terms.",
            f"Make a new collection with `create()`; its tokenizer is {_SPACES!r}, in Milvus Lite "
            f"{_LITE!r}.",
        )


def _check_indexes(
    name: str,
    fields: Mapping[str, Any],
    indexes: Mapping[str, Mapping[str, Any]],
    names: Names,
    record: CollectionRecord,
) -> Iterator[Finding]:
    for field in (names.dense, names.sparse, *([SHORT] if record.short_dim else [])):
        if field in fields and field not in indexes:
            yield Finding(
                "index",
                "warning",
                f"{name} has no index on {field!r}, without which Milvus does not search it.",
                "Call `create()` again: it makes what is missing.",
            )
    index = indexes.get(names.sparse, {})
    found = index.get("params") or index  # Milvus Lite, and servers
    for key, wanted in (("bm25_k1", record.encoder["k1"]), ("bm25_b", record.encoder["b"])):
        if key in found and float(found[key]) != float(wanted):
            yield Finding(
                "encoder",
                "error",
                f"The index on {names.sparse!r} of {name} has {key} {found[key]}, and the BM25 "
                f"encoder {wanted}.",
                f"Drop the index, and call `create()`, which makes it with {wanted}.",
            )
