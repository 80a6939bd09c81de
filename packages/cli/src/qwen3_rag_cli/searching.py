"""Searches an index as `search` and `ask` do, with the options that both have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qwen3_rag import Hit
from qwen3_rag.errors import InputError
from qwen3_rag.fusion import DEFAULT_CANDIDATES
from qwen3_rag_cli import console
from qwen3_rag_cli.filters import parse_filters
from qwen3_rag_cli.index import Depths, Index
from qwen3_rag_cli.models import Models, no_reranker
from qwen3_rag_cli.runtime import DEFAULT_RUNTIME, Runtime

__all__ = ["DEFAULT_RERANK", "Question", "find"]

DEFAULT_RERANK = 20


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to search an index for, with the values from the command line.

    Attributes:
        query: The query.
        limit: Number of hits.
        candidates: Number of hits to take from each retriever.
        rerank: Number of fused hits to rerank; `None` for the default, 0 for none.
        min_score: Minimum reranked score of a hit.
        filters: Conditions, as `FIELD=VALUE`.
        instruction: What the query is for; `None` for the models' own.
        model: The embedding model; `None` for the index's.
        reranker: The reranker; `None` for the index's.
        runtime: Where the models run.
        silent: Whether not to say that nothing is reranked.

    Raises:
        InputError: A number is out of range, or a minimum score is given and nothing reranked.
    """

    query: str
    limit: int
    candidates: int = DEFAULT_CANDIDATES
    rerank: int | None = None
    min_score: float | None = None
    filters: Sequence[str] = ()
    instruction: str | None = None
    model: str | None = None
    reranker: str | None = None
    runtime: Runtime = DEFAULT_RUNTIME
    silent: bool = False

    def __post_init__(self) -> None:
        if self.min_score is not None and self.rerank == 0:
            raise InputError("`--min-score` is a reranked score, and `--rerank 0` turns that off.")
        self.depths(reranks=True)

    def depths(self, *, reranks: bool) -> Depths:
        """Return how many hits each step passes on.

        Args:
            reranks: Whether there is a reranker.
        """
        rerank = DEFAULT_RERANK if self.rerank is None else self.rerank
        return Depths(self.limit, self.candidates, rerank if reranks else 0)


def find(index: Index, question: Question) -> list[Hit]:
    """Search an open index.

    Raises:
        InputError: A filter matches no file, the query is blank, or there is no reranker where
            one is needed.
        StoreError: The index is empty, was made with other models, or has no such tenant.
        ModelError: A checkpoint is missing or broken.
        BackendError: A model's server does not answer, or does not run this model.
    """
    models = index.models(question.model, question.reranker, question.runtime)
    reranks = _reranks(models, question)
    condition = None
    if question.filters:
        values = parse_filters(question.filters, index.manifest.paths, index.place.base)
        condition = index.collection.matching(values)
    with index.searcher(models, question.depths(reranks=reranks)) as searcher:
        hits = searcher.search(
            question.query,
            limit=question.limit,
            filter=condition,
            instruction=question.instruction,
            min_score=question.min_score,
            tenant=index.tenant,
        )
        if not hits:
            index.check_known()
    return hits


def _reranks(models: Models, question: Question) -> bool:
    """Whether hits are reranked: always, unless no reranker is known and none is asked for."""
    if models.reranking is not None or question.rerank == 0:
        return True
    if question.rerank or question.min_score is not None:
        raise InputError(no_reranker(models.embedding))
    console.note_to(silent=question.silent)(f"Not reranked. {no_reranker(models.embedding)}")
    return False
