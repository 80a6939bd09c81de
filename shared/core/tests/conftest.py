"""Checkpoints, tokenizers and questions that the core's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Role
from qwen3_rag.integration import PUBLISHED

if TYPE_CHECKING:
    from qwen3_rag.chat import Chat, Completion, CompletionStream

MakeCheckpoint = Callable[..., Path]

REAL = {"embedding": "Qwen/Qwen3-Embedding-0.6B", "reranking": "Qwen/Qwen3-Reranker-0.6B"}


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Write a checkpoint once per session and set of arguments."""
    from qwen3_rag_testkit.checkpoints import write_checkpoint

    made: dict[str, Path] = {}

    def make(role: Role, **settings: Any) -> Path:
        key = f"{role} {settings!r}"
        if key not in made:
            made[key] = write_checkpoint(tmp_path_factory.mktemp(role), role, **settings)
        return made[key]

    return make


@pytest.fixture(scope="session")
def embedding_folder(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint("embedding")


@pytest.fixture(scope="session")
def reranking_folder(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint("reranking")


@pytest.fixture
def embedder(embedding_folder: Path) -> Iterator[Qwen3Embedder]:
    with Qwen3Embedder(str(embedding_folder), dtype="float32", device="cpu") as embedder:
        yield embedder


@pytest.fixture
def reranker(reranking_folder: Path) -> Iterator[Qwen3Reranker]:
    with Qwen3Reranker(str(reranking_folder), dtype="float32", device="cpu") as reranker:
        yield reranker


@pytest.fixture(scope="session")
def real_tokenizer(online: bool) -> Callable[[Role], Path]:
    """Find the published tokenizer files: beside the repository, else in or from the Hub."""

    @cache
    def look(role: Role) -> Path | str:
        name = REAL[role].removeprefix("Qwen/").lower()
        beside = Path(__file__).resolve().parents[4] / "shared" / "fixtures" / name
        if (beside / "tokenizer.json").is_file():
            return beside
        from huggingface_hub import snapshot_download

        try:
            return Path(
                snapshot_download(
                    REAL[role],
                    revision=PUBLISHED[REAL[role]].revision,
                    allow_patterns=["tokenizer*.json"],
                    local_files_only=not online,
                )
            )
        except Exception as error:
            return f"the published tokenizer of {REAL[role]} is not at hand: {error!r:.100}"

    def find(role: Role) -> Path:
        found = look(role)
        if isinstance(found, str):
            pytest.skip(found)
        return found

    return find


@pytest.fixture(params=["complete", "acomplete", "stream", "astream"])
def ask(request: pytest.FixtureRequest) -> Callable[[Chat], Completion]:
    """Ask a chat model a question of two lines, in each of the four ways."""
    way: str = request.param
    messages = [{"role": "user", "content": "How high is\nMont Blanc?"}]

    def ask(chat: Chat) -> Completion:
        if way == "complete":
            return chat.complete(messages)
        if way == "acomplete":
            return asyncio.run(chat.acomplete(messages))
        parts = chat.stream(messages)
        text = "".join(parts) if way == "stream" else asyncio.run(joined(parts))
        assert text == parts.completion.text
        return parts.completion

    async def joined(parts: CompletionStream) -> str:
        return "".join([part async for part in parts])

    return ask
