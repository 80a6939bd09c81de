"""DashScope (Alibaba Cloud Model Studio) by its own protocol, which makes the prompts itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag._prompts import EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, log_odds, read_indexed, read_scores
from qwen3_rag.backends._remote.apis.vendor import Vendor
from qwen3_rag.backends._remote.items import neutral
from qwen3_rag.errors import BackendError, InputError

__all__ = ["DashScope"]

SERVICES = "/api/v1/services"
EMBEDDINGS = f"{SERVICES}/embeddings/text-embedding/text-embedding"
RERANK = f"{SERVICES}/rerank/text-rerank/text-rerank"

#: Models whose vectors are shorter than they could be, unless their full size is asked for.
FULL_SIZES = {"text-embedding-v4": 2_048}


class DashScope(Vendor):
    """The vendor's models, which are not those that were published."""

    name = "dashscope"
    tokenizer = "none"
    makes_prompts = True
    may_ignore = True

    async def connect(self) -> None:
        """Set the documented limits."""
        if self.role == "embedding":
            self.rows, self.tokens, self.whole = 10, 8_192, 8_192
            if self.model.startswith("qwen3.7"):
                self.tokens = 4_096  # larger requests were seen to get no answer
        else:
            self.rows, self.tokens, self.whole = 100, 30_000, 4_000

    async def embed(
        self, prompts: Sequence[Prompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        first = prompts[0]
        assert isinstance(first, EmbedPrompt)
        if any(isinstance(one, EmbedPrompt) and one.prefix is not None for one in prompts):
            raise InputError(
                f"{self.http.address} ({self.name}) makes the prompts itself. Leave "
                "`query_template` and `document_prefix` out; `instruction` can be given."
            )
        asked: dict[str, Any] = {"text_type": "document"}
        if first.instruction is not None:
            asked = {"text_type": "query"}
            if self.instructions:
                asked["instruct"] = neutral(first.instruction)
        if self.model in FULL_SIZES:
            asked["dimension"] = FULL_SIZES[self.model]
        texts = [neutral(one.body) for one in prompts]
        body = {"model": self.model, "input": {"texts": texts}, "parameters": asked}
        answer = await self.post(
            EMBEDDINGS, body, lambda it: _read_vectors(it, len(texts)), len(texts)
        )
        size = answer.values.shape[1]
        if size < asked.get("dimension", size):
            raise BackendError(
                f"{self.http.address} ({self.name}) was asked for vectors of {asked['dimension']} "
                f"numbers, and answered with {size}. It does not run {self.model!r} as documented."
            )
        return answer

    async def rerank(
        self, prompts: Sequence[RerankPrompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        first = prompts[0]
        documents = [neutral(prompt.document) for prompt in prompts]
        asked: dict[str, Any] = {"return_documents": False}
        if self.instructions:
            asked["instruct"] = neutral(first.instruction)
        body = {
            "model": self.model,
            "input": {"query": neutral(first.query), "documents": documents},
            "parameters": asked,
        }
        return await self.post(
            RERANK, body, lambda it: _read_scores(it, len(documents)), len(documents)
        )


def _read_vectors(answer: Any, count: int) -> Answer:
    return Answer(read_indexed(_output(answer)["embeddings"], count, "text_index"))


def _read_scores(answer: Any, count: int) -> Answer:
    return Answer(log_odds(read_scores(_output(answer)["results"], count, "relevance_score")))


def _output(answer: Any) -> Any:
    """Return what was computed.

    Raises:
        BackendError: The answer, whose HTTP status is that of success, is an error.
    """
    if answer.get("code") and not answer.get("output"):
        raise BackendError(f"DashScope answers with {answer['code']}: {answer.get('message')}")
    return answer["output"]
