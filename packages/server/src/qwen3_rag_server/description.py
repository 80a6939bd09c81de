"""`describe`: the server's paths as an OpenAPI description."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag_server.operations import Operation
from qwen3_rag_server.version import VERSION

__all__ = ["describe"]

_REFUSALS = {
    "400": "A field is missing, unknown or out of range",
    "401": "The key is missing or another one",
    "404": "The server has no such model or index",
    "408": "The body did not arrive in time",
    "413": "The body is too long, or has too many texts",
    "422": "A field has a value that the model does not allow",
    "429": "Too many texts are waiting; `Retry-After` has the seconds",
    "501": "The server cannot do this with the model that it has",
    "503": "The server is stopping, or the model cannot be run at the moment",
}


def describe(operations: Sequence[Operation[Any]]) -> dict[str, Any]:
    """Describe the paths that take a body."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for one in operations:
        schema = one.body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[one.body.__name__] = schema
        reference = {"$ref": f"#/components/schemas/{one.body.__name__}"}
        paths[one.path] = {
            "post": {
                "summary": one.summary,
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": reference}},
                },
                "responses": {
                    "200": {"description": "The answer", "content": {"application/json": {}}},
                    **{
                        status: {"description": told, "content": {"application/json": {}}}
                        for status, told in _REFUSALS.items()
                    },
                },
            }
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
