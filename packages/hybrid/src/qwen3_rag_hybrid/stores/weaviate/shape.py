"""The configuration of a Weaviate collection: how it is made, checked, and where the record is."""

from __future__ import annotations

import json
from typing import Any

from weaviate.classes.config import (
    Configure,
    DataType,
    Reconfigure,
    StopwordsPreset,
    Tokenization,
    VectorDistances,
)

from qwen3_rag.errors import InputError, StoreError
from qwen3_rag.lexical import BM25Encoder
from qwen3_rag.search import DENSE
from qwen3_rag_hybrid.stores.findings import Finding, tenant_finding
from qwen3_rag_hybrid.stores.record import CollectionRecord
from qwen3_rag_hybrid.stores.short import SHORT, missing_short
from qwen3_rag_hybrid.stores.weaviate.foreign import ForeignLayout
from qwen3_rag_hybrid.stores.weaviate.layout import PROPERTIES, TERMS, field_property
from qwen3_rag_hybrid.stores.weaviate.layouts import Layout, OwnLayout

__all__ = ["changes", "check_shape", "encoder_of", "make", "read_record"]

_RECORD = "qwen3_rag: "
# With the server's own 128 and 32, a search for 208 of 848 vectors never finds two to five of them:
# recall@10 is 0.982, and 0.998 with these.
_EF_CONSTRUCTION = 512
_MAX_CONNECTIONS = 64

_NEW = "Make a new collection with `create()` under another name, and add the documents again."


def make(client: Any, collection: str, layout: Layout, record: CollectionRecord) -> None:
    """Make a collection for a record."""
    if isinstance(layout, OwnLayout):
        client.collections.create(collection, **_configuration(record))
        return
    if record.short_dim is not None:
        raise InputError(
            f"`short_dim` adds a vector that {layout.framework} does not know. Leave it out, or "
            "make a collection without `layout`."
        )
    made = client.collections.create_from_dict(layout.schema(collection, _describe("", record)))
    for name, kind in record.fields.items():
        made.config.add_property(layout.field_property(name, kind))


def _configuration(record: CollectionRecord) -> dict[str, Any]:
    """Make the arguments of `client.collections.create` for a collection of our own."""
    bm25 = encoder_of(record)
    return {
        "description": _describe("", record),
        "properties": [
            *PROPERTIES.values(),
            *(field_property(name, kind) for name, kind in record.fields.items()),
        ],
        "vector_config": _vectors(record),
        "inverted_index_config": Configure.inverted_index(
            bm25_k1=bm25.k1, bm25_b=bm25.b, stopwords_preset=StopwordsPreset.NONE
        ),
        "multi_tenancy_config": Configure.multi_tenancy(
            enabled=record.tenants,
            auto_tenant_creation=record.tenants,
            auto_tenant_activation=record.tenants,
        ),
    }


def _vectors(record: CollectionRecord) -> Any:
    graph = Configure.VectorIndex.hnsw(
        distance_metric=VectorDistances.COSINE,
        ef_construction=_EF_CONSTRUCTION,
        max_connections=_MAX_CONNECTIONS,
    )
    if record.short_dim is None:
        return Configure.Vectors.self_provided(name=DENSE, vector_index_config=graph)
    # Only candidates are scored by whole vectors, so these need neither memory nor a graph.
    flat = Configure.VectorIndex.flat(distance_metric=VectorDistances.COSINE)
    return [
        Configure.Vectors.self_provided(name=SHORT, vector_index_config=graph),
        Configure.Vectors.self_provided(name=DENSE, vector_index_config=flat),
    ]


def changes(found: Any, record: CollectionRecord) -> dict[str, Any]:
    """Make the arguments of `config.update` that replace a collection's record.

    Args:
        found: The collection's configuration.
        record: The new record. The server's own BM25 gets its parameters.
    """
    bm25 = encoder_of(record)
    if not record.has_terms:  # the server's own parameters are the collection's
        return {"description": _describe(found.description or "", record)}
    changed: dict[str, Any] = {
        "description": _describe(found.description or "", record),
        "inverted_index_config": Reconfigure.inverted_index(bm25_k1=bm25.k1, bm25_b=bm25.b),
    }
    if record.tenants:
        changed["multi_tenancy_config"] = Reconfigure.multi_tenancy(
            auto_tenant_creation=True, auto_tenant_activation=True
        )
    return changed


def read_record(name: str, found: Any) -> CollectionRecord | None:
    """Read the record, which is the last line of the collection's description.

    Args:
        name: The collection's name for error messages.
        found: The collection's configuration.

    Raises:
        StoreError: The record cannot be read.
    """
    _, line = _divide(found.description or "")
    if not line:
        return None
    try:
        return CollectionRecord.from_dict(json.loads(line.removeprefix(_RECORD)))
    except (AttributeError, TypeError, ValueError) as error:
        raise StoreError(
            f"The record of {name[0].lower()}{name[1:]} cannot be read ({error}). A later release "
            "of qwen3-rag-hybrid may have written it: update this one."
        ) from error


def check_shape(name: str, found: Any, layout: Layout, record: CollectionRecord) -> list[Finding]:
    """Report problems with a collection's configuration.

    Args:
        name: The collection's name for error messages.
        found: The collection's configuration.
        layout: Where it should have what.
        record: What it should be for. The BM25 parameters of the collection's own record go first.
    """
    recorded = read_record(name, found) or record
    if isinstance(layout, ForeignLayout):
        return [
            *_check_tenants(name, found, record),
            *_check_vector(name, found, layout.dense),
            *_check_short(name, found, record),
            *_check_text(name, found, layout.searched),
            *_check_fields(name, found, layout, record),
        ]
    return [
        *_check_tenants(name, found, record),
        *_check_vector(name, found, DENSE),
        *_check_short(name, found, record),
        *_check_properties(name, found),
        *_check_bm25(name, found, recorded),
        *_check_fields(name, found, layout, record),
    ]


def encoder_of(record: CollectionRecord) -> BM25Encoder:
    """Make the encoder with the record's weights; one that is missing there has its default."""
    weights = {name: record.encoder.get(name) for name in ("k1", "b", "avg_len")}
    return BM25Encoder(**{name: float(one) for name, one in weights.items() if one is not None})


def _describe(description: str, record: CollectionRecord) -> str:
    text, _ = _divide(description)
    line = _RECORD + json.dumps(record.as_dict(), ensure_ascii=False)
    return f"{text}\n{line}" if text else line


def _divide(description: str) -> tuple[str, str]:
    """Divide a description into the user's own text and the line with the record, if any."""
    text, _, last = description.rpartition("\n")
    return (text, last) if last.startswith(_RECORD) else (description, "")


def _check_tenants(name: str, found: Any, record: CollectionRecord) -> list[Finding]:
    config = found.multi_tenancy_config
    if config.enabled != record.tenants:
        return [tenant_finding(name, has=config.enabled)]
    if record.tenants and not (config.auto_tenant_creation and config.auto_tenant_activation):
        return [
            Finding(
                "tenants",
                "warning",
                f"{name} does not make a tenant when its first document is added, or does not wake "
                "one that is inactive, so adding and searching may fail.",
                "Call `create()` again: it switches both on.",
            )
        ]
    return []


def _check_vector(name: str, found: Any, dense: str | None) -> list[Finding]:
    """Check the vector of a name; `None` is the one without a name."""
    vectors = found.vector_config or {}
    vector = found if dense is None and not vectors else vectors.get(dense)
    index = getattr(vector, "vector_index_config", None)
    if index is None:
        have = ", ".join(map(repr, vectors)) or "none"
        wanted = "vector without a name" if dense is None else f"vector named {dense!r}"
        return [
            Finding(
                "dense",
                "error",
                f"{name} has no {wanted}; its named vectors: {have}.",
                "Pass `WeaviateStore(..., dense=NAME)`." if dense is None else _NEW,
            )
        ]
    if getattr(index, "multi_vector", None) is not None:
        return [
            Finding(
                "dense", "error", f"{name} keeps several vectors per object in {dense!r}.", _NEW
            )
        ]
    metric = getattr(index, "distance_metric", None)
    if metric != VectorDistances.COSINE:
        given = getattr(metric, "value", metric)
        return [
            Finding(
                "distance", "error", f"{name} compares vectors by {given!r}, not 'cosine'.", _NEW
            )
        ]
    return []


def _check_text(name: str, found: Any, text: str) -> list[Finding]:
    """Check that the server's own BM25 searches the text."""
    properties = {one.name: one for one in found.properties}
    if text not in properties:
        return [
            Finding(
                "property",
                "error",
                f"{name} has no property {text!r} for the text; its properties are "
                f"{', '.join(map(repr, properties)) or 'none'}.",
                "Pass `WeaviateStore(..., layout=NAME, text_key=NAME)`.",
            )
        ]
    if not properties[text].index_searchable:
        return [
            Finding(
                "sparse",
                "error",
                f"The property {text!r} of {name} has no index for BM25.",
                "Make the collection with `index_searchable=True` for it.",
            )
        ]
    return []


def _check_short(name: str, found: Any, record: CollectionRecord) -> list[Finding]:
    # The size of vectors is not part of the configuration.
    has_short = SHORT in (found.vector_config or {})
    return missing_short(name, record.short_dim, record.short_dim if has_short else None)


def _check_properties(name: str, found: Any) -> list[Finding]:
    properties = {one.name: one for one in found.properties}
    findings = [
        Finding("sparse" if key == TERMS else "property", "error", message, _NEW)
        for key in PROPERTIES
        if (message := _wrong_property(name, key, properties.get(key)))
    ]
    terms = properties.get(TERMS)
    if findings or terms is None:
        return findings
    if terms.tokenization != Tokenization.WHITESPACE or not terms.index_searchable:
        return [
            Finding(
                "sparse",
                "error",
                f"The property {TERMS!r} is not searched with the tokenization 'whitespace', so "
                "the server does not find our terms in it.",
                _NEW,
            )
        ]
    return []


def _wrong_property(name: str, key: str, found: Any) -> str:
    if found is None:
        return f"{name} has no property {key!r}."
    if found.data_type != DataType.TEXT:
        return f"The property {key!r} has the type {found.data_type.value!r}, not 'text'."
    return ""


def _check_bm25(name: str, found: Any, record: CollectionRecord) -> list[Finding]:
    wanted, bm25 = encoder_of(record), found.inverted_index_config.bm25
    # The server keeps numbers of 32 bits.
    if abs(bm25.k1 - wanted.k1) < 1e-6 and abs(bm25.b - wanted.b) < 1e-6:
        return []
    return [
        Finding(
            "encoder",
            "warning",
            f"{name} computes BM25 with k1 {bm25.k1:g} and b {bm25.b:g}, and the encoder has "
            f"{wanted.k1:g} and {wanted.b:g}.",
            "Set them; nothing has to be added again: `collection.config.update("
            "inverted_index_config=Reconfigure.inverted_index("
            f"bm25_k1={wanted.k1:g}, bm25_b={wanted.b:g}))`.",
        )
    ]


def _check_fields(name: str, found: Any, layout: Layout, record: CollectionRecord) -> list[Finding]:
    properties = {one.name: one for one in found.properties}
    findings = []
    for field, kind in record.fields.items():
        have = properties.get(field)
        wanted = layout.field_property(field, kind).dataType
        if have is None:
            findings.append(
                Finding(
                    "index",
                    "warning",
                    f"{name} has no property {field!r}, so filters on that field fail.",
                    "Call `create()` again: it makes what is missing.",
                )
            )
        elif layout.has_terms and have.data_type != wanted:
            findings.append(
                Finding(
                    "index",
                    "error",
                    f"The property {field!r} has the type {have.data_type.value!r}, and the field "
                    f"{field!r} needs {wanted.value!r}.",
                    "Declare the field under another name, or make a new collection.",
                )
            )
    return findings
