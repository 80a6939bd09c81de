"""Whether a Qdrant collection keeps its vectors the way hybrid search needs them.

Reads what a client says about a collection, without importing one. Knows nothing of models: the
record beside the vectors is compared elsewhere.
"""

from __future__ import annotations

from typing import Any

from qwen3_rag_hybrid.settings import Finding

__all__ = ["check_shape"]


def check_shape(name: str, parameters: Any, dense: str, lexical: str, dim: int) -> list[Finding]:
    """Name what is wrong with the vectors of a collection.

    Args:
        name: The collection, for messages.
        parameters: Its `CollectionParams`.
        dense: Name of the dense vector, `""` for the unnamed one.
        lexical: Name of the sparse vector.
        dim: Size of the embedder's vectors.
    """
    return [*_check_dense(name, parameters, dense, dim), *_check_lexical(name, parameters, lexical)]


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


def _check_lexical(name: str, parameters: Any, lexical: str) -> list[Finding]:
    named = parameters.sparse_vectors or {}
    found = named.get(lexical)
    if found is None:
        return [
            Finding(
                "lexical",
                "error",
                f"{name} has no sparse vector named {lexical!r}; it has "
                f"{', '.join(map(repr, named)) or 'none'}.",
                "Pass `QdrantStore(..., lexical=NAME)`, or make the collection with "
                f"`sparse_vectors_config={{{lexical!r}: "
                "SparseVectorParams(modifier=Modifier.IDF)}`.",
            )
        ]
    if found.modifier is None or found.modifier.value != "idf":
        return [
            Finding(
                "idf",
                "error",
                f"The sparse vector {lexical!r} has no IDF modifier, so a word like 'the' counts "
                "as much as a rare one.",
                "Switch it on; nothing has to be added again: `client.update_collection(..., "
                f"sparse_vectors_config={{{lexical!r}: SparseVectorParams("
                "modifier=Modifier.IDF)})`.",
            )
        ]
    return []
