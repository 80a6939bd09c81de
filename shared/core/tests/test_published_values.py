"""The published values, on the real weights where they are at hand.

The bodies also run on small random checkpoints against the reference procedure, so that they are
known to work before anybody has the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.integration import PUBLISHED
from qwen3_rag_testkit.golden import golden
from qwen3_rag_testkit.reference import TASK, reference_logits, reference_vectors

EMBEDDING = "Qwen/Qwen3-Embedding-0.6B"
RERANKER = "Qwen/Qwen3-Reranker-0.6B"


def real_folder(name: str) -> str:
    """Find the real weights in the Hub's cache, or skip; they are never downloaded by a test."""
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(name, revision=PUBLISHED[name].revision, local_files_only=True)
    except Exception:
        pytest.skip(f"weights: {name} is not in the Hugging Face cache; open it once to fetch it")


def cosines(
    folder: str, queries: list[str], documents: list[str], task: str, **options: Any
) -> Any:
    with Qwen3Embedder(folder, instruction=task, **options) as embedder:
        return embedder.embed_queries(queries) @ embedder.embed_documents(documents).T


def logits(folder: str, query: str, documents: list[str], **options: Any) -> Any:
    with Qwen3Reranker(folder, **options) as reranker:
        return reranker.score([(query, text) for text in documents], details=True).logits


# (entry of golden.json, its scores, absolute tolerance, number format)
EMBEDDING_VALUES = [
    ("model_card_0.6b", "scores_transformers", 1e-4, "float32"),
    ("model_card_0.6b", "scores_vllm", 5e-3, "bfloat16"),
    ("issue_180_0.6b_vllm", "scores", 5e-3, "float32"),
    ("st_planets_embedding_0.6b_bf16", "similarities", 7e-3, "bfloat16"),
]


@pytest.mark.weights
@pytest.mark.parametrize(("entry", "field", "tolerance", "dtype"), EMBEDDING_VALUES)
def test_published_similarities(entry: str, field: str, tolerance: float, dtype: Any) -> None:
    values = golden(entry)
    queries = values.get("queries") or [values["query"]]
    task = values.get("task", TASK)

    found = cosines(real_folder(EMBEDDING), queries, values["documents"], task, dtype=dtype)

    np.testing.assert_allclose(found, np.atleast_2d(values[field]), atol=tolerance)


@pytest.mark.weights
def test_published_logits() -> None:
    values = golden("st_planets_reranker_0.6b_fp32")

    found = logits(real_folder(RERANKER), values["query"], values["documents"], dtype="float32")

    np.testing.assert_allclose(found, values["scores"], atol=1e-3)


@pytest.mark.weights
def test_published_vectors() -> None:
    values = golden("fastembed_0.6b")
    tei = golden("tei_0.6b_fp32")
    with Qwen3Embedder(real_folder(EMBEDDING), dtype="float32") as embedder:
        documents = embedder.embed_documents([values["text"], tei["text"]])
        queries = embedder.embed_queries([values["text"]])

    np.testing.assert_allclose(documents[0, :5], values["document"], atol=1e-3)
    np.testing.assert_allclose(queries[0, :5], values["query"], atol=1e-3)
    expected = np.asarray(tei["vector"])
    assert documents[1] @ expected / np.linalg.norm(expected) > 0.999


@pytest.mark.weights
def test_tutorial_pipeline_on_the_milvus_faq() -> None:
    values = golden("milvus_blog_0.6b")
    source = Path(__file__).resolve().parents[4] / "shared" / "corpora" / "milvus_faq" / "source"
    embedding, reranking = real_folder(EMBEDDING), real_folder(RERANKER)
    if not source.is_dir():
        pytest.skip("weights: the Milvus FAQ is not beside the repository")

    dense, reranked = tutorial(embedding, reranking, source, values["question"])

    for found, published in ((dense, "dense_top3_IP"), (reranked, "reranked_top3")):
        for (text, score), (heading, expected) in zip(found, values[published], strict=True):
            assert heading in text
            assert score == pytest.approx(expected, abs=5e-3)


def tutorial(
    embedding: str, reranking: str, source: Path, question: str, **options: Any
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """The two-stage pipeline of the Milvus tutorial: top 3 of each stage."""
    chunks = [
        chunk
        for file in sorted(source.glob("*.md"))
        for chunk in file.read_text(encoding="utf-8").split("# ")
    ]
    with (
        Qwen3Embedder(embedding, **options) as embedder,
        Qwen3Reranker(reranking, **options) as reranker,
    ):
        similarities = (embedder.embed_queries([question]) @ embedder.embed_documents(chunks).T)[0]
        order = np.argsort(-similarities)[:10]
        ranked = reranker.rank(question, [chunks[i] for i in order], top_k=3)
    dense = [(chunks[i], float(similarities[i])) for i in order[:3]]
    return dense, [(hit.document, hit.score) for hit in ranked]


# ------------------------------------------------------------------ the same bodies, here


@pytest.mark.parametrize("entry", [entry for entry, *_ in EMBEDDING_VALUES])
def test_similarities_body_against_the_reference(embedding_folder: Path, entry: str) -> None:
    values = golden(entry)
    queries = values.get("queries") or [values["query"]]
    task = values.get("task", TASK)

    found = cosines(str(embedding_folder), queries, values["documents"], task, dtype="float32")

    expected = (
        reference_vectors(embedding_folder, queries, task=task)
        @ reference_vectors(embedding_folder, values["documents"]).T
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_logits_body_against_the_reference(reranking_folder: Path) -> None:
    values = golden("st_planets_reranker_0.6b_fp32")
    documents = values["documents"]

    found = logits(str(reranking_folder), values["query"], documents, dtype="float32")

    pairs = [(values["query"], text) for text in documents]
    np.testing.assert_allclose(found, reference_logits(reranking_folder, pairs), atol=1e-4)


def test_tutorial_body(embedding_folder: Path, reranking_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "faq.md").write_text("# Where is data?\nIn files.\n# What is a log?\nA list.\n" * 4)
    dense, reranked = tutorial(
        str(embedding_folder), str(reranking_folder), tmp_path, "Where is data?", dtype="float32"
    )

    assert len(dense) == len(reranked) == 3
    assert dense == sorted(dense, key=lambda hit: -hit[1])
