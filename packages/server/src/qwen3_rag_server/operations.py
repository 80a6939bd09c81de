"""`Operation`: one path of the server, from its request's fields to its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from qwen3_rag_server.bodies import OWN, Body
from qwen3_rag_server.models import Served
from qwen3_rag_server.shapes import Shape

__all__ = ["Event", "InputType", "Operation", "Text", "Texts"]

#: What texts are, by the names of several APIs.
InputType = Literal["query", "document", "passage", "search_query", "search_document"]

B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Event:
    """A part of an answer that comes in parts.

    Attributes:
        name: What kind of part it is.
        data: Its content, as JSON values.
    """

    name: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Operation(Generic[B]):
    """One path that takes a JSON body.

    Attributes:
        path: The path.
        summary: What it does, in one line.
        body: The fields of the request.
        texts: Counts the texts or pairs of a request.
        answer: Computes the answer, as JSON values and numpy arrays.
        is_hook: Whether a store calls it, which sends no key.
        plain_errors: Whether its clients read errors as a text, instead of an object.
        names: What messages of the library call its fields, where that is another name.
        shape: JSON schema of the answer.
        streams: Whether a request asks for its answer in parts.
        events: Computes the answer in parts; `None` if it comes whole alone.
    """

    path: str
    summary: str
    body: type[B]
    texts: Callable[[B], int]
    answer: Callable[[Served, B], Awaitable[Any]]
    is_hook: bool = False
    plain_errors: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    shape: Shape = field(default_factory=dict)
    streams: Callable[[B], bool] = lambda body: False
    events: Callable[[Served, B], AsyncGenerator[Event, None]] | None = None


def _text(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return str(value["text"])
    if not isinstance(value, str):
        raise PydanticCustomError(OWN, "Input should be a string")
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise PydanticCustomError(OWN, "Input should be a string or a list of strings")
    for index, one in enumerate(value):
        if isinstance(one, (int, list)):
            raise PydanticCustomError(
                OWN,
                "Token ids are not taken, because their tokenizer is not known; send texts. In "
                "langchain-openai, set check_embedding_ctx_length=False",
            )
        if not isinstance(one, str):
            raise PydanticCustomError(OWN, f"Item {index} should be a string")
    return value


#: A string, or an object with a string in `text`, as Cohere's clients send it.
Text = Annotated[
    str,
    BeforeValidator(_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "properties": {"text": {"type": "string"}}},
            ]
        }
    ),
]

#: A string or a list of strings.
Texts = Annotated[
    list[str],
    BeforeValidator(_texts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
