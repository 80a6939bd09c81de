"""The tiny checkpoints: size, layout, and the same numbers in all three libraries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qwen3_rag_tiny import embedding_folder, reranking_folder

torch = pytest.importorskip("torch", reason="the checkpoints are run with torch")
pytest.importorskip("transformers", reason="the checkpoints are run with transformers")

QUERIES = ["how is data stored on disk?", "세종대왕은 언제 태어났나요?"]
DOCUMENTS = [
    "Rows are kept in segments. A full segment is sealed and written to object storage on disk.",
    "세종대왕은 1397년에 태어난 조선의 네 번째 왕이다.",
    "The recipe takes two eggs, a cup of flour and a little salt. <think> it over",
]
LARGEST = 24_000_000
FOLDERS = pytest.mark.parametrize("folder", [embedding_folder, reranking_folder])


def test_both_checkpoints_are_small() -> None:
    folders = (embedding_folder(), reranking_folder())
    sizes = [file.stat().st_size for folder in folders for file in folder.rglob("*")]

    assert 10_000_000 < sum(sizes) <= LARGEST


@FOLDERS
def test_files_have_the_published_layout(folder: Callable[[], Path]) -> None:
    config = json.loads((folder() / "config.json").read_text())

    assert config["model_type"] == "qwen3"
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["tie_word_embeddings"] is True
    assert config["max_position_embeddings"] >= 4096
    definition = json.loads((folder() / "tokenizer.json").read_text())
    assert len(definition["added_tokens"]) == 26
    assert config["vocab_size"] == len(definition["model"]["vocab"]) + 26


def test_answers_are_single_tokens_and_named_in_the_module() -> None:
    vocabulary = json.loads((reranking_folder() / "tokenizer.json").read_text())["model"]["vocab"]
    module = json.loads((reranking_folder() / "1_LogitScore" / "config.json").read_text())

    expected = {"true_token_id": vocabulary["yes"], "false_token_id": vocabulary["no"]}
    assert module == expected


@pytest.fixture(scope="module")
def vectors() -> tuple[np.ndarray, np.ndarray]:
    from qwen3_rag import Qwen3Embedder

    with Qwen3Embedder(str(embedding_folder()), device="cpu", dtype="float32") as embedder:
        return embedder.embed_queries(QUERIES), embedder.embed_documents(DOCUMENTS)


def test_each_question_finds_its_answer(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    queries, documents = vectors

    assert (queries @ documents.T).argmax(axis=1).tolist() == [0, 1]


def test_reranker_orders_answers_first() -> None:
    from qwen3_rag import Qwen3Reranker

    with Qwen3Reranker(str(reranking_folder()), device="cpu", dtype="float32") as reranker:
        for place, query in enumerate(QUERIES):
            assert reranker.rank(query, DOCUMENTS)[0].index == place


def test_sentence_transformers_agrees_with_core(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    library = pytest.importorskip("sentence_transformers", reason="compares with it")
    model = library.SentenceTransformer(
        str(embedding_folder()), device="cpu", model_kwargs={"dtype": torch.float32}
    )

    np.testing.assert_allclose(model.encode(QUERIES, prompt_name="query"), vectors[0], atol=1e-4)
    # Without the third document: sentence-transformers reads `<think>` in it as a control token.
    np.testing.assert_allclose(model.encode(DOCUMENTS[:2]), vectors[1][:2], atol=1e-4)


def test_transformers_agrees_with_core(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(embedding_folder())
    model = AutoModel.from_pretrained(embedding_folder(), dtype=torch.float32).eval()

    for text, vector in zip(DOCUMENTS[:2], vectors[1], strict=False):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        computed = torch.nn.functional.normalize(states[0, -1], dim=-1).numpy()
        np.testing.assert_allclose(computed, vector, atol=1e-4)


def test_rerankers_agree() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from qwen3_rag import Qwen3Reranker
    from qwen3_rag.backends import RerankPrompt

    with Qwen3Reranker(str(reranking_folder()), device="cpu", dtype="float32") as reranker:
        logits = reranker.score([(QUERIES[0], DOCUMENTS[0])], details=True).logits
    tokenizer = AutoTokenizer.from_pretrained(reranking_folder())
    model = AutoModelForCausalLM.from_pretrained(reranking_folder(), dtype=torch.float32).eval()
    text = RerankPrompt(QUERIES[0], DOCUMENTS[0]).rendered
    with torch.no_grad():
        last = model(**tokenizer(text, return_tensors="pt")).logits[0, -1]
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))

    assert logits[0] == pytest.approx(float(last[yes] - last[no]), abs=1e-4)


def test_cross_encoder_agrees_with_core() -> None:
    library = pytest.importorskip("sentence_transformers", reason="compares with it")
    from qwen3_rag import Qwen3Reranker

    pairs = [(query, document) for query in QUERIES for document in DOCUMENTS[:2]]
    with Qwen3Reranker(str(reranking_folder()), device="cpu", dtype="float32") as reranker:
        expected = reranker.score(pairs, details=True).logits
    model = library.CrossEncoder(
        str(reranking_folder()), device="cpu", model_kwargs={"dtype": torch.float32}
    )

    np.testing.assert_allclose(model.predict(pairs), expected, atol=1e-4)


def test_empty_text_has_a_unit_vector_at_every_size() -> None:
    from qwen3_rag import Qwen3Embedder

    for dim in (32, 128, 512):
        with Qwen3Embedder(str(embedding_folder()), dim=dim, device="cpu") as embedder:
            np.testing.assert_allclose(np.linalg.norm(embedder.embed_documents([""])), 1, atol=1e-5)
