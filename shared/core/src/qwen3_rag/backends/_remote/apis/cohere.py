"""Reranking as the APIs of Cohere and Jina have it, for any server that speaks no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from qwen3_rag._prompts import DEFAULT_INSTRUCTION, RerankPrompt
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, Api, log_odds, read_count, read_scores
from qwen3_rag.backends._remote.http import Refused
from qwen3_rag.backends._remote.items import neutral
from qwen3_rag.backends._remote.probe import PAIR

__all__ = ["Cohere", "CohereRerank", "read"]

#: Paths of different servers, in the order in which they are tried.
PATHS = ("/v1/rerank", "/v2/rerank", "/rerank")


class CohereRerank(Api):
    """The request of Cohere's API, which many servers and vendors have. They make the prompt.

    Attributes:
        path: Its path.
        instruction: The field of the instruction; `None` if the API has none.
        says_all: Whether the default instruction is sent too, because the server's is another or
            not known.
    """

    path: str = PATHS[0]
    instruction: ClassVar[str | None] = "instruction"
    says_all: ClassVar[bool] = False

    async def rerank(
        self, prompts: Sequence[RerankPrompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        body = {**self.fields(prompts), **self.extra()}
        return await self.post(
            self.path, body, lambda answer: read(answer, len(prompts)), len(prompts)
        )

    def fields(self, prompts: Sequence[RerankPrompt]) -> dict[str, Any]:
        """Make the request's fields."""
        first = prompts[0]
        body: dict[str, Any] = {
            "model": self.model,
            "query": neutral(first.query),
            "documents": [neutral(prompt.document) for prompt in prompts],
        }
        said = self.says_all or first.instruction != DEFAULT_INSTRUCTION
        if self.instruction is not None and said:
            body[self.instruction] = neutral(first.instruction)
        return body

    def extra(self) -> dict[str, Any]:
        """Return further fields of every request."""
        return {}


class Cohere(CohereRerank):
    """`/v1/rerank`, `/v2/rerank` or `/rerank` with a query and documents."""

    name = "cohere"
    tokenizer = "used"
    may_ignore = True

    async def answers(self) -> bool:
        return self.role == "reranking"

    async def connect(self) -> None:
        """Find the path."""
        for path in PATHS if self.role == "reranking" else ():
            self.path = path
            try:
                await self.rerank([PAIR], None)
            except Refused as error:
                if error.status not in (404, 405) or path == PATHS[-1]:
                    raise
            else:
                return


def read(answer: Any, count: int) -> Answer:
    """Read probabilities, and the tokens that were read."""
    probabilities = read_scores(answer["results"], count, "relevance_score")
    return Answer(log_odds(probabilities), read_count(answer.get("usage"), "prompt_tokens"))
