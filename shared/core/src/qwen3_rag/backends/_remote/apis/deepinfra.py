"""DeepInfra, which sells the published models: texts, and pairs of queries and documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag._prompts import RerankPrompt
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, log_odds, read_count, read_numbers
from qwen3_rag.backends._remote.apis.openai import OpenAIEmbeddings
from qwen3_rag.backends._remote.apis.vendor import Vendor
from qwen3_rag.backends._remote.items import neutral

__all__ = ["DeepInfra"]


class DeepInfra(Vendor, OpenAIEmbeddings):
    """`/v1/openai/embeddings` with prompts as texts, `/v1/inference/MODEL` with pairs."""

    name = "deepinfra"
    tokenizer = "used"
    may_ignore = True
    embeddings = "/v1/openai/embeddings"
    encoding = "float"  # base64 is not documented
    tokens = 32_768
    context = 8_192  # some models take more, which only their pages tell
    whole = 8_192

    async def rerank(
        self, prompts: Sequence[RerankPrompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        body = {
            # Both lists must have the same length.
            "queries": [neutral(prompt.query) for prompt in prompts],
            "documents": [neutral(prompt.document) for prompt in prompts],
            "instruction": neutral(prompts[0].instruction),
        }
        return await self.post(
            f"/v1/inference/{self.model}",
            body,
            lambda answer: _read(answer, len(prompts)),
            len(prompts),
        )


def _read(answer: Any, count: int) -> Answer:
    """Read probabilities, whose order alone tells which pair is meant."""
    scores = read_numbers(answer["scores"], (count,))
    return Answer(log_odds(scores), read_count(answer, "input_tokens"))
