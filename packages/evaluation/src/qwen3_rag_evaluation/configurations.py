"""`Configuration`: one way to search, and grids of them in TOML files."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from qwen3_rag.errors import InputError
from qwen3_rag.fusion import DEFAULT_CANDIDATES, DEFAULT_FUSION, FusionMethod

__all__ = ["Configuration", "Retrieval", "expand", "read_configurations"]

Retrieval: TypeAlias = Literal["hybrid", "dense", "bm25"]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One way to search a collection.

    Attributes:
        name: Its name in reports; when omitted, `described` makes one.
        model: The embedding model.
        dim: Size of the vectors; defaults to the model's.
        instruction: What queries are for; defaults to each model's own.
        retrieval: Whether to search by vectors, by BM25, or by both.
        fusion: `"relative_score"` or `"rrf"`, for both.
        weights: Weights of `"dense"` and `"bm25"`; 1 if not given.
        candidates: Number of hits to take from each retriever.
        reranker: The reranker; `None` for the fused order.
        rerank_depth: Number of hits to rerank.
        model_options: Further arguments of `Qwen3Embedder`, such as `device`.
        reranker_options: Further arguments of `Qwen3Reranker`.

    Raises:
        InputError: `retrieval` is unknown, or options are for a step that there is not.
    """

    name: str = ""
    model: str
    dim: int | None = None
    instruction: str | None = None
    retrieval: Retrieval = "hybrid"
    fusion: FusionMethod = DEFAULT_FUSION
    weights: Mapping[str, float] = field(default_factory=dict)
    candidates: int = DEFAULT_CANDIDATES
    reranker: str | None = None
    rerank_depth: int = 50
    model_options: Mapping[str, Any] = field(default_factory=dict)
    reranker_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.retrieval not in get_args(Retrieval):
            raise InputError(
                f"`retrieval` must be one of {get_args(Retrieval)}, got {self.retrieval!r}."
            )
        if self.weights and self.retrieval != "hybrid":
            raise InputError(
                f"`weights` are for retrieval by both, got {self.weights!r} for "
                f"{self.retrieval!r}. Leave them out."
            )

    @property
    def described(self) -> str:
        """Its name, or else what it consists of."""
        if self.name:
            return self.name
        parts = [self.model if self.dim is None else f"{self.model} {self.dim}", self.retrieval]
        if self.retrieval == "hybrid" and self.fusion != DEFAULT_FUSION:
            parts.append(self.fusion)
        parts += [f"{name} {weight:g}" for name, weight in self.weights.items()]
        if self.instruction is not None:
            parts.append(f"“{self.instruction}”")
        if self.reranker is not None:
            parts.append(f"reranked {self.rerank_depth} by {self.reranker}")
        return ", ".join(parts)


def read_configurations(file: str | Path) -> list[Configuration]:
    """Read configurations from a TOML file.

    Each table `[[configurations]]` has the attributes of `Configuration`. A list of values stands
    for one configuration with each of them; with several lists, for each combination.

    Args:
        file: The file.

    Raises:
        InputError: It cannot be read, or has another format.
    """
    try:
        found = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(file)!r} cannot be read: {error}") from error
    tables = found.pop("configurations", [])
    if found or not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise InputError(
            f"{str(file)!r} must have tables [[configurations]] and nothing else, got "
            f"{', '.join(found) or 'configurations that are no tables'}."
        )
    return expand(tables)


def expand(tables: Sequence[Mapping[str, Any]]) -> list[Configuration]:
    """Make the configurations that tables stand for; see `read_configurations`.

    Args:
        tables: The tables.

    Raises:
        InputError: There are none, an attribute is unknown or missing, or two are the same.
    """
    known = [one.name for one in fields(Configuration)]
    made: list[Configuration] = []
    for number, table in enumerate(tables, 1):
        where = f"Configuration {number}"
        for name in table:
            if name not in known:
                raise InputError(f"{where} has {name!r}, but there are: {', '.join(known)}.")
        if "model" not in table:
            raise InputError(f"{where} has no `model`. Name the embedding model.")
        values = [one if isinstance(one, list) else [one] for one in table.values()]
        made += [
            Configuration(**dict(zip(table, chosen, strict=True)))
            for chosen in itertools.product(*values)
        ]
    if not made:
        raise InputError("There are no configurations. Give at least one table with a `model`.")
    names = [one.described for one in made]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"Two configurations are called {name!r}. Give them other names.")
    return made
