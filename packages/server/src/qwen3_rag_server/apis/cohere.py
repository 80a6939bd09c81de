"""Embedding as Cohere does it; reranking in its shape is in `reranking`."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from qwen3_rag import Embeddings
from qwen3_rag_server.bodies import OWN, Body
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import Operation
from qwen3_rag_server.shapes import NUMBER, STRING, items, record

__all__ = ["OPERATIONS"]


class TextPart(Body):
    """A part of an input, which is a text: the models read no images."""

    type: Literal["text"]
    text: str


class Input(Body):
    """An input of one part."""

    content: list[TextPart] = Field(min_length=1, max_length=1)


class EmbedV2Body(Body):
    """The fields of `/v2/embed`: `texts`, or `inputs` in their place."""

    model: str
    input_type: Literal["search_query", "search_document", "query", "document"]
    texts: list[str] | None = None
    inputs: list[Input] | None = None
    embedding_types: list[Literal["float", "base64"]] = Field(["float"], min_length=1)
    output_dimension: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1, description="Tokens to read of each text.")
    truncate: Literal["NONE", "END"] = Field(
        "NONE", description="Whether the end of a text that is too long is cut off."
    )
    instruction: str | None = Field(None, description="What queries are for, in English.")
    priority: int | None = None

    @model_validator(mode="after")
    def _check(self) -> EmbedV2Body:
        if (self.texts is None) == (self.inputs is None):
            raise PydanticCustomError(OWN, "Give `texts`, or `inputs` in their place")
        return self

    @property
    def contents(self) -> list[str]:
        """The texts, by either name."""
        if self.texts is not None:
            return self.texts
        return [one.content[0].text for one in self.inputs or ()]


async def embed(served: Served, body: EmbedV2Body) -> dict[str, Any]:
    """Answer `/v2/embed`."""
    texts = body.contents
    made = await served.embed(
        texts,
        as_queries=served.are_queries(body.model, body.input_type, body.instruction),
        instruction=body.instruction,
        dim=body.output_dimension,
        max_length=body.max_tokens,
        may_cut=body.truncate == "END",
        name="inputs" if body.texts is None else "texts",
    )
    return _answer(made, texts, body.embedding_types)


def _answer(made: Embeddings, texts: Sequence[str], kinds: Sequence[str]) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    if "float" in kinds:
        rows["float"] = list(made.vectors)
    if "base64" in kinds:
        data = [row.astype("<f4").tobytes() for row in made.vectors]
        rows["base64"] = [base64.b64encode(one).decode() for one in data]
    tokens = {"input_tokens": sum(made.tokens or ())}
    answer: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "response_type": "embeddings_by_type",
        "embeddings": rows,
        "texts": texts,
        "meta": {"api_version": {"version": "2"}, "billed_units": tokens, "tokens": tokens},
    }
    if any(cut is not None for cut in made.cut_at):
        answer["cut_at"] = made.cut_at
    return answer


_SHAPE = record(
    {"cut_at": items({"type": ["integer", "null"]})},
    id=STRING,
    response_type=STRING,
    embeddings=record({"float": items(items(NUMBER)), "base64": items(STRING)}),
    texts=items(STRING),
    meta={"type": "object"},
)

OPERATIONS = (
    Operation(
        "/v2/embed",
        "Embed texts, as Cohere does",
        EmbedV2Body,
        lambda body: len(body.contents),
        embed,
        shape=_SHAPE,
        names={
            **{"dim": "output_dimension", "queries": "texts", "documents": "texts"},
            "max_length": "max_tokens",
        },
    ),
)
