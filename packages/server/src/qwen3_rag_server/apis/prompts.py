"""Whole prompts with their limits, for `Remote` of this project: what a backend takes and gives."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from qwen3_rag.backends import EmbedPrompt, Limits, Output, Prompt, RerankPrompt, Role
from qwen3_rag.integration import arguments_of, backend_of
from qwen3_rag_server.bodies import Body
from qwen3_rag_server.limits import within
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import Operation
from qwen3_rag_server.shapes import INTEGER, NUMBER, STRING, items, record

__all__ = ["OPERATIONS"]

MOST = 32_768  # tokens of a prompt, which is the models' context


class TextPrompt(Body):
    """A text to embed."""

    text: str
    instruction: str | None = Field(None, description="What a query is for; null for documents.")
    prefix: str | None = Field(
        None, description="All that is before the text, in place of what the instruction makes."
    )


class PairPrompt(Body):
    """A query and a document to judge."""

    query: str
    document: str
    instruction: str = Field(description="What counts as an answer, in English.")


class EmbeddingPrompts(Body):
    """The fields of `/v1/prompts/embedding`."""

    prompts: list[TextPrompt]
    max_length: int | None = Field(None, ge=1, le=MOST, description="Tokens of a whole prompt.")


class RerankingPrompts(Body):
    """The fields of `/v1/prompts/reranking`."""

    prompts: list[PairPrompt]
    max_length: int | None = Field(None, ge=1, le=MOST, description="Tokens of a whole prompt.")
    max_query_tokens: int | None = Field(None, ge=1, le=MOST, description="Tokens of a query.")
    max_document_tokens: int | None = Field(
        None, ge=1, le=MOST, description="Tokens of a document."
    )


async def embedding(served: Served, body: EmbeddingPrompts) -> dict[str, Any]:
    """Answer `/v1/prompts/embedding`."""
    prompts = [EmbedPrompt(one.text, one.instruction, one.prefix) for one in body.prompts]
    output = await _run(served, "embedding", prompts, {"max_length": body.max_length})
    rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in output.values]
    return {"vectors": rows, **_read(output)}


async def reranking(served: Served, body: RerankingPrompts) -> dict[str, Any]:
    """Answer `/v1/prompts/reranking`."""
    prompts = [RerankPrompt(one.query, one.document, one.instruction) for one in body.prompts]
    names = ("max_length", "max_query_tokens", "max_document_tokens")
    limits = {name: getattr(body, name) for name in names}
    output = await _run(served, "reranking", prompts, limits)
    return {"logits": output.values, **_read(output)}


async def _run(
    served: Served, role: Role, prompts: Sequence[Prompt], asked: Mapping[str, int | None]
) -> Output:
    model = served.model(role)
    limits = Limits(**within(arguments_of(model), asked))
    return await asyncio.wrap_future(backend_of(model).run(prompts, limits))


def _read(output: Output) -> dict[str, Any]:
    names = ("tokens", "cut_at", "query_cut_at")
    return {name: getattr(output, name) for name in names}


def _count(body: EmbeddingPrompts | RerankingPrompts) -> int:
    return len(body.prompts)


_READ = {
    "tokens": {"type": ["array", "null"], "items": INTEGER},
    "cut_at": items(INTEGER),
    "query_cut_at": items(INTEGER),
}

OPERATIONS: tuple[Operation[Any], ...] = (
    Operation(
        "/v1/prompts/embedding",
        "Embed whole prompts, as `Remote` does: texts are cut, and the answer says where",
        EmbeddingPrompts,
        _count,
        embedding,
        shape=record(vectors=items(STRING), **_READ),
    ),
    Operation(
        "/v1/prompts/reranking",
        "Judge whole prompts, as `Remote` does: the answer has log-odds, and says what was cut",
        RerankingPrompts,
        _count,
        reranking,
        shape=record(logits=items(NUMBER), **_READ),
    ),
)
