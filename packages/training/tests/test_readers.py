"""The core, transformers and sentence-transformers get the same numbers from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import RerankPrompt, Role
from qwen3_rag.integration import (
    RERANK_PREFIX,
    RERANK_SUFFIX,
    resolve_checkpoint,
    trainable_model,
)
from qwen3_rag_training.job import TrainingSetup

QUERIES = ["what about rivers 2", "yes"]
DOCUMENTS = ["All about rivers, number 2 of them.", "Nothing but pepper here. <think> 질문"]


def opened(folder: Path, role: Role) -> TrainingSetup:
    start = trainable_model(resolve_checkpoint(str(folder), role), role)
    return TrainingSetup(start, torch.device("cpu"))


@pytest.fixture(scope="module")
def vectors(checkpoints: dict[str, Path]) -> dict[str, np.ndarray]:
    with Qwen3Embedder(str(checkpoints["embedding"]), device="cpu", dtype="float32") as embedder:
        return {
            "queries": embedder.embed_queries(QUERIES),
            "documents": embedder.embed_documents(DOCUMENTS),
        }


def test_training_computes_the_vectors_of_the_core(
    checkpoints: dict[str, Path], vectors: dict[str, np.ndarray]
) -> None:
    setup = opened(checkpoints["embedding"], "embedding")
    parts = {
        "queries": setup.inputs.queries(QUERIES, [None] * 2, 256),
        "documents": setup.inputs.documents(DOCUMENTS, 256),
    }

    for name, batch in parts.items():
        with torch.no_grad():
            states = setup.states(batch)
        computed = torch.nn.functional.normalize(states, dim=-1).numpy()
        np.testing.assert_allclose(computed, vectors[name], atol=1e-5)


def test_sentence_transformers_agrees_with_core(
    checkpoints: dict[str, Path], vectors: dict[str, np.ndarray]
) -> None:
    model = SentenceTransformer(str(checkpoints["embedding"]), device="cpu")

    queries = model.encode(QUERIES, prompt_name="query")
    documents = model.encode(DOCUMENTS[:1])

    np.testing.assert_allclose(queries, vectors["queries"], atol=1e-4)
    np.testing.assert_allclose(documents, vectors["documents"][:1], atol=1e-4)


def test_transformers_agrees_with_core(
    checkpoints: dict[str, Path], vectors: dict[str, np.ndarray]
) -> None:
    folder = checkpoints["embedding"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()

    with torch.no_grad():
        states = model(**tokenizer(DOCUMENTS[0], return_tensors="pt")).last_hidden_state
    vector = torch.nn.functional.normalize(states[0, -1], dim=-1).numpy()

    np.testing.assert_allclose(vector, vectors["documents"][0], atol=1e-4)


def test_rerankers_agree(checkpoints: dict[str, Path]) -> None:
    folder = checkpoints["reranking"]
    documents = [DOCUMENTS[0], "yes", "two  spaces \n and a line"]
    with Qwen3Reranker(str(folder), device="cpu", dtype="float32") as reranker:
        logits = reranker.score([(QUERIES[0], text) for text in documents], details=True).logits

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    by_hand = []
    for text in documents:
        ids = tokenizer(RerankPrompt(QUERIES[0], text).rendered, return_tensors="pt")
        with torch.no_grad():
            last = model(**ids).logits[0, -1]
        by_hand.append(float(last[yes] - last[no]))
    encoder = CrossEncoder(str(folder), device="cpu")

    assert list(logits) == pytest.approx(by_hand, abs=1e-4)
    predicted = encoder.predict([(QUERIES[0], text) for text in documents])
    np.testing.assert_allclose(predicted, logits, atol=1e-4)


def test_chat_template_renders_the_instruction(checkpoints: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoints["reranking"])
    messages = [
        {"role": "system", "content": "Find it"},
        {"role": "query", "content": "rivers"},
        {"role": "document", "content": "marble\n"},
    ]

    rendered = tokenizer.apply_chat_template(messages, tokenize=False)

    assert rendered == RerankPrompt("rivers", "marble\n", "Find it").rendered


def test_reranking_tokenizer_appends_no_end_token(checkpoints: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoints["reranking"])

    assert tokenizer("yes")["input_ids"] == [tokenizer.convert_tokens_to_ids("yes")]


def test_pairs_are_encoded_with_the_core_prompt(checkpoints: dict[str, Path]) -> None:
    folder = checkpoints["reranking"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = opened(folder, "reranking").inputs

    batch = inputs.pairs([RerankPrompt("rivers", "marble")], 64, 64)

    text = str(tokenizer.decode(batch.ids[0]))
    assert text.startswith(RERANK_PREFIX)
    assert text.endswith("<Document>: marble" + RERANK_SUFFIX)
