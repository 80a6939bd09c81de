"""The requests of the gRPC interface, as the client's protobuf has them, and their answers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from google.protobuf.json_format import MessageToDict
from weaviate.proto.v1 import (
    aggregate_pb2,
    base_pb2,
    batch_delete_pb2,
    batch_pb2,
    properties_pb2,
    search_get_pb2,
    tenants_pb2,
)

from qwen3_rag_testkit.weaviate_stand_in.collection import Collection, Collections
from qwen3_rag_testkit.weaviate_stand_in.errors import Refused
from qwen3_rag_testkit.weaviate_stand_in.properties import Stored

__all__ = ["METHODS"]

_LIMIT = 10  # results, where a request names no number
_MOST = 10_000  # results of one request


def _search(collections: Collections, request: Any) -> Any:
    for name in ("hybrid_search", "near_object", "near_text", "group_by", "boost", "rerank"):
        if request.HasField(name):
            raise Refused(f"The stand-in does not answer requests with {name}.")
    collection = collections.find(request.collection)
    limit = request.limit or _LIMIT
    if request.offset + limit > _MOST:
        raise Refused(f"query maximum results exceeded: {request.offset + limit} > {_MOST}")
    filters = request.filters if request.HasField("filters") else None
    objects = collection.passing(request.tenant, filters)
    if request.after and filters is not None:
        raise Refused("cursor api: invalid 'after' parameter: where cannot be set with after")
    found: Sequence[tuple[Stored, dict[str, Any]]]
    if request.HasField("near_vector"):
        near = request.near_vector
        [name] = near.targets.target_vectors or near.target_vectors or [""]
        packed = near.vectors[0].vector_bytes if near.vectors else near.vector_bytes
        hits = collection.nearest(objects, name, np.frombuffer(packed, dtype="<f4"))
        most = near.distance if near.HasField("distance") else np.inf
        if near.HasField("certainty"):
            most = 2 * (1 - near.certainty)
        found = [
            (one, {"distance": distance, "distance_present": True})
            for one, distance in hits
            if distance <= most
        ]
    elif request.HasField("bm25_search"):
        asked = request.bm25_search
        scored = collection.bm25(request.tenant, objects, asked.query, asked.properties)
        found = [(one, {"score": score, "score_present": True}) for one, score in scored]
    else:
        found = [(one, {}) for one in objects if one.uuid > request.after]
    page = found[request.offset : request.offset + limit]
    return search_get_pb2.SearchReply(
        results=[_result(collection, request, one, metadata) for one, metadata in page]
    )


def _result(collection: Collection, request: Any, one: Stored, metadata: Mapping[str, Any]) -> Any:
    wanted = request.metadata
    named = [name for name in one.vectors if name and (wanted.vector or name in wanted.vectors)]
    everything = (
        not request.HasField("properties") or request.properties.return_all_nonref_properties
    )
    names = (
        [each["name"] for each in collection.config["properties"]]
        if everything
        else request.properties.non_ref_properties
    )
    fields = {
        name: _value(collection.property(name)["dataType"][0], one.properties.get(name))
        for name in names
    }
    return search_get_pb2.SearchResult(
        properties=search_get_pb2.PropertiesResult(
            non_ref_props=properties_pb2.Properties(fields=fields),
            target_collection=request.collection,
        ),
        metadata=search_get_pb2.MetadataResult(
            id=one.uuid,
            id_as_bytes=UUID(one.uuid).bytes,
            vector_bytes=one.vectors[""].tobytes() if wanted.vector and "" in one.vectors else b"",
            vectors=[
                base_pb2.Vectors(
                    name=name,
                    vector_bytes=one.vectors[name].tobytes(),
                    type=base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32,
                )
                for name in named
            ],
            **metadata,
        ),
    )


def _value(kind: str, value: Any) -> Any:
    """Encode a property's value by its type."""
    if value is None:
        return properties_pb2.Value(null_value=0)
    single = kind.removesuffix("[]")
    name = {"boolean": "bool"}.get(single, single)
    if single == kind:
        encoded: dict[str, Any] = {f"{name}_value": int(value) if name == "int" else value}
        return properties_pb2.Value(**encoded)
    letter = {"int": "q", "number": "d"}.get(name)
    values = struct.pack(f"<{len(value)}{letter}", *value) if letter else value
    listed = properties_pb2.ListValue(**{f"{name}_values": {"values": values}})
    return properties_pb2.Value(list_value=listed)


def _write(collections: Collections, request: Any) -> Any:
    errors = []
    for index, given in enumerate(request.objects):
        try:
            collection = collections.find(given.collection, create=True)
            collection.put(given.tenant, _stored(collection, given))
        except Refused as refused:
            errors.append(batch_pb2.BatchObjectsReply.BatchError(index=index, error=str(refused)))
    return batch_pb2.BatchObjectsReply(errors=errors)


def _stored(collection: Collection, given: Any) -> Stored:
    given_properties = MessageToDict(given.properties.non_ref_properties)
    properties: dict[str, Any] = {
        name: value for name, value in given_properties.items() if value is not None
    }
    for name in given.properties.empty_list_props:
        properties[name] = []
    for kind in ("text", "int", "boolean", "number"):
        for each in getattr(given.properties, f"{kind}_array_properties"):
            packed = getattr(each, "values_bytes", b"")
            properties[each.prop_name] = (
                np.frombuffer(packed, dtype="<f8").tolist() if packed else list(each.values)
            )
    vectors = {one.name: np.frombuffer(one.vector_bytes, dtype="<f4") for one in given.vectors}
    if given.vector_bytes:
        name = "default" if "default" in collection.vectors else ""
        vectors[name] = np.frombuffer(given.vector_bytes, dtype="<f4")
    return Stored(str(UUID(given.uuid)), properties, vectors)


def _delete(collections: Collections, request: Any) -> Any:
    collection = collections.find(request.collection)
    found = collection.passing(request.tenant, request.filters)
    for one in found if not request.dry_run else ():
        del collection.objects(request.tenant)[one.uuid]
    return batch_delete_pb2.BatchDeleteReply(
        matches=len(found),
        successful=len(found),
        objects=[
            batch_delete_pb2.BatchDeleteObject(uuid=UUID(one.uuid).bytes, successful=True)
            for one in (found if request.verbose else ())
        ],
    )


def _aggregate(collections: Collections, request: Any) -> Any:
    filters = request.filters if request.HasField("filters") else None
    found = collections.find(request.collection).passing(request.tenant, filters)
    single = aggregate_pb2.AggregateReply.Single(objects_count=len(found))
    return aggregate_pb2.AggregateReply(single_result=single)


def _tenants(collections: Collections, request: Any) -> Any:
    collection = collections.find(request.collection)
    if not collection.has_tenants:
        name = collection.config["class"]
        raise Refused(f'could not get tenants: multi-tenancy is not enabled for class "{name}"')
    have = collection.tenants
    names = [name for name in have if not request.HasField("names") or name in request.names.values]
    status = tenants_pb2.TENANT_ACTIVITY_STATUS_ACTIVE
    return tenants_pb2.TenantsGetReply(
        tenants=[tenants_pb2.Tenant(name=name, activity_status=status) for name in names]
    )


METHODS: dict[str, Callable[[Collections, Any], Any]] = {
    "Search": _search,
    "BatchObjects": _write,
    "BatchDelete": _delete,
    "Aggregate": _aggregate,
    "TenantsGet": _tenants,
}
