"""OpenRouter, which passes requests on to vendors of the published models."""

from __future__ import annotations

from typing import Any

from qwen3_rag.backends._remote.apis.cohere import CohereRerank
from qwen3_rag.backends._remote.apis.openai import OpenAIEmbeddings
from qwen3_rag.backends._remote.apis.vendor import Vendor

__all__ = ["OpenRouter"]


class OpenRouter(Vendor, OpenAIEmbeddings, CohereRerank):
    """`/v1/embeddings` and `/v1/rerank` with texts. A reranker takes no instruction."""

    name = "openrouter"
    tokenizer = "used"
    instructions = False
    instruction = None
    tokens = 32_768
    context = 32_768
    whole = 32_768

    def extra(self) -> dict[str, Any]:
        # Without it, vendors may be chosen that ignore fields of the request.
        return {"provider": {"require_parameters": True}}
