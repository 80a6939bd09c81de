"""Retrieval quality on your own documents.

`measure` compares configurations on a collection. Its parts can be used alone: `read_collection`
reads documents, queries and judgements; `run_queries` has any searcher answer the queries, such as
a `HybridSearcher`, or an `ExactSearcher` in memory; `evaluate` computes metrics of the run, and
`Scores.compare` tells whether two runs differ by more than chance.
"""

from qwen3_rag_evaluation.collection import Collection, read_collection
from qwen3_rag_evaluation.configurations import Configuration, expand, read_configurations
from qwen3_rag_evaluation.exact import BM25Index, DenseIndex, ExactSearcher
from qwen3_rag_evaluation.measuring import Cost, Result, measure
from qwen3_rag_evaluation.metrics import DEFAULT_METRICS, Grades, Metric, by_score
from qwen3_rag_evaluation.running import Outcome, run_queries
from qwen3_rag_evaluation.runs import Run, read_qrels, read_run, write_qrels, write_run
from qwen3_rag_evaluation.scores import Scores, evaluate
from qwen3_rag_evaluation.significance import Comparison, Interval, compare, corrected, interval

__all__ = [
    "DEFAULT_METRICS",
    "BM25Index",
    "Collection",
    "Comparison",
    "Configuration",
    "Cost",
    "DenseIndex",
    "ExactSearcher",
    "Grades",
    "Interval",
    "Metric",
    "Outcome",
    "Result",
    "Run",
    "Scores",
    "by_score",
    "compare",
    "corrected",
    "evaluate",
    "expand",
    "interval",
    "measure",
    "read_collection",
    "read_configurations",
    "read_qrels",
    "read_run",
    "run_queries",
    "write_qrels",
    "write_run",
]
