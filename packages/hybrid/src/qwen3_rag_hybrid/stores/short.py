"""Search in two stages: candidates by the beginning of their vectors, scored by all of it.

Qwen3-Embedding is trained so that the first numbers of a vector are a vector themselves (Matryoshka
representation learning, MRL).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from qwen3_rag.errors import InputError
from qwen3_rag.fusion import Id
from qwen3_rag.integration import FloatArray, check_count
from qwen3_rag_hybrid.stores.findings import Finding

__all__ = ["OVERSAMPLING", "SHORT", "check_short_dim", "missing_short", "rescored", "shortened"]

#: Name of the vector with the first numbers of the dense one.
SHORT = "dense_short"

#: Candidates that are found by their short vectors for each hit that is asked for.
OVERSAMPLING = 4

_LEAST = 32  # numbers, the least that the models are trained for


def check_short_dim(short_dim: int | None, dim: int) -> None:
    """Check the size of short vectors, given that of the dense ones.

    Raises:
        InputError: It is below 32, or not below `dim`.
    """
    check_count(short_dim, "short_dim", _LEAST)
    if short_dim is not None and short_dim >= dim:
        raise InputError(
            f"`short_dim` must be less than the {dim} numbers of the vectors, got {short_dim}. A "
            "quarter of them is a good choice."
        )


def shortened(vector: FloatArray, short_dim: int) -> FloatArray:
    """Cut a vector, and scale it to unit length."""
    short = vector[:short_dim]
    return np.asarray(short / (float(np.linalg.norm(short)) or 1.0), dtype=np.float32)


def rescored(
    vector: FloatArray, candidates: Iterable[tuple[Id, ArrayLike]], limit: int
) -> list[tuple[Id, float]]:
    """Order candidates by the cosines of their vectors, for a store that cannot.

    Args:
        vector: The query's vector.
        candidates: Ids and vectors, of unit length.
        limit: Number of candidates to keep.
    """
    found = list(candidates)
    if not found:
        return []
    vectors = np.asarray([one for _, one in found], dtype=np.float32)
    scores: list[float] = (vectors @ vector).tolist()
    ranked = [(id_, score) for (id_, _), score in zip(found, scores, strict=True)]
    return sorted(ranked, key=lambda hit: -hit[1])[:limit]


def missing_short(name: str, short_dim: int | None, found: int | None) -> list[Finding]:
    """Report that a collection has no short vectors, or of another size.

    Args:
        name: The collection's name for error messages.
        short_dim: The size in the record; `None` if it has none.
        found: The size in the collection; `None` if it has none.
    """
    if short_dim is None or found == short_dim:
        return []
    what = "no such vector" if found is None else f"one of {found} numbers"
    return [
        Finding(
            "dense",
            "error",
            f"{name} should have short vectors of {short_dim} numbers under {SHORT!r}, and has "
            f"{what}.",
            f"Make a new collection with `create(short_dim={short_dim})`.",
        )
    ]
