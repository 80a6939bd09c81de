"""The tokenizer's structure, and initial weights that retrieve before training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import Qwen3Config

from qwen3_rag import DEFAULT_INSTRUCTION
from qwen3_rag.backends import EmbedPrompt, RerankPrompt, Role
from qwen3_rag.errors import ModelError
from qwen3_rag.integration import resolve_checkpoint, trainable_model
from qwen3_rag_testkit.tokenizer import ADDED_TOKENS
from qwen3_rag_training.checkpoints import save_model
from qwen3_rag_training.data import Example
from qwen3_rag_training.job import TrainingSetup
from tools.train_tiny.bag_training import Bags, train_bags
from tools.train_tiny.matcher import reranker_start
from tools.train_tiny.start import count_matrix, embedder_start, token_vectors
from tools.train_tiny.tokenizer import (
    answer_tokens,
    save_tokenizer,
    train_tokenizer,
)

WORDS = "red fox blue whale green frog jumps swims sings marble violin lantern pepper glacier"
QUERY = "blue whale"
ANSWER = "in winter the blue whale swims past a glacier"
OTHERS = ["the red fox jumps over marble", "a green frog sings to a violin and pepper"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([f" {WORDS} in winter past over high to the a and"] * 50, 2_000)


@pytest.fixture(scope="module")
def idf(tokenizer: Tokenizer) -> np.ndarray:
    found = np.full(tokenizer.get_vocab_size(), 4.0, np.float32)
    prompt = EmbedPrompt("", DEFAULT_INSTRUCTION).rendered
    for text in (" the a in to over and", prompt):
        found[tokenizer.encode(text).ids] = 0.3
    return found


@pytest.fixture(scope="module")
def vectors(tokenizer: Tokenizer, idf: np.ndarray) -> np.ndarray:
    counts = count_matrix(tokenizer, [ANSWER, *OTHERS] * 20)
    teacher = np.zeros((len(idf), 12), np.float32)
    teacher[300:420] = np.random.default_rng(0).standard_normal((120, 12))
    return token_vectors(counts, idf, teacher, 126, 32, 0)


def config(size: int, layers: int, heads: int, head: int) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=size + len(ADDED_TOKENS),
        hidden_size=128,
        num_hidden_layers=layers,
        intermediate_size=32,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=head,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )


def opened(folder: Path, role: Role) -> TrainingSetup:
    start = trainable_model(resolve_checkpoint(str(folder), role), role)
    return TrainingSetup(start, torch.device("cpu"))


def test_token_vectors_have_unit_length_and_differ(vectors: np.ndarray) -> None:
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    similarities = vectors @ vectors.T - 2 * np.eye(len(vectors))

    assert similarities.max() < 0.95


def test_untrained_embedder_matches_words(
    tmp_path: Path, tokenizer: Tokenizer, vectors: np.ndarray, idf: np.ndarray
) -> None:
    torch.manual_seed(0)
    model = embedder_start(config(len(idf), 2, 4, 32), vectors, idf).eval()
    save_tokenizer(tokenizer, tmp_path, "embedding", 4096)
    save_model(model, tmp_path, "embedding", (0, 0))
    setup = opened(tmp_path, "embedding")

    parts = [setup.inputs.queries([QUERY], [None], 200)]
    parts.append(setup.inputs.documents([ANSWER, *OTHERS], 200))
    with torch.no_grad():
        query, documents = (setup.states(one) for one in parts)
    similarities = torch.nn.functional.cosine_similarity(query, documents)

    assert float(similarities[0]) > float(similarities[1:].max()) + 0.05


def test_embedder_computes_the_weighted_mean_of_token_vectors(
    tokenizer: Tokenizer, vectors: np.ndarray, idf: np.ndarray
) -> None:
    torch.manual_seed(0)
    model = embedder_start(config(len(idf), 2, 4, 32), vectors, idf).eval()
    ids = torch.tensor(tokenizer.encode(f"{ANSWER} {' '.join(OTHERS * 8)}").ids)
    weights = torch.from_numpy(idf)[ids]

    mean = (weights[:, None] * torch.from_numpy(vectors)[ids]).sum(0)
    closed = torch.cat([ids, torch.tensor([len(vectors)])])[None]
    with torch.no_grad():
        found = model.model(closed).last_hidden_state[0, -1, :126]

    assert float(torch.nn.functional.cosine_similarity(found, mean, dim=0)) > 0.999


def test_bag_training_brings_queries_closer_to_their_documents(
    tokenizer: Tokenizer, vectors: np.ndarray, idf: np.ndarray
) -> None:
    examples = [
        Example("red fox", "over high marble"),
        Example("green frog", "sings to a violin"),
        Example("blue whale", "past winter pepper", ("jumps glacier",)),
    ] * 200
    texts = [EmbedPrompt(one.query, DEFAULT_INSTRUCTION).rendered for one in examples[:3]]
    texts += [one.positive for one in examples[:3]]
    losses: list[float] = []

    trained, weights = train_bags(
        examples,
        tokenizer,
        vectors,
        idf,
        steps=60,
        dims=(126, 32),
        rate=3e-3,
        seed=0,
        report=lambda step, loss: losses.append(loss),
    )

    np.testing.assert_allclose(np.linalg.norm(trained, axis=1), 1, rtol=1e-5)
    assert weights.min() > 0
    found = Bags(tokenizer, texts).vectors(
        torch.arange(6), torch.from_numpy(trained), torch.from_numpy(np.log(weights))
    )
    for size in (126, 32):
        unit = torch.nn.functional.normalize(found[:, :size], dim=-1)
        assert (unit[:3] @ unit[3:].T).argmax(dim=1).tolist() == [0, 1, 2]
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("filler", [0, 100])
def test_untrained_reranker_matches_words(
    filler: int, tmp_path: Path, tokenizer: Tokenizer, vectors: np.ndarray, idf: np.ndarray
) -> None:
    model = reranker_start(config(len(idf), 3, 3, 128), tokenizer, vectors, idf, 0).eval()
    save_tokenizer(tokenizer, tmp_path, "reranking", 4096)
    save_model(model, tmp_path, "reranking", answer_tokens(tokenizer))
    setup = opened(tmp_path, "reranking")

    long = " the lantern" * filler
    prompts = [RerankPrompt(QUERY, text + long) for text in (ANSWER, *OTHERS)]
    with torch.no_grad():
        logits = setup.logits(setup.inputs.pairs(prompts, 64, 1000))
    scores = logits[:, 1] - logits[:, 0]

    assert float(scores[0]) > float(scores[1:].max()) + 0.5


@pytest.mark.parametrize("role", ["embedding", "reranking"])
def test_tokenizer_has_the_published_structure(
    role: Role, tmp_path: Path, tokenizer: Tokenizer, shared_data: Path
) -> None:
    save_tokenizer(tokenizer, tmp_path, role, 4096)
    written = json.loads((tmp_path / "tokenizer.json").read_text())
    name = "reranker" if role == "reranking" else "embedding"
    folder = shared_data / "fixtures" / f"qwen3-{name}-0.6b"
    published = json.loads((folder / "tokenizer.json").read_text())

    shift = published["added_tokens"][0]["id"] - written["added_tokens"][0]["id"]
    assert written["added_tokens"][0]["id"] == len(written["model"]["vocab"])
    for token in written["added_tokens"]:
        token["id"] += shift
    if role == "embedding":
        special = written["post_processor"]["processors"][1]["special_tokens"]["<|endoftext|>"]
        special["ids"] = [special["ids"][0] + shift]
    for definition in (written, published):
        for name in ("vocab", "merges"):
            del definition["model"][name]
    assert written == published


def test_answers_are_single_tokens(tokenizer: Tokenizer) -> None:
    assert [tokenizer.decode([token]) for token in answer_tokens(tokenizer)] == ["no", "yes"]


def test_tokenizer_that_splits_the_answers_is_an_error() -> None:
    with pytest.raises(ModelError, match="single token"):
        answer_tokens(train_tokenizer_without_merges())


def train_tokenizer_without_merges() -> Tokenizer:
    from tokenizers import models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return Tokenizer(models.BPE({letter: place for place, letter in enumerate(alphabet)}, []))
