"""`WeaviateStandIn`, which serves requests over REST and gRPC."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import grpc
from weaviate.proto.v1 import weaviate_pb2_grpc

from qwen3_rag_testkit.http_server import LoopbackServer
from qwen3_rag_testkit.weaviate_stand_in.collection import Collection, Collections
from qwen3_rag_testkit.weaviate_stand_in.errors import Refused
from qwen3_rag_testkit.weaviate_stand_in.messages import METHODS

__all__ = ["WeaviateStandIn"]

VERSION = "1.39.0"

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
        self._collections = Collections()
        self._lock = threading.Lock()

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

    def allows(self, authorization: str | None) -> bool:
        """Whether a request with this header is let in."""
        return self._api_key is None or authorization == f"Bearer {self._api_key}"

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Answer a REST request with a status and JSON."""
        for pattern, handle in _ROUTES.items():
            if match := re.fullmatch(pattern, f"{method} {path}"):
                try:
                    with self._lock:
                        return 200, handle(self._collections, *match.groups(), body)
                except LookupError:
                    return 404, None
                except Refused as refused:
                    return 422, {"error": [{"message": str(refused)}]}
        return 404, None

    def call(self, name: str, request: Any, context: Any) -> Any:
        """Answer a gRPC request."""
        if not self.allows(dict(context.invocation_metadata()).get("authorization")):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "unauthorized: invalid api key")
        if name not in METHODS:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"The stand-in has no {name}.")
        try:
            with self._lock:
                return METHODS[name](self._collections, request)
        except Refused as refused:
            context.abort(grpc.StatusCode.UNKNOWN, str(refused))


def _meta(collections: Collections, body: Any) -> Any:
    return {"version": VERSION, "grpcMaxMessageSize": _MOST_BYTES, "modules": {}}


def _ready(collections: Collections, kind: str, body: Any) -> Any:
    return None


def _schema(collections: Collections, body: Any) -> Any:
    return {"classes": [one.config for one in collections.by_name.values()]}


def _create(collections: Collections, body: Any) -> Any:
    return collections.create(body).config


def _get(collections: Collections, name: str, body: Any) -> Any:
    return collections.by_name[collections.resolve(name)].config


def _update(collections: Collections, name: str, body: Any) -> Any:
    collections.find(name).config = Collection.made(body).config
    return body


def _drop(collections: Collections, name: str, body: Any) -> Any:
    collections.drop(name)


def _add_property(collections: Collections, name: str, body: Any) -> Any:
    return collections.find(name).add_property(body)


def _add_tenants(collections: Collections, name: str, body: Any) -> Any:
    tenants = _tenants(collections, name)
    for each in body:
        tenants.setdefault(each["name"], {})
    return body


def _has_tenant(collections: Collections, name: str, tenant: str, body: Any) -> Any:
    if tenant not in collections.find(name).tenants:
        raise LookupError(tenant)
    return {"name": tenant}


def _drop_tenants(collections: Collections, name: str, body: Any) -> Any:
    tenants = _tenants(collections, name)
    for each in body:
        tenants.pop(each, None)


def _tenants(collections: Collections, name: str) -> dict[str, Any]:
    collection = collections.find(name)
    if not collection.has_tenants:
        raise Refused(f'multi-tenancy is not enabled for class "{collection.name}"')
    return collection.tenants


def _alias(collections: Collections, alias: str, body: Any) -> Any:
    return {"alias": alias, "class": collections.aliases[alias]}


def _add_alias(collections: Collections, body: Any) -> Any:
    return _move_alias(collections, body["alias"], body)


def _move_alias(collections: Collections, alias: str, body: Any) -> Any:
    collections.aliases[alias] = collections.find(body["class"]).name
    return _alias(collections, alias, body)


_NAME = "/v1/schema/([^/]+)"
_ALIAS = "/v1/aliases/([^/]+)"
_ROUTES: dict[str, Callable[..., Any]] = {
    "GET /v1/meta": _meta,
    "GET /v1/.well-known/(ready|live)": _ready,
    "GET /v1/schema": _schema,
    "POST /v1/schema": _create,
    f"GET {_NAME}": _get,
    f"PUT {_NAME}": _update,
    f"DELETE {_NAME}": _drop,
    f"POST {_NAME}/properties": _add_property,
    f"POST {_NAME}/tenants": _add_tenants,
    f"DELETE {_NAME}/tenants": _drop_tenants,
    f"(?:GET|HEAD) {_NAME}/tenants/([^/]+)": _has_tenant,
    "POST /v1/aliases": _add_alias,
    f"GET {_ALIAS}": _alias,
    f"PUT {_ALIAS}": _move_alias,
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
            empty = answer is None or self.command == "HEAD"
            payload = b"" if empty else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    return Handler


class _Servicer:
    """The methods of the gRPC service, which the generated code looks up by name."""

    def __init__(self, server: WeaviateStandIn) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return partial(self._server.call, name)
