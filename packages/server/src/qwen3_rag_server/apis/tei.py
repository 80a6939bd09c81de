"""Embedding as Text Embeddings Inference does it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from qwen3_rag_server.bodies import Body
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import Operation, Texts
from qwen3_rag_server.shapes import NUMBER, items

__all__ = ["OPERATIONS"]


class EmbedBody(Body):
    """The fields of `/embed`."""

    inputs: Texts
    prompt_name: Literal["query", "document", "passage"] | None = Field(
        None, description="What the texts are; documents if omitted."
    )
    normalize: bool = Field(True, description="Whether the vectors get unit length.")
    truncate: bool = Field(False, description="Whether texts that are too long are cut.")
    truncation_direction: Literal["right", "Right"] | None = Field(
        None, description="Where a text is cut: its end alone can be."
    )
    dimensions: int | None = Field(None, ge=1)


async def embed(served: Served, body: EmbedBody) -> Any:
    """Answer `/embed`."""
    made = await served.embed(
        body.inputs,
        as_queries=body.prompt_name == "query",
        dim=body.dimensions,
        may_cut=body.truncate,
        normalize=body.normalize,
        name="inputs",
    )
    return list(made.vectors)


OPERATIONS = tuple(
    Operation(
        path,
        f"Embed texts, as {client}",
        EmbedBody,
        lambda body: len(body.inputs),
        embed,
        plain_errors=True,
        names={"dim": "dimensions", "queries": "inputs", "documents": "inputs"},
        shape=items(items(NUMBER)),
    )
    for path, client in (
        ("/embed", "Text Embeddings Inference does"),
        ("/", "`InferenceClient` of huggingface_hub asks that server"),
    )
)
