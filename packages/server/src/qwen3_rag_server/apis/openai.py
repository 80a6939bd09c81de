"""OpenAI's embedding API, with a query's instruction beside it."""

from __future__ import annotations

import base64
from typing import Any, Literal

from pydantic import Field

from qwen3_rag import Embeddings
from qwen3_rag_server.bodies import Body
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import InputType, Operation, Texts
from qwen3_rag_server.shapes import INTEGER, NUMBER, STRING, items, record

__all__ = ["OPERATIONS"]


class EmbeddingsBody(Body):
    """The fields of `/v1/embeddings`."""

    model: str | None = Field(None, description="The embedding model; the only one if omitted.")
    input: Texts
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    input_type: InputType | None = Field(
        None, description="What the texts are; documents, unless an instruction is given."
    )
    instruction: str | None = Field(None, description="What queries are for, in English.")
    truncate: bool = Field(False, description="Whether texts that are too long are cut.")
    truncate_prompt_tokens: int | None = Field(
        None, ge=-1, description="As vLLM has it: tokens to read of each text; all it can with -1."
    )
    user: str | None = None

    @property
    def max_length(self) -> int | None:
        """The tokens to read of each text, if there is a number."""
        return None if self.truncate_prompt_tokens == -1 else self.truncate_prompt_tokens


async def embeddings(served: Served, body: EmbeddingsBody) -> dict[str, Any]:
    """Answer `/v1/embeddings`."""
    as_queries = served.are_queries(body.model, body.input_type, body.instruction)
    made = await served.embed(
        body.input,
        as_queries=as_queries,
        instruction=body.instruction,
        dim=body.dimensions,
        max_length=body.max_length,
        may_cut=body.truncate or body.truncate_prompt_tokens == -1,
    )
    return _answer(served, made, body)


def _answer(served: Served, made: Embeddings, body: EmbeddingsBody) -> dict[str, Any]:
    rows: list[Any] = list(made.vectors)
    if body.encoding_format == "base64":
        rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in rows]
    tokens = sum(made.tokens or ())
    answer: dict[str, Any] = {
        "object": "list",
        "model": body.model or served.embedding_name,
        "data": [
            {"object": "embedding", "index": index, "embedding": row}
            for index, row in enumerate(rows)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    if any(cut is not None for cut in made.cut_at):
        answer["cut_at"] = made.cut_at
    return answer


_SHAPE = record(
    object=STRING,
    model=STRING,
    data=items(record(object=STRING, index=INTEGER, embedding={"anyOf": [items(NUMBER), STRING]})),
    usage=record(prompt_tokens=INTEGER, total_tokens=INTEGER),
    optional={"cut_at": items({"type": ["integer", "null"]})},
)

OPERATIONS = (
    Operation(
        "/v1/embeddings",
        "Embed texts, as OpenAI's API does",
        EmbeddingsBody,
        lambda body: len(body.input),
        embeddings,
        names={
            **{"dim": "dimensions", "queries": "input", "documents": "input"},
            "max_length": "truncate_prompt_tokens",
        },
        shape=_SHAPE,
    ),
)
