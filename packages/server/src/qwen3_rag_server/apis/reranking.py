"""Reranking, in the shapes of Cohere, Jina, vLLM, Text Embeddings Inference and Weaviate."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from qwen3_rag_server.bodies import OWN, Body
from qwen3_rag_server.models import Reranked, Served
from qwen3_rag_server.operations import Operation, Text
from qwen3_rag_server.shapes import INTEGER, NUMBER, STRING, items, record

__all__ = ["OPERATIONS"]


class RerankBody(Body):
    """The fields of a rerank request: `texts` as of TEI, or else `documents`."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["documents"]}, {"required": ["texts"]}]}
    )

    query: str
    documents: list[Text] | None = None
    texts: list[str] | None = Field(None, description="As TEI has it; the answer is a list.")
    property_: str | None = Field(
        None,
        alias="property",
        description="As Weaviate sends it; the answer has scores in the documents' order.",
    )
    model: str | None = None
    top_n: int | None = Field(None, ge=0, description="Results to return; all with 0.")
    instruction: str | None = Field(None, description="What counts as an answer, in English.")
    instruct: str | None = Field(None, description="SGLang's name of `instruction`.")
    return_documents: bool = False
    return_text: bool = False
    raw_scores: bool = Field(False, description="Whether scores are log-odds.")
    truncate: bool = Field(False, description="Whether documents that are too long are cut.")
    truncation_direction: Literal["right", "Right"] | None = None
    max_tokens_per_doc: int | None = Field(None, ge=1, description="Tokens to read of each.")
    truncate_prompt_tokens: int | None = Field(
        None, ge=-1, description="As vLLM has it: tokens of a whole prompt; all it can with -1."
    )
    priority: int | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _check(self) -> RerankBody:
        if (self.documents is None) == (self.texts is None):
            raise PydanticCustomError(OWN, "Give `documents`, or `texts` in their place")
        if self.instruct is not None and self.instruction is not None:
            raise PydanticCustomError(OWN, "Give `instruction` or `instruct`, not both")
        return self

    @property
    def max_length(self) -> int | None:
        """The tokens of a prompt, if there is a number."""
        return None if self.truncate_prompt_tokens == -1 else self.truncate_prompt_tokens

    @property
    def candidates(self) -> list[str]:
        """The documents, by either name."""
        return self.texts if self.documents is None else self.documents  # type: ignore[return-value]  # one is given


async def rerank(served: Served, body: RerankBody) -> Any:
    """Answer a rerank request in the shape that its fields ask for."""
    if body.model is not None:
        served.check_name(body.model, served.reranking_name)
    made = await served.rerank(
        body.query,
        body.candidates,
        instruction=body.instruction if body.instruct is None else body.instruct,
        max_document_tokens=body.max_tokens_per_doc,
        max_length=body.max_length,
        may_cut=body.truncate or body.truncate_prompt_tokens == -1,
        name="documents" if body.texts is None else "texts",
    )
    order = made.order[: body.top_n or None]
    scores = made.logits if body.raw_scores else made.scores
    if body.property_ is not None:
        return {
            "query": body.query,
            "property": body.property_,
            "scores": [
                {"document": document, "score": score}
                for document, score in zip(body.candidates, scores, strict=True)
            ],
        }
    if body.texts is not None:
        return [
            {"index": index, "score": scores[index]}
            | ({"text": body.texts[index]} if body.return_text else {})
            for index in order
        ]
    return _results(served, body, made, order)


def _results(served: Served, body: RerankBody, made: Reranked, order: list[int]) -> dict[str, Any]:
    scores = made.logits if body.raw_scores else made.scores
    results = []
    for index in order:
        result: dict[str, Any] = {"index": index, "relevance_score": scores[index]}
        if body.return_documents:
            result["document"] = {"text": body.candidates[index]}
        if made.cut_at[index] is not None:
            result["cut_at"] = made.cut_at[index]
        results.append(result)
    return {
        "id": f"rerank-{uuid.uuid4().hex}",
        "model": body.model or served.reranking_name,
        "results": results,
        "usage": {"prompt_tokens": made.tokens, "total_tokens": made.tokens},
        "meta": {"api_version": {"version": "2"}, "tokens": {"input_tokens": made.tokens}},
    }


def _pairs(body: RerankBody) -> int:
    return len(body.candidates)


_RESULTS = record(
    id=STRING,
    model=STRING,
    results=items(
        record(
            index=INTEGER,
            relevance_score=NUMBER,
            optional={"document": record(text=STRING), "cut_at": INTEGER},
        )
    ),
    usage=record(prompt_tokens=INTEGER, total_tokens=INTEGER),
    meta=record(api_version=record(version=STRING), tokens=record(input_tokens=INTEGER)),
)
_SHAPE = {
    "anyOf": [
        _RESULTS,
        items(record(index=INTEGER, score=NUMBER, optional={"text": STRING})),
        record(query=STRING, property=STRING, scores=items(record(document=STRING, score=NUMBER))),
    ]
}
#: What messages name, and the fields.
_NAMES = {"max_length": "truncate_prompt_tokens", "max_document_tokens": "max_tokens_per_doc"}

OPERATIONS = tuple(
    Operation(
        path,
        summary,
        RerankBody,
        _pairs,
        rerank,
        is_hook=is_hook,
        plain_errors=is_hook,
        names=_NAMES,
        shape=_SHAPE,
    )
    for path, summary, is_hook in (
        ("/rerank", "Rerank documents; the answer's shape follows the request's", True),
        ("/v1/rerank", "Rerank documents, as Jina and vLLM do", False),
        ("/v2/rerank", "Rerank documents, as Cohere does", False),
    )
)
