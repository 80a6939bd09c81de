"""Token ids of prompts, in the shapes of vLLM and Text Embeddings Inference, and for all roles."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from qwen3_rag.backends import EmbedPrompt, Prompt, Role
from qwen3_rag_server.bodies import OWN, Body
from qwen3_rag_server.errors import Refusal
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import InputType, Operation, Text, Texts
from qwen3_rag_server.prompting import pair_prompts
from qwen3_rag_server.shapes import BOOLEAN, INTEGER, STRING, items, record
from qwen3_rag_server.tokens import PromptTokens

__all__ = ["OPERATIONS"]


class TokenizeBody(Body):
    """The fields of `/tokenize`: `prompt`, `inputs` or `input`, or `query` and `documents`."""

    prompt: str | None = Field(None, description="A whole prompt, as vLLM has it.")
    inputs: Texts | None = Field(None, description="As TEI has it; the answer is a list.")
    input: Texts | None = Field(None, description="Texts to embed, as in `/v1/embeddings`.")
    query: str | None = Field(None, description="The query of pairs to rerank.")
    documents: list[Text] | None = Field(None, description="The documents of those pairs.")
    model: str | None = None
    input_type: InputType | None = Field(None, description="What `input` is.")
    instruction: str | None = Field(None, description="The instruction of queries and pairs.")
    prompt_name: Literal["query", "document", "passage"] | None = Field(
        None, description="What `inputs` are; documents if omitted."
    )
    add_special_tokens: bool = Field(True, description="Whether the end token is added to a text.")
    return_token_strs: bool | None = Field(False, description="Whether `token_strs` are returned.")

    @model_validator(mode="after")
    def _check(self) -> TokenizeBody:
        texts = (self.prompt, self.inputs, self.input, self.query)
        if sum(one is not None for one in texts) != 1:
            raise PydanticCustomError(
                OWN, "Give one of `prompt`, `inputs`, `input`, and `query` with `documents`"
            )
        if (self.query is None) != (self.documents is None):
            raise PydanticCustomError(OWN, "Give `query` and `documents` together")
        if not self.add_special_tokens and self.query is not None:
            raise PydanticCustomError(
                OWN, "`add_special_tokens` must be true: the reranker's prompt has such tokens"
            )
        return self


async def tokenize(served: Served, body: TokenizeBody) -> Any:
    """Answer `/tokenize` in the shape that its fields ask for."""
    role: Role = "embedding" if body.query is None else "reranking"
    tokens = await served.tokens(role)
    if tokens is None:
        raise Refusal(
            501,
            f"The tokenizer of {served.name(role)!r} is not here, because another server runs it. "
            "Ask that server.",
        )
    prompts = await _prompts(served, body)
    longest = await served.longest(role)
    return await asyncio.to_thread(_answer, body, tokens, prompts, longest)


async def _prompts(served: Served, body: TokenizeBody) -> list[Prompt]:
    if body.query is not None:
        if body.model is not None:
            served.check_name(body.model, served.reranking_name)
        assert served.reranker is not None  # or there were no tokens
        capabilities = await served.reranker.awarm_up()
        documents = body.documents or []
        return pair_prompts(served.reranker, capabilities, body.query, documents, body.instruction)
    kind = body.input_type if body.inputs is None else body.prompt_name
    as_queries = served.are_queries(body.model, kind, body.instruction)
    if body.prompt is not None:
        return [EmbedPrompt(body.prompt)]
    return await served.prompts(body.inputs or body.input or [], as_queries, body.instruction)


def _answer(
    body: TokenizeBody, tokens: PromptTokens, prompts: Sequence[Prompt], longest: int
) -> Any:
    rows = tokens.ids(prompts)
    if not body.add_special_tokens:
        rows = [row[:-1] for row in rows]
    if body.inputs is not None:
        return [_listed(one.rendered, row, tokens) for one, row in zip(prompts, rows, strict=True)]
    count = sum(map(len, rows))
    if body.prompt is None:
        return {"count": count, "max_model_len": longest, "tokens": rows}
    answer = {"count": count, "max_model_len": longest, "tokens": rows[0], "token_strs": None}
    if body.return_token_strs:
        listed = _listed(body.prompt, rows[0], tokens)
        answer["token_strs"] = [one["text"] for one in listed]
    return answer


def _listed(text: str, ids: list[int], tokens: PromptTokens) -> list[dict[str, Any]]:
    """Return tokens as TEI does, whose places count bytes."""
    bytes_before = list(accumulate((len(one.encode()) for one in text), initial=0))
    listed: list[dict[str, Any]] = [
        {
            "id": one,
            "text": text[start:stop],
            "special": False,
            "start": bytes_before[start],
            "stop": bytes_before[stop],
        }
        for one, (start, stop) in zip(ids, tokens.spans(text), strict=False)
    ]
    if len(ids) > len(listed):  # the end token
        end = {"id": ids[-1], "text": tokens.end_text, "special": True}
        listed.append({**end, "start": None, "stop": None})
    return listed


def _count(body: TokenizeBody) -> int:
    if body.prompt is not None:
        return 1
    return len(body.inputs or body.input or body.documents or ())


_IDS = items(INTEGER)
_COUNTED = {"count": INTEGER, "max_model_len": INTEGER}
_PLACE = {"type": ["integer", "null"]}
_TOKEN = record(id=INTEGER, text=STRING, special=BOOLEAN, start=_PLACE, stop=_PLACE)
_NAMES = {"type": ["array", "null"], "items": STRING}
_SHAPE = {
    "anyOf": [
        record(**_COUNTED, tokens=_IDS, token_strs=_NAMES),  # vLLM's
        items(items(_TOKEN)),  # TEI's
        record(**_COUNTED, tokens=items(_IDS)),
    ]
}

OPERATIONS = (
    Operation(
        "/tokenize",
        "Return the token ids of prompts; the answer's shape follows the request's",
        TokenizeBody,
        _count,
        tokenize,
        names={"queries": "input"},
        shape=_SHAPE,
    ),
)
