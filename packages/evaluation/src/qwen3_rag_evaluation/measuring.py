"""`measure`: the quality and the cost of each configuration on a collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.integration import FloatArray, Progress
from qwen3_rag.search import SearchPipeline
from qwen3_rag_evaluation.collection import Collection
from qwen3_rag_evaluation.configurations import Configuration
from qwen3_rag_evaluation.exact import BM25Index, DenseIndex, ExactSearcher
from qwen3_rag_evaluation.metrics import DEFAULT_METRICS, Metric
from qwen3_rag_evaluation.running import Outcome, run_queries
from qwen3_rag_evaluation.scores import Scores, evaluate

__all__ = ["Cost", "Result", "measure"]

#: Queries whose time is measured; the median of these few hardly moves with more.
TIMED = 20


@dataclass(frozen=True)
class Cost:
    """What a configuration costs.

    Attributes:
        seconds: The median over some queries of each step's seconds, without a cache.
        index_bytes: What the vectors take.
        tokens: Tokens of the embedded documents; `None` if they are not counted, or came from a
            server that does not say.
        cut: Number of documents that were too long and were cut.
    """

    seconds: Mapping[str, float]
    index_bytes: int
    tokens: int | None
    cut: int


@dataclass(frozen=True)
class Result:
    """What was measured of a configuration.

    Attributes:
        configuration: The configuration.
        outcome: What it found.
        scores: The metrics, query by query.
        cost: What it costs.
    """

    configuration: Configuration
    outcome: Outcome = field(repr=False)
    scores: Scores = field(repr=False)
    cost: Cost


def measure(
    collection: Collection,
    configurations: Sequence[Configuration],
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    limit: int = 100,
    cache: str | Path | None = None,
    progress: Progress = False,
    on_result: Callable[[Result], object] = lambda result: None,
) -> list[Result]:
    """Measure configurations on a collection, with an exact search in memory.

    Documents are embedded once for each model, whatever the sizes and steps.

    Args:
        collection: Documents, queries and judgements.
        configurations: What to compare.
        metrics: Names such as `"ndcg@10"`.
        limit: Number of hits per query.
        cache: A file that keeps what the models computed for the next time; see `Qwen3Embedder`.
            The times of queries are measured without it.
        progress: `True` for bars on a terminal.
        on_result: Called with each result when it is there.

    Raises:
        InputError: An option is invalid.
        ModelError: A checkpoint is missing or broken.
        BackendError: A model could not be run.
    """
    for name in metrics:
        Metric.parse(name)  # before anything is computed
    with ExitStack() as stack:
        prepared = _Prepared(collection, cache, progress, stack)
        results = []
        for one in configurations:
            results.append(_measured(one, prepared, metrics, limit))
            on_result(results[-1])
    return results


@dataclass(frozen=True)
class _Embedded:
    """All documents, embedded by one model."""

    vectors: FloatArray
    tokens: int | None
    cut: int


class _Prepared:
    """What configurations of one collection share."""

    def __init__(
        self,
        collection: Collection,
        cache: str | Path | None,
        progress: Progress,
        stack: ExitStack,
    ) -> None:
        self.collection = collection
        self.progress = progress
        if cache is None:
            # Two sizes of a model are cut from the same numbers, which the cache has.
            cache = Path(stack.enter_context(TemporaryDirectory())) / "cache.sqlite"
        self._cache = cache
        self._stack = stack
        self._models: dict[Any, Any] = {}
        self._documents: dict[Qwen3Embedder, _Embedded] = {}
        self._bm25: BM25Index | None = None

    def embedder(self, one: Configuration, *, cached: bool) -> Qwen3Embedder:
        """Return the embedding model; all of one source share their weights."""
        options = {**one.model_options, "dim": one.dim}
        made: Qwen3Embedder = self._model(Qwen3Embedder, one.model, options, cached)
        return made

    def reranker(self, one: Configuration, *, cached: bool) -> Qwen3Reranker | None:
        """Return the reranker, if the configuration has one."""
        if one.reranker is None:
            return None
        made: Qwen3Reranker = self._model(
            Qwen3Reranker, one.reranker, dict(one.reranker_options), cached
        )
        return made

    def documents(self, one: Configuration) -> _Embedded:
        """Embed the documents, or return what was embedded."""
        embedder = self.embedder(one, cached=True)
        if embedder not in self._documents:
            made = embedder.embed_documents(
                [*self.collection.documents.values()], progress=self.progress, details=True
            )
            tokens = None if made.tokens is None else sum(made.tokens)
            cut = sum(place is not None for place in made.cut_at)
            self._documents[embedder] = _Embedded(made.vectors, tokens, cut)
        return self._documents[embedder]

    def bm25(self) -> BM25Index:
        """Return the index of the documents' terms."""
        if self._bm25 is None:
            self._bm25 = BM25Index(self.collection.documents)
        return self._bm25

    def _model(self, kind: Any, source: str, options: Mapping[str, Any], cached: bool) -> Any:
        cache = self._cache if cached else None
        key = (kind, source, repr(sorted(options.items())), cache)
        if key not in self._models:
            self._models[key] = self._stack.enter_context(kind(source, cache=cache, **options))
        return self._models[key]


def _measured(
    one: Configuration, prepared: _Prepared, metrics: Sequence[str], limit: int
) -> Result:
    collection = prepared.collection
    dense: DenseIndex | None = None
    tokens, cut, size = None, 0, 0
    if one.retrieval != "bm25":
        embedded = prepared.documents(one)
        dense = DenseIndex(embedded.vectors)
        tokens, cut, size = embedded.tokens, embedded.cut, embedded.vectors.nbytes
    bm25 = None if one.retrieval == "dense" else prepared.bm25()

    def searcher(*, cached: bool, on_step: Callable[[str, float], None] | None) -> ExactSearcher:
        pipeline = SearchPipeline(
            embedder=prepared.embedder(one, cached=cached),
            reranker=prepared.reranker(one, cached=cached),
            candidates=max(one.candidates, limit),
            rerank_depth=one.rerank_depth,
            fusion=one.fusion,
            weights=one.weights,
            on_step=on_step,
        )
        return ExactSearcher(pipeline, collection.documents, dense=dense, bm25=bm25)

    ask = partial(run_queries, limit=limit, instruction=one.instruction)
    outcome = ask(
        searcher(cached=True, on_step=None), collection.queries, progress=prepared.progress
    )
    steps: dict[str, list[float]] = {}

    def on_step(name: str, seconds: float) -> None:
        steps.setdefault(name, []).append(seconds)

    few = dict(list(collection.queries.items())[: TIMED + 1])
    ask(searcher(cached=False, on_step=on_step), few)
    if one.retrieval == "bm25":
        steps.pop("embed")  # which a search by BM25 does not need
    seconds = {name: float(np.median(took[1:] or took)) for name, took in steps.items()}
    judged = {query: collection.qrels[query] for query in collection.queries}
    scores = evaluate(outcome.run, judged, metrics)
    return Result(one, outcome, scores, Cost(seconds, size, tokens, cut))
