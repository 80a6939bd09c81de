"""What Weaviate's module text2vec-transformers calls; reranker-transformers calls `/rerank`."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from qwen3_rag_server.bodies import Body
from qwen3_rag_server.errors import Refusal
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import Operation
from qwen3_rag_server.shapes import INTEGER, NUMBER, STRING, items, record

__all__ = ["OPERATIONS"]


class VectorsBody(Body):
    """The fields of `/vectors`. Weaviate may send others, which are those of its own answers."""

    model_config = ConfigDict(extra="allow")

    text: str
    config: dict[str, Any] | None = None


async def vectors(served: Served, body: VectorsBody) -> dict[str, Any]:
    """Answer `/vectors`, which has one text."""
    config = body.config or {}
    dim = config.get("dimensions") or None
    if dim is not None and not isinstance(dim, int):
        raise Refusal(400, "`config.dimensions` must be a whole number.", "config")
    made = await served.embed(
        [body.text], as_queries=config.get("task_type") == "query", dim=dim, name="text"
    )
    [vector] = made.vectors
    return {"text": body.text, "dims": len(vector), "vector": vector}


OPERATIONS = (
    Operation(
        "/vectors",
        "Embed one text, for Weaviate's text2vec-transformers",
        VectorsBody,
        lambda body: 1,
        vectors,
        is_hook=True,
        plain_errors=True,
        names={"dim`": "config.dimensions`", "queries[0]": "text", "documents[0]": "text"},
        shape=record(text=STRING, dims=INTEGER, vector=items(NUMBER)),
    ),
)
