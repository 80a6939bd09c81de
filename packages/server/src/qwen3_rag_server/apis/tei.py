"""Embedding as Text Embeddings Inference does it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from qwen3_rag_server.bodies import Body
from qwen3_rag_server.errors import Refusal
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import Operation, Texts

__all__ = ["OPERATIONS"]


class EmbedBody(Body):
    """The fields of `/embed`."""

    inputs: Texts
    prompt_name: Literal["query", "document", "passage"] | None = Field(
        None, description="What the texts are; documents if omitted."
    )
    normalize: bool = True
    truncate: bool = Field(False, description="Whether texts that are too long are cut.")
    truncation_direction: Literal["right", "Right"] | None = None
    dimensions: int | None = Field(None, ge=1)


async def embed(served: Served, body: EmbedBody) -> Any:
    """Answer `/embed`."""
    if not body.normalize:
        raise Refusal(
            422, "`normalize` must be true: the model's vectors have unit length.", "normalize"
        )
    made = await served.embed(
        body.inputs,
        as_queries=body.prompt_name == "query",
        dim=body.dimensions,
        may_cut=body.truncate,
        name="inputs",
    )
    return list(made.vectors)


OPERATIONS = (
    Operation(
        "/embed",
        "Embed texts, as Text Embeddings Inference does",
        EmbedBody,
        lambda body: len(body.inputs),
        embed,
        plain_errors=True,
        names={"dim": "dimensions", "queries": "inputs", "documents": "inputs"},
    ),
)
