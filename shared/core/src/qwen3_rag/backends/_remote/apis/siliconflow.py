"""SiliconFlow, which sells the published models: texts, and the reranker's instruction."""

from __future__ import annotations

from qwen3_rag.backends._remote.apis.cohere import CohereRerank
from qwen3_rag.backends._remote.apis.openai import OpenAIEmbeddings
from qwen3_rag.backends._remote.apis.vendor import Vendor

__all__ = ["SiliconFlow"]


class SiliconFlow(Vendor, OpenAIEmbeddings, CohereRerank):
    """`/v1/embeddings` with prompts as texts, `/v1/rerank` with query, documents, instruction."""

    name = "siliconflow"
    tokenizer = "used"
    may_ignore = True
    says_all = True
    rows = 32
    tokens = 32_768
    context = 32_768
    whole = 32_768
