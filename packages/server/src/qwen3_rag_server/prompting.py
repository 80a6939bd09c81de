"""The prompts that a served model makes of queries, documents and pairs."""

from __future__ import annotations

from collections.abc import Sequence

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Capabilities, EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag.integration import (
    arguments_of,
    check_query,
    document_prefix,
    query_template,
    saved_instruction,
)

__all__ = ["document_prompts", "pair_prompts", "query_prompts"]


def query_prompts(
    model: Qwen3Embedder, capabilities: Capabilities, texts: Sequence[str], instruction: str | None
) -> list[Prompt]:
    """Make the prompts of queries.

    Raises:
        InputError: One is blank.
    """
    for index, text in enumerate(texts):
        check_query(text, f"queries[{index}]")
    given = arguments_of(model)
    template = query_template(capabilities.prompts, given["query_template"])
    return [template.prompt(text, instruction or given["instruction"]) for text in texts]


def document_prompts(
    model: Qwen3Embedder, capabilities: Capabilities, texts: Sequence[str]
) -> list[Prompt]:
    """Make the prompts of documents."""
    prefix = document_prefix(capabilities.prompts, arguments_of(model)["document_prefix"])
    return [EmbedPrompt(text, prefix=prefix) for text in texts]


def pair_prompts(
    model: Qwen3Reranker,
    capabilities: Capabilities,
    query: str,
    documents: Sequence[str],
    instruction: str | None,
) -> list[Prompt]:
    """Make the prompts of a query with documents.

    Raises:
        InputError: The query is blank.
    """
    check_query(query)
    own = arguments_of(model)["instruction"]
    chosen = instruction or own or saved_instruction(capabilities.prompts)
    return [RerankPrompt(query, document, chosen) for document in documents]
