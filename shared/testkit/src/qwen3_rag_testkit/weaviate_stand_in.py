"""The REST and gRPC interfaces of a Weaviate server, backed by an exact search in memory.

They answer the requests that `WeaviateStore` sends through Weaviate's own client, so that it can be
tested without a server. Hybrid queries, groups, references, modules and aliases are not there.
"""

from __future__ import annotations

import json
import re
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any
from uuid import UUID

import grpc
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
    weaviate_pb2_grpc,
)

from qwen3_rag_testkit.http_server import LoopbackServer
from qwen3_rag_testkit.weaviate_engine import Collection, Refused, Stored, capitalised

__all__ = ["WeaviateStandIn"]

VERSION = "1.39.0"

_LIMIT = 10  # results, where a request names no number
_MOST = 10_000  # results of one request
_MOST_BYTES = 104_858_000  # of one request


class WeaviateStandIn:
    """A context manager that serves requests on two loopback ports.

    Example:
        ```python
        with WeaviateStandIn() as server:
            client = weaviate.connect_to_local(port=server.port, grpc_port=server.grpc_port)
        ```

    Attributes:
        port: Port of the REST interface.
        grpc_port: Port of the gRPC interface.
    """

    def __init__(self, *, api_key: str | None = None) -> None:
        """Choose ports when it is started.

        Args:
            api_key: The key that clients must send; `None` to let anybody in.
        """
        self.port = self.grpc_port = 0
        self._api_key = api_key
        self._collections: dict[str, Collection] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> WeaviateStandIn:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve the data that there is; after `stop` on the same ports."""
        self._rest = LoopbackServer(self.port, _handler(self))
        self.port = self._rest.server_port
        self._grpc = grpc.server(
            ThreadPoolExecutor(8, thread_name_prefix="weaviate-stand-in"),
            options=[
                ("grpc.max_receive_message_length", _MOST_BYTES),
                ("grpc.max_send_message_length", _MOST_BYTES),
            ],
        )
        weaviate_pb2_grpc.add_WeaviateServicer_to_server(_Servicer(self), self._grpc)
        self._grpc.add_generic_rpc_handlers([_HEALTH])
        self.grpc_port = self._grpc.add_insecure_port(f"127.0.0.1:{self.grpc_port}")
        self._grpc.start()

    def stop(self) -> None:
        """Stop serving; the data stay."""
        self._rest.stop()
        self._grpc.stop(None).wait()

    def collection(self, name: str) -> Collection:
        """Look up a collection."""
        found = self._collections.get(capitalised(name))
        if found is None:
            raise Refused(f"could not find class {capitalised(name)} in schema")
        return found

    def allows(self, authorization: str | None) -> bool:
        """Whether a request with this header is let in."""
        return self._api_key is None or authorization == f"Bearer {self._api_key}"

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Answer a REST request with a status and JSON."""
        asked = f"{method} {path}"
        for pattern, handle in _ROUTES.items():
            if match := re.fullmatch(pattern, asked):
                try:
                    with self._lock:
                        found = match.groupdict()
                        return handle(self, found.get("name", ""), found.get("tenant", body))
                except Refused as refused:
                    return 422, {"error": [{"message": str(refused)}]}
        return 404, None

    def _meta(self, _: str, body: Any) -> tuple[int, Any]:
        return 200, {
            "version": VERSION,
            "hostname": f"http://127.0.0.1:{self.port}",
            "grpcMaxMessageSize": _MOST_BYTES,
            "modules": {},
        }

    def _ready(self, _: str, body: Any) -> tuple[int, Any]:
        return 200, None

    def _schema(self, _: str, body: Any) -> tuple[int, Any]:
        return 200, {"classes": [one.config for one in self._collections.values()]}

    def _create(self, _: str, body: Any) -> tuple[int, Any]:
        made = Collection.made(body)
        name = made.config["class"]
        if name in self._collections:
            raise Refused(f"class name {name} already exists")
        self._collections[name] = made
        return 200, made.config

    def _get(self, name: str, body: Any) -> tuple[int, Any]:
        found = self._collections.get(capitalised(name))
        return (404, None) if found is None else (200, found.config)

    def _update(self, name: str, body: Any) -> tuple[int, Any]:
        self.collection(name).config = Collection.made(body).config
        return 200, body

    def _drop(self, name: str, body: Any) -> tuple[int, Any]:
        self._collections.pop(capitalised(name), None)
        return 200, None

    def _add_property(self, name: str, body: Any) -> tuple[int, Any]:
        return 200, self.collection(name).add_property(body)

    def _has_tenant(self, name: str, tenant: Any) -> tuple[int, Any]:
        return (200 if tenant in self.collection(name).tenants else 404), None

    def _add_tenants(self, name: str, body: Any) -> tuple[int, Any]:
        tenants = self._tenants(name)
        for each in body:
            tenants.setdefault(each["name"], {})
        return 200, body

    def _drop_tenants(self, name: str, body: Any) -> tuple[int, Any]:
        tenants = self._tenants(name)
        for each in body:
            tenants.pop(each, None)
        return 200, None

    def _tenants(self, name: str) -> dict[str, dict[str, Stored]]:
        collection = self.collection(name)
        if not collection.has_tenants:
            raise Refused(f'multi-tenancy is not enabled for class "{capitalised(name)}"')
        return collection.tenants


_NAME = "/v1/schema/(?P<name>[^/]+)"
_ROUTES: dict[str, Callable[[WeaviateStandIn, str, Any], tuple[int, Any]]] = {
    "GET /v1/meta": WeaviateStandIn._meta,
    "GET /v1/.well-known/(ready|live)": WeaviateStandIn._ready,
    "GET /v1/schema": WeaviateStandIn._schema,
    "POST /v1/schema": WeaviateStandIn._create,
    f"GET {_NAME}": WeaviateStandIn._get,
    f"PUT {_NAME}": WeaviateStandIn._update,
    f"DELETE {_NAME}": WeaviateStandIn._drop,
    f"POST {_NAME}/properties": WeaviateStandIn._add_property,
    f"HEAD {_NAME}/tenants/(?P<tenant>[^/]+)": WeaviateStandIn._has_tenant,
    f"POST {_NAME}/tenants": WeaviateStandIn._add_tenants,
    f"DELETE {_NAME}/tenants": WeaviateStandIn._drop_tenants,
}
# The server is healthy: a field of `grpc.health.v1.HealthCheckResponse`.
_HEALTH = grpc.method_handlers_generic_handler(
    "grpc.health.v1.Health",
    {"Check": grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")},
)


def _handler(server: WeaviateStandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keep-alive, because the client reuses its connection

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if server.allows(self.headers.get("Authorization")):
                path = self.path.partition("?")[0]
                status, answer = server.answer(self.command, path, json.loads(body or b"null"))
            else:
                status, answer = 401, {"code": 401, "message": "invalid api key"}
            payload = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    return Handler


class _Servicer:
    """The methods of the gRPC service, by their names in the protocol."""

    def __init__(self, server: WeaviateStandIn) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:
        """Find a method, for the generated code; it refuses what a test should not rely on."""
        handle = _METHODS.get(name)

        def answer(request: Any, context: Any) -> Any:
            if not self._server.allows(dict(context.invocation_metadata()).get("authorization")):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "unauthorized: invalid api key")
            if handle is None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"The stand-in has no {name}.")
            assert handle is not None  # `abort` raises
            try:
                with self._server._lock:
                    return handle(self._server, request)
            except Refused as refused:
                context.abort(grpc.StatusCode.UNKNOWN, str(refused))

        return answer


def _search(server: WeaviateStandIn, request: Any) -> Any:
    for name in ("hybrid_search", "near_object", "near_text", "group_by", "boost", "rerank"):
        if request.HasField(name):
            raise Refused(f"The stand-in does not answer requests with {name}.")
    collection = server.collection(request.collection)
    limit = request.limit or _LIMIT
    if request.offset + limit > _MOST:
        raise Refused(f"query maximum results exceeded: {request.offset + limit} > {_MOST}")
    filters = request.filters if request.HasField("filters") else None
    objects = collection.passing(request.tenant, filters)
    found: Sequence[tuple[Stored, dict[str, Any]]]
    if request.HasField("near_vector"):
        near = request.near_vector
        [name] = near.targets.target_vectors or near.target_vectors or [""]
        packed = near.vectors[0].vector_bytes if near.vectors else near.vector_bytes
        hits = collection.nearest(objects, name, np.frombuffer(packed, dtype="<f4"))
        most = near.distance if near.HasField("distance") else np.inf
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
    asked = request.properties
    everything = not request.HasField("properties") or asked.return_all_nonref_properties
    names = list(one.properties) if everything else asked.non_ref_properties
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
        return properties_pb2.Value(**{f"{name}_value": value})
    letter = {"int": "q", "number": "d"}.get(name)
    values = struct.pack(f"<{len(value)}{letter}", *value) if letter else value
    listed = properties_pb2.ListValue(**{f"{name}_values": {"values": values}})
    return properties_pb2.Value(list_value=listed)


def _write(server: WeaviateStandIn, request: Any) -> Any:
    errors = []
    for index, given in enumerate(request.objects):
        try:
            collection = server.collection(given.collection)
            collection.put(given.tenant, _stored(collection, given))
        except Refused as refused:
            errors.append(batch_pb2.BatchObjectsReply.BatchError(index=index, error=str(refused)))
    return batch_pb2.BatchObjectsReply(errors=errors)


def _stored(collection: Collection, given: Any) -> Stored:
    properties: dict[str, Any] = MessageToDict(given.properties.non_ref_properties)
    for name in given.properties.empty_list_props:
        properties[name] = []
    for kind in ("text", "int", "boolean", "number"):
        for each in getattr(given.properties, f"{kind}_array_properties"):
            packed = getattr(each, "values_bytes", b"")
            properties[each.prop_name] = (
                np.frombuffer(packed, dtype="<f8").tolist() if packed else list(each.values)
            )
    collection.guess_properties(properties)
    for name, value in properties.items():
        if collection.property(name)["dataType"] == ["int"]:
            properties[name] = int(value)
    vectors = {one.name: np.frombuffer(one.vector_bytes, dtype="<f4") for one in given.vectors}
    if given.vector_bytes:
        vectors[""] = np.frombuffer(given.vector_bytes, dtype="<f4")
    return Stored(str(UUID(given.uuid)), properties, vectors)


def _delete(server: WeaviateStandIn, request: Any) -> Any:
    collection = server.collection(request.collection)
    found = collection.passing(request.tenant, request.filters)
    for one in found if not request.dry_run else ():
        del collection.objects(request.tenant)[one.uuid]
    return batch_delete_pb2.BatchDeleteReply(matches=len(found), successful=len(found))


def _aggregate(server: WeaviateStandIn, request: Any) -> Any:
    filters = request.filters if request.HasField("filters") else None
    found = server.collection(request.collection).passing(request.tenant, filters)
    single = aggregate_pb2.AggregateReply.Single(objects_count=len(found))
    return aggregate_pb2.AggregateReply(single_result=single)


def _tenants(server: WeaviateStandIn, request: Any) -> Any:
    have = server.collection(request.collection).tenants
    names = [name for name in have if not request.HasField("names") or name in request.names.values]
    status = tenants_pb2.TENANT_ACTIVITY_STATUS_ACTIVE
    return tenants_pb2.TenantsGetReply(
        tenants=[tenants_pb2.Tenant(name=name, activity_status=status) for name in names]
    )


_METHODS: dict[str, Callable[[WeaviateStandIn, Any], Any]] = {
    "Search": _search,
    "BatchObjects": _write,
    "BatchDelete": _delete,
    "Aggregate": _aggregate,
    "TenantsGet": _tenants,
}
