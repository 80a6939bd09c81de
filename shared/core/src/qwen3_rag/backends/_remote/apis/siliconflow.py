"""SiliconFlow, which sells the published models: texts, and the reranker's instruction."""

from __future__ import annotations

from qwen3_rag.backends._remote.apis.cohere import CohereRerank
from qwen3_rag.backends._remote.apis.openai import OpenAIEmbeddings

__all__ = ["SiliconFlow"]


class SiliconFlow(OpenAIEmbeddings, CohereRerank):
    """`/v1/embeddings` with prompts as texts, `/v1/rerank` with query, documents, instruction."""

    name = "siliconflow"
    tokenizer = "used"
    counts = False
    may_ignore = True
    says_all = True
    rows = 32
    tokens = 32_768
    context = 32_768
    whole = 32_768

    async def answers(self) -> bool:
        return False  # known by its host's name alone

    async def connect(self) -> None:
        """Nothing is asked before the first request."""
