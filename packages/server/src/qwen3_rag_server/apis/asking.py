"""Answers to questions from an index, by a chat model, with numbered sources."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from pydantic import Field

from qwen3_rag.errors import Qwen3RagError
from qwen3_rag_server.apis.search import (
    HIT,
    SECONDS,
    Found,
    SearchOptions,
    found,
    hit_record,
)
from qwen3_rag_server.errors import Refusal
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import Event, Operation
from qwen3_rag_server.shapes import BOOLEAN, INTEGER, STRING, items, record

if TYPE_CHECKING:
    from qwen3_rag.chat import Answer

__all__ = ["OPERATIONS"]

log = logging.getLogger(__name__)

MOST = 100  # hits, all of whose texts are sent


class AskBody(SearchOptions):
    """The fields of `/v1/ask`."""

    question: str
    limit: int = Field(5, ge=1, le=MOST, description="Hits to answer from.")
    stream: bool = Field(False, description="Whether the answer comes as events, part by part.")


async def ask(served: Served, body: AskBody) -> dict[str, Any]:
    """Answer `/v1/ask` at once."""
    told: dict[str, Any] = {}
    async with aclosing(ask_in_parts(served, body)) as events:
        async for event in events:
            told = event.data
    return told


async def ask_in_parts(served: Served, body: AskBody) -> AsyncGenerator[Event, None]:
    """Answer `/v1/ask` in events: the hits, the text's parts, and the answer with its sources."""
    if served.chat is None:
        raise Refusal(404, "This server has no chat model. Start it with --chat-url.")
    made = await found(served, body, body.question, limit=body.limit)
    hits = [{"number": number, **hit_record(hit)} for number, hit in enumerate(made.hits, 1)]
    yield Event("hits", {"index": made.index, "seconds": made.seconds, "hits": hits})

    from qwen3_rag.chat import stream_answer  # needs an extra, which who has a `Chat` has

    try:
        stream = stream_answer(body.question, made.hits, served.chat)
        async with aclosing(aiter(stream)) as parts:  # type: ignore[type-var]  # is a generator
            async for part in parts:
                yield Event("text", {"text": part})
        answer = stream.answer
    except Qwen3RagError as error:
        log.warning("The chat endpoint could not be used: %s", error)
        # The address is nobody's concern but the operator's, who finds it in the log.
        told = str(error)
        for address in (f"{served.chat.base_url}/chat/completions", served.chat.base_url):
            told = told.replace(address, "The chat endpoint")
        raise Refusal(502, told) from error
    yield Event("answer", _record(body, made, answer))


def _record(body: AskBody, made: Found, answer: Answer) -> dict[str, Any]:
    return {
        "question": body.question,
        "index": made.index,
        "text": answer.text,
        "found": answer.found,
        "cut": answer.cut,
        "unknown": list(answer.unknown),
        "documents": len(made.hits),
        "sources": [{"number": one.number, **hit_record(one.hit)} for one in answer.sources],
        "seconds": made.seconds,
    }


_SHAPE = record(
    question=STRING,
    index=STRING,
    text=STRING,
    found=BOOLEAN,
    cut=BOOLEAN,
    unknown=items(INTEGER),
    documents=INTEGER,
    sources=items(HIT),
    seconds=SECONDS,
)

OPERATIONS = (
    Operation(
        "/v1/ask",
        "Answer a question from an index, by a chat model, with numbered sources",
        AskBody,
        lambda body: body.limit,
        ask,
        names={"query": "question"},
        shape=_SHAPE,
        streams=lambda body: body.stream,
        events=ask_in_parts,
    ),
)
