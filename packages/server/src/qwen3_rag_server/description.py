"""`describe`: the server's paths as an OpenAPI description."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any

from qwen3_rag_server.operations import Operation
from qwen3_rag_server.shapes import ERROR, PLAIN_ERROR, Shape
from qwen3_rag_server.version import VERSION

__all__ = ["describe"]

_ANY = {
    "400": "A header names another host",
    "401": "The key is missing or another one",
    "405": "The path takes another method",
}
_OF_BODIES = {
    "400": "A field is missing, unknown or out of range, or a header names another host",
    "404": "The server has no such model or index",
    "408": "The body did not arrive in time",
    "413": "The body is too long, or has too many texts",
    "415": "The body is compressed",
    "422": "A field has a value that the model does not allow",
    "429": "Too many texts or bytes are waiting; `Retry-After` has the seconds",
    "500": "The model or the server failed; its log says how",
    "501": "The server cannot do this with the model that it has, or as it was installed",
    "502": "A store or another server that this one asks failed",
    "503": "The server is stopping, or the model cannot be run at the moment",
    "504": "Another server that this one asks did not answer in time",
}

#: Paths that take no body: what they give, and its type.
_PAGES = {
    "/health": ("Whether the server answers", "application/json"),
    "/.well-known/ready": ("Whether the server answers, for Weaviate", "application/json"),
    "/.well-known/live": ("Whether the server answers, for Weaviate", "application/json"),
    "/meta": ("The models and indexes, for Weaviate", "application/json"),
    "/info": ("The models and limits, as Text Embeddings Inference has it", "application/json"),
    "/v1/models": ("The models, as OpenAI has it", "application/json"),
    "/metrics": ("Measures for Prometheus", "text/plain"),
    "/openapi.json": ("This description", "application/json"),
}


def describe(operations: Sequence[Operation[Any]], page: Mapping[str, str]) -> dict[str, Any]:
    """Describe all paths.

    Args:
        operations: Those that take a body.
        page: The names of the search page's files by path.
    """
    of_page = {
        path: ("A file of the search page", mimetypes.guess_type(name)[0] or "")
        for path, name in page.items()
    }
    schemas: dict[str, Any] = {"Error": ERROR, "PlainError": PLAIN_ERROR}
    paths: dict[str, Any] = {
        path: {
            "get": {
                "summary": told,
                "responses": {
                    "200": {"description": "The answer", "content": {kind: {}}},
                    **_refusals(_ANY, _reference("Error")),
                },
            }
        }
        for path, (told, kind) in (of_page | _PAGES).items()
    }
    for one in operations:
        schema = one.body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[one.body.__name__] = schema
        error = _reference("PlainError" if one.plain_errors else "Error")
        paths.setdefault(one.path, {})["post"] = {
            "summary": one.summary,
            "requestBody": {"required": True, "content": _json(_reference(one.body.__name__))},
            "responses": {
                "200": {"description": "The answer", "content": _formats(one)},
                **_refusals(_ANY | _OF_BODIES, error),
                **_refusals({"405": _ANY["405"]}, _reference("Error")),
            },
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "qwen3-rag", "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _formats(one: Operation[Any]) -> dict[str, Any]:
    """Return the formats of an answer."""
    events: dict[str, Any] = {} if one.events is None else {"text/event-stream": {}}
    return {**_json(one.shape), **events}


def _reference(name: str) -> Shape:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(shape: Shape) -> dict[str, Any]:
    return {"application/json": {"schema": shape}}


def _refusals(statuses: dict[str, str], shape: Shape) -> dict[str, Any]:
    return {
        status: {"description": told, "content": _json(shape)} for status, told in statuses.items()
    }
