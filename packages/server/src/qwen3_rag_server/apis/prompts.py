"""Whole prompts with their limits, for `Remote` of this project: what a backend takes and gives."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import Field

from qwen3_rag.backends import EmbedPrompt, Limits, Output, Prompt, RerankPrompt, Role
from qwen3_rag.errors import InputError
from qwen3_rag.integration import arguments_of, backend_of
from qwen3_rag_server.bodies import Body
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import Operation

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
    output = await _run(served, "embedding", prompts, Limits(body.max_length))
    rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in output.values]
    return {"vectors": rows, **_read(output)}


async def reranking(served: Served, body: RerankingPrompts) -> dict[str, Any]:
    """Answer `/v1/prompts/reranking`."""
    prompts = [RerankPrompt(one.query, one.document, one.instruction) for one in body.prompts]
    limits = Limits(body.max_length, body.max_query_tokens, body.max_document_tokens)
    output = await _run(served, "reranking", prompts, limits)
    return {"logits": output.values, **_read(output)}


async def _run(served: Served, role: Role, prompts: Sequence[Prompt], asked: Limits) -> Output:
    model = served.model(role)
    limits = _within(arguments_of(model), asked)
    return await asyncio.wrap_future(backend_of(model).run(prompts, limits))


def _within(own: Mapping[str, Any], asked: Limits) -> Limits:
    """Return limits with those of the served model where the request has none.

    Raises:
        InputError: The request has a larger one.
    """
    chosen = {}
    for name, limit in asdict(asked).items():
        most = own.get(name)
        if limit is not None and most is not None and limit > most:
            raise InputError(f"`{name}` can be {most:,} at most on this server, got {limit:,}.")
        chosen[name] = most if limit is None else limit
    return Limits(**chosen)


def _read(output: Output) -> dict[str, Any]:
    names = ("tokens", "cut_at", "query_cut_at")
    return {name: getattr(output, name) for name in names}


def _count(body: EmbeddingPrompts | RerankingPrompts) -> int:
    return len(body.prompts)


OPERATIONS: tuple[Operation[Any], ...] = (
    Operation(
        "/v1/prompts/embedding",
        "Embed whole prompts, as `Remote` does: texts are cut, and the answer says where",
        EmbeddingPrompts,
        _count,
        embedding,
    ),
    Operation(
        "/v1/prompts/reranking",
        "Judge whole prompts, as `Remote` does: the answer has log-odds, and says what was cut",
        RerankingPrompts,
        _count,
        reranking,
    ),
)
