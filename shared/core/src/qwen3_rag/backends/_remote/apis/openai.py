"""Embeddings as OpenAI's API has them, for any server that speaks no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from qwen3_rag._prompts import Prompt
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, Api, read_vectors
from qwen3_rag.backends._remote.http import Refused
from qwen3_rag.backends._remote.items import neutral

__all__ = ["OpenAI", "OpenAIEmbeddings"]


class OpenAIEmbeddings(Api):
    """The request of OpenAI's API, which many servers and vendors have.

    Attributes:
        embeddings: Its path.
        encoding: How vectors are asked for, as "base64" or "float".
    """

    embeddings: ClassVar[str] = "/v1/embeddings"
    encoding: str = "base64"

    async def embed(
        self, prompts: Sequence[Prompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        inputs: list[Any]
        if self.takes_ids and sequences is not None:
            inputs = [[*one.prefix, *one.ids] for one in sequences]
        else:
            inputs = [neutral(prompt.rendered) for prompt in prompts]
        body = {"model": self.model, "input": inputs, "encoding_format": self.encoding}
        return await self.post(
            self.embeddings,
            {**body, **self.extra()},
            lambda answer: read_vectors(answer, len(prompts)),
            len(prompts),
        )

    def extra(self) -> dict[str, Any]:
        """Return further fields of every request."""
        return {}


class OpenAI(OpenAIEmbeddings):
    """`/v1/embeddings` with texts."""

    name = "openai"
    tokenizer = "used"
    _answered = False

    async def answers(self) -> bool:
        return self.role == "embedding"

    async def connect(self) -> None:
        models = await self.http.get("/v1/models")
        served = [one["id"] for one in models["data"]] if _lists(models) else []
        if len(served) == 1:  # a hosted API lists many, and not always all
            self.choose(served)

    async def embed(
        self, prompts: Sequence[Prompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        try:
            answer = await super().embed(prompts, sequences)
        except Refused as error:
            # Some servers know no base64, which shows when they are probed.
            if self._answered or self.encoding == "float" or error.status not in (400, 422):
                raise
            self.encoding = "float"
            try:
                answer = await super().embed(prompts, sequences)
            except Refused:
                self.encoding = "base64"
                raise
        self._answered = True
        return answer


def _lists(models: Any) -> bool:
    return (
        isinstance(models, dict)
        and isinstance(models.get("data"), list)
        and all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in models["data"])
    )
