"""A checkpoint small enough to train inside a test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import Qwen3Config, Qwen3ForCausalLM

from qwen3_rag.backends import Role
from qwen3_rag_testkit.tokenizer import write_tokenizer
from qwen3_rag_training.checkpoints import save_model
from qwen3_rag_training.data import Example, write_examples

TOPICS = ("apples", "rivers", "engines", "violins", "glaciers", "lanterns", "pepper", "marble")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """For models this small, threads cost more than they gain."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    return [
        Example(
            f"what about {topic} {number}",
            f"All about {topic}, number {number} of them.",
            (f"Nothing but {TOPICS[(index + 3) % len(TOPICS)]} here.",),
        )
        for number in range(4)
        for index, topic in enumerate(TOPICS)
    ]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, examples: list[Example]) -> Path:
    file = tmp_path_factory.mktemp("data") / "training.jsonl"
    write_examples(examples, file)
    return file


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained embedding and reranking checkpoints of the published layout."""
    folders: dict[str, Path] = {}
    roles: tuple[Role, ...] = ("embedding", "reranking")
    for role in roles:
        torch.manual_seed(1)
        folder = tmp_path_factory.mktemp(role)
        size = write_tokenizer(folder, role)
        config = Qwen3Config(
            vocab_size=size,
            hidden_size=32,
            num_hidden_layers=2,
            intermediate_size=48,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=512,
            tie_word_embeddings=True,
        )
        tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        answers = tokens.encode("no").ids[0], tokens.encode("yes").ids[0]
        save_model(Qwen3ForCausalLM(config), folder, role, answers)
        folders[role] = folder
    return folders
