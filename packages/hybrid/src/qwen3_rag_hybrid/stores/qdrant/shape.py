"""Checks that a Qdrant collection has the vectors and indexes that hybrid search needs."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

import numpy as np

from qwen3_rag.lexical import BM25Encoder
from qwen3_rag_hybrid.documents import Point
from qwen3_rag_hybrid.stores.findings import Finding
from qwen3_rag_hybrid.stores.qdrant.layouts import VectorNames

__all__ = ["check_sample", "check_shape", "missing_indexes", "old_idf"]

_TENANTS_IDF = (1, 19)  # the first server with the IDF of a part of the documents
_TOLERANCE = 0.01  # of a unit vector's length, for vectors stored with half precision


def missing_indexes(name: str, fields: Iterable[str], indexed: Container[str]) -> list[Finding]:
    """Report the declared fields that have no payload index.

    Args:
        name: The collection's name for error messages.
        fields: The declared payload fields.
        indexed: The fields that have an index.
    """
    return [
        Finding(
            "index",
            "warning",
            f"{name} has no index on the field {field!r}, so filters on it read every document.",
            "Call `create()` again: it makes what is missing.",
        )
        for field in fields
        if field not in indexed
    ]


def old_idf(name: str, version: str) -> list[Finding]:
    """Report a server whose BM25 counts the words of all tenants.

    Args:
        name: The collection's name for error messages.
        version: The server's version.
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) >= _TENANTS_IDF:
        return []
    return [
        Finding(
            "tenants",
            "warning",
            f"{name} is on Qdrant {version}, which counts the words of all tenants for BM25: one "
            "that is rare for a tenant but common for the others counts little.",
            "Update Qdrant to 1.19; nothing has to be added again.",
        )
    ]


def check_shape(name: str, parameters: Any, names: VectorNames, dim: int) -> list[Finding]:
    """Report problems with the vectors of a collection.

    Args:
        name: The collection's name for error messages.
        parameters: Its `CollectionParams`.
        names: The names of its vectors.
        dim: Size of the embedder's vectors.
    """
    findings = _check_dense(name, parameters, names.dense, dim)
    if names.sparse is not None:
        findings += _check_sparse(name, parameters, names.sparse)
    return findings


def check_sample(name: str, points: Sequence[Point], sparse: str | None) -> list[Finding]:
    """Report what some points of another program show: other terms, or vectors of other lengths.

    Args:
        name: The collection's name for error messages.
        points: The points, with vectors.
        sparse: Name of the sparse vector; `None` if there is none.
    """
    encode = BM25Encoder().encode_document
    findings = []
    for point in points:
        if point.dense is not None and abs(float(np.linalg.norm(point.dense)) - 1) > _TOLERANCE:
            findings.append(
                Finding(
                    "distance",
                    "error",
                    f"The dense vector of {point.document.id!r} in {name[0].lower()}{name[1:]} has "
                    f"the length {np.linalg.norm(point.dense):.3g} and not 1, so the dot product "
                    "is no cosine.",
                    "Make a collection with `Distance.COSINE` and add the documents again.",
                )
            )
            break
    for point in points if sparse is not None else ():
        wanted = set(encode(point.document.text).indices.tolist())
        found = set() if point.sparse is None else set(point.sparse.indices.tolist())
        if found != wanted:
            findings.append(
                Finding(
                    "sparse",
                    "error",
                    f"The sparse vector {sparse!r} of {point.document.id!r} in "
                    f"{name[0].lower()}{name[1:]} does not have the terms that BM25Encoder gives "
                    "its text.",
                    "Pass `layout=` and leave `sparse=` out: dense vectors are searched then, and "
                    "`renew_bm25` adds the terms in a sparse vector of their own.",
                )
            )
            break
    return findings


def _check_dense(name: str, parameters: Any, dense: str, dim: int) -> list[Finding]:
    vectors = parameters.vectors
    named: dict[str, Any] = vectors if isinstance(vectors, dict) else {"": vectors}
    found = named.get(dense)
    if found is None:
        have = [repr(key) for key, vector in named.items() if vector is not None]
        return [
            Finding(
                "dense",
                "error",
                f"{name} has no dense vector named {dense!r}; it has {', '.join(have) or 'none'}.",
                'Pass `QdrantStore(..., dense=NAME)`, with "" for the unnamed one.',
            )
        ]
    findings = []
    if found.size != dim:
        findings.append(
            Finding(
                "dim",
                "error",
                f"{name} holds vectors of {found.size} numbers, and the embedder gives {dim}.",
                f"Make the embedder with dim={found.size}, or a new collection.",
            )
        )
    # The vectors have unit length, so the dot product is the cosine.
    if found.distance.value not in ("Cosine", "Dot"):
        findings.append(
            Finding(
                "distance",
                "error",
                f"{name} compares dense vectors by {found.distance.value}, where less is better; "
                "fusion takes more for better.",
                "Make a collection with `Distance.COSINE` and add the documents again.",
            )
        )
    if found.multivector_config is not None:
        findings.append(
            Finding(
                "dense",
                "error",
                f"{name} keeps several dense vectors per point under {dense!r}.",
                "Name one that keeps a single vector: `QdrantStore(..., dense=NAME)`.",
            )
        )
    return findings


def _check_sparse(name: str, parameters: Any, sparse: str) -> list[Finding]:
    named = parameters.sparse_vectors or {}
    found = named.get(sparse)
    if found is None:
        return [
            Finding(
                "sparse",
                "error",
                f"{name} has no sparse vector named {sparse!r}; it has "
                f"{', '.join(map(repr, named)) or 'none'}.",
                "Pass `QdrantStore(..., sparse=NAME)`, or make the collection with "
                f"`sparse_vectors_config={{{sparse!r}: "
                "SparseVectorParams(modifier=Modifier.IDF)}`.",
            )
        ]
    if found.modifier is None or found.modifier.value != "idf":
        return [
            Finding(
                "idf",
                "error",
                f"The sparse vector {sparse!r} has no IDF modifier, so a word like 'the' counts "
                "as much as a rare one.",
                "Switch it on; nothing has to be added again: `client.update_collection(..., "
                f"sparse_vectors_config={{{sparse!r}: SparseVectorParams("
                "modifier=Modifier.IDF)})`.",
            )
        ]
    return []
