"""The JSON of a LlamaIndex node, which its vector stores keep beside the node's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["FIELDS", "fields_of_node", "read_json", "to_json"]

_TYPE = "TextNode"
_SOURCES = ("document_id", "doc_id", "ref_doc_id")  # of the document that the node is part of

#: Fields that are stored beside the JSON and the metadata.
FIELDS = frozenset({"_node_type", *_SOURCES})


def fields_of_node() -> dict[str, str]:
    """Make the fields beside the JSON, for a node that is part of no document."""
    return {"_node_type": _TYPE, **dict.fromkeys(_SOURCES, "None")}


def to_json(id_: str, text: str, metadata: Mapping[str, Any]) -> str:
    """Make the JSON of a node; LlamaIndex gives what is left out its default."""
    node = {"id_": id_, "metadata": metadata, "text": text, "class_name": _TYPE}
    return json.dumps(node, ensure_ascii=False)


def read_json(node: Any) -> tuple[str | None, dict[str, Any]]:
    """Return the text in a node's JSON, `None` if it has none, and the metadata."""
    try:
        fields = dict(json.loads(node))
        metadata = dict(fields.get("metadata") or {})
    except (TypeError, ValueError):
        return None, {}
    resource = fields.get("text_resource")
    text = fields.get("text", resource.get("text") if isinstance(resource, dict) else None)
    return text if isinstance(text, str) else None, metadata
