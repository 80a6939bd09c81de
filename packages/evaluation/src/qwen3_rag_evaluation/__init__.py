"""Retrieval quality on your own documents.

`read_collection` reads documents, queries and judgements, `evaluate` computes the metrics of a run,
and `Scores.compare` tells whether two runs differ by more than chance.
"""

from qwen3_rag_evaluation.collection import Collection, read_collection
from qwen3_rag_evaluation.metrics import DEFAULT_METRICS, Grades, Metric, by_score
from qwen3_rag_evaluation.runs import Run, read_qrels, read_run, write_qrels, write_run
from qwen3_rag_evaluation.scores import Scores, evaluate
from qwen3_rag_evaluation.significance import Comparison, Interval, compare, corrected, interval

__all__ = [
    "DEFAULT_METRICS",
    "Collection",
    "Comparison",
    "Grades",
    "Interval",
    "Metric",
    "Run",
    "Scores",
    "by_score",
    "compare",
    "corrected",
    "evaluate",
    "interval",
    "read_collection",
    "read_qrels",
    "read_run",
    "write_qrels",
    "write_run",
]
