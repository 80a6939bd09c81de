"""The published training recipe of Qwen3-Embedding and Qwen3-Reranker.

Losses, hard negatives, resumable fine-tuning of all weights or of an adapter (LoRA), evaluation and
SLERP merging. Every job writes a folder that loads in `qwen3_rag`, transformers and
sentence-transformers.
"""

from __future__ import annotations

from qwen3_rag_training.data import Example, read_examples, write_examples
from qwen3_rag_training.embedder import EmbeddingTraining, train_embedder
from qwen3_rag_training.evaluation import evaluate
from qwen3_rag_training.loop import Schedule, TrainedRun
from qwen3_rag_training.lora import LoRA
from qwen3_rag_training.losses import embedding_loss, reranking_loss
from qwen3_rag_training.merging import MergeReport, Merging, merge, slerp
from qwen3_rag_training.mining import mine_negatives
from qwen3_rag_training.reranker import RerankingTraining, train_reranker

__all__ = [
    "EmbeddingTraining",
    "Example",
    "LoRA",
    "MergeReport",
    "Merging",
    "RerankingTraining",
    "Schedule",
    "TrainedRun",
    "embedding_loss",
    "evaluate",
    "merge",
    "mine_negatives",
    "read_examples",
    "reranking_loss",
    "slerp",
    "train_embedder",
    "train_reranker",
    "write_examples",
]
