"""Embeddings as OpenAI's API has them, for any server that speaks no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag._prompts import Prompt
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, Api, read_vectors
from qwen3_rag.backends._remote.items import neutral

__all__ = ["OpenAI"]


class OpenAI(Api):
    """`/v1/embeddings` with texts."""

    name = "openai"

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
        inputs: list[Any]
        if self.takes_ids and sequences is not None:
            inputs = [[*one.prefix, *one.ids] for one in sequences]
        else:
            inputs = [neutral(prompt.rendered) for prompt in prompts]
        body = {"model": self.model, "input": inputs, "encoding_format": "base64"}
        return await self.http.post(
            "/v1/embeddings", body, lambda answer: read_vectors(answer, len(prompts))
        )


def _lists(models: Any) -> bool:
    return (
        isinstance(models, dict)
        and isinstance(models.get("data"), list)
        and all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in models["data"])
    )
