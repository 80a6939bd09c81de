"""Reranking as the APIs of Cohere and Jina have it, for any server that speaks no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag._prompts import DEFAULT_INSTRUCTION, RerankPrompt
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, Api, log_odds, read_scores
from qwen3_rag.backends._remote.items import neutral

__all__ = ["Cohere"]


class Cohere(Api):
    """`/v1/rerank` with a query and documents. The server makes the prompt."""

    name = "cohere"
    path = "/v1/rerank"
    #: The field of the instruction; `None` if the API has none.
    instruction: str | None = "instruction"

    async def answers(self) -> bool:
        return self.role == "reranking"

    async def connect(self) -> None:
        """Nothing is known of such a server before it is used."""

    async def rerank(
        self, prompts: Sequence[RerankPrompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        first = prompts[0]
        body: dict[str, Any] = {
            "model": self.model,
            "query": neutral(first.query),
            "documents": [neutral(prompt.document) for prompt in prompts],
        }
        if self.instruction is not None and first.instruction != DEFAULT_INSTRUCTION:
            body[self.instruction] = first.instruction
        return await self.http.post(self.path, body, lambda answer: read(answer, len(prompts)))


def read(answer: Any, count: int) -> Answer:
    """Read probabilities, and the tokens that were read."""
    probabilities = read_scores(answer["results"], count, "relevance_score")
    return Answer(log_odds(probabilities), (answer.get("usage") or {}).get("prompt_tokens"))
