"""The REST interface of a Qdrant server, backed by qdrant-client's local mode.

It answers the requests that `QdrantStore` sends to a server, so that server behaviour can be tested
without one. The search engine is the client's, not the server's.
"""

from __future__ import annotations

import json
import re
import threading
import warnings
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models

from qwen3_rag_testkit.http_server import LoopbackServer

__all__ = ["QdrantServer"]

VERSION = "1.20.0"

Handle: TypeAlias = "Callable[[QdrantServer, str, Any], Any]"


class QdrantServer:
    """A context manager that serves requests on a loopback port.

    Example:
        ```python
        with QdrantServer() as server:
            client = QdrantClient(url=server.url)
        ```

    Attributes:
        requests: Method and path of each request so far, `"PUT /collections/a/points"`.
        on_request: Called with each request before it is answered, on the request's own thread. If
            it raises `ConnectionError`, the connection is closed without an answer.
    """

    def __init__(self, *, most_bytes: int = 32 * 2**20, api_key: str | None = None) -> None:
        """Choose the port when it is started.

        Args:
            most_bytes: Maximum size of a request body, like a server's `max_request_size_mb`.
            api_key: The key that clients must send; `None` to let anybody in.
        """
        self.requests: list[str] = []
        self.on_request: Callable[[str], object] | None = None
        self._most_bytes = most_bytes
        self._api_key = api_key
        self._port = 0
        self._engine = QdrantClient(":memory:")
        self._indexes: dict[str, dict[str, models.PayloadIndexInfo]] = {}
        self._lock = threading.Lock()  # local mode is not thread-safe

    def __enter__(self) -> QdrantServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._engine.close()

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Serve the data that there is; after `stop` on the same port."""
        self._server = LoopbackServer(self._port, _handler(self))
        self._port = self._server.server_port

    def stop(self) -> None:
        """Stop serving; the data stay."""
        self._server.stop()

    def allows(self, api_key: str | None) -> bool:
        """Whether a request with this key is let in."""
        return self._api_key in (None, api_key)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Answer one request with a status and JSON."""
        asked = f"{method} {path}"
        self.requests.append(asked)
        if self.on_request is not None:
            self.on_request(asked)
        if asked == "GET /":
            return 200, {"title": "qdrant - vector search engine", "version": VERSION}
        if len(body) > self._most_bytes:
            limit = f"(limit: {self._most_bytes} bytes)"
            return _error(400, f"JSON payload ({len(body)} bytes) is larger than allowed {limit}.")
        for pattern, handle in _ROUTES.items():
            if match := re.fullmatch(pattern, asked):
                given = json.loads(body or b"null")
                if field := match.groupdict().get("field"):
                    given = (field, given)
                with self._lock:
                    return self._handled(handle, match["name"], given)
        return _error(404, f"The stand-in does not answer {asked}.")

    def _handled(self, handle: Handle, name: str, body: Any) -> tuple[int, Any]:
        if handle not in (_exists, _create) and not self._engine.collection_exists(name):
            return _error(404, f"Not found: Collection `{name}` doesn't exist!")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # local mode recommends a server
                result = to_jsonable_python(handle(self, name, body))
        except FileExistsError as error:
            return _error(409, f"Wrong input: {error}")
        except (ValidationError, ValueError, KeyError) as error:
            return _error(400, f"Bad request: {error}")
        return 200, {"result": result, "status": "ok", "time": 0.0}


def _error(status: int, message: str) -> tuple[int, Any]:
    return status, {"status": {"error": message}, "time": 0.0}


def _exists(server: QdrantServer, name: str, _: Any) -> Any:
    return {"exists": server._engine.collection_exists(name)}


def _info(server: QdrantServer, name: str, _: Any) -> Any:
    info = server._engine.get_collection(name)
    return info.model_copy(update={"payload_schema": server._indexes[name]})


def _create(server: QdrantServer, name: str, body: Any) -> Any:
    if server._engine.collection_exists(name):
        raise FileExistsError(f"Collection `{name}` already exists!")
    request = models.CreateCollection.model_validate(body)
    server._indexes[name] = {}
    return server._engine.create_collection(
        name,
        vectors_config=request.vectors,
        sparse_vectors_config=request.sparse_vectors,
        metadata=request.metadata,
    )


def _update(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.UpdateCollection.model_validate(body)
    return server._engine.update_collection(
        name, sparse_vectors_config=request.sparse_vectors, metadata=request.metadata
    )


def _drop(server: QdrantServer, name: str, _: Any) -> Any:
    del server._indexes[name]
    return server._engine.delete_collection(name)


def _index(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.CreateFieldIndex.model_validate(body)
    schema: Any = request.field_schema
    parameters = None if isinstance(schema, models.PayloadSchemaType) else schema
    kind = models.PayloadSchemaType(parameters.type.value if parameters else schema)
    info = models.PayloadIndexInfo(data_type=kind, params=parameters, points=0)
    server._indexes[name][request.field_name] = info
    return _done()


def _drop_index(server: QdrantServer, name: str, given: tuple[str, Any]) -> Any:
    del server._indexes[name][given[0]]
    return _done()


def _upsert(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.PointsList.model_validate(body)
    return server._engine.upsert(name, request.points)


def _add_vector(server: QdrantServer, name: str, given: tuple[str, Any]) -> Any:
    vector, body = given
    config: Any = TypeAdapter(models.VectorNameConfig).validate_python(body)
    return server._engine.create_vector_name(name, vector, config)


def _update_vectors(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.UpdateVectors.model_validate(body)
    return server._engine.update_vectors(name, request.points)


def _delete_vectors(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.DeleteVectors.model_validate(body)
    selector = models.PointIdsList(points=request.points or [])
    return server._engine.delete_vectors(name, request.vector, selector)


def _delete(server: QdrantServer, name: str, body: Any) -> Any:
    selector: Any = TypeAdapter(models.PointsSelector).validate_python(body)
    return server._engine.delete(name, selector)


def _query(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.QueryRequestBatch.model_validate(body)
    return server._engine.query_batch_points(name, request.searches)


def _query_one(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.QueryRequest.model_validate(body)
    return server._engine.query_batch_points(name, [request])[0]


def _scroll(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.ScrollRequest.model_validate(body)
    points, next_page = server._engine.scroll(
        name,
        scroll_filter=request.filter,
        limit=request.limit or 10,
        offset=request.offset,
        with_payload=request.with_payload or False,
        with_vectors=request.with_vector or False,
    )
    return {"points": points, "next_page_offset": next_page}


def _retrieve(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.PointRequest.model_validate(body)
    return server._engine.retrieve(
        name,
        request.ids,
        with_payload=request.with_payload or False,
        with_vectors=request.with_vector or False,
    )


def _count(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.CountRequest.model_validate(body)
    return server._engine.count(name, count_filter=request.filter, exact=True)


def _facet(server: QdrantServer, name: str, body: Any) -> Any:
    request = models.FacetRequest.model_validate(body)
    if request.key not in server._indexes[name]:
        raise ValueError(f"Index required but not found for {request.key!r}")
    limit = request.limit or 10
    return server._engine.facet(name, request.key, limit=limit, exact=True)


def _done() -> models.UpdateResult:
    return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


_NAME = "/collections/(?P<name>[^/]+)"
_ROUTES: dict[str, Handle] = {
    f"GET {_NAME}/exists": _exists,
    f"GET {_NAME}": _info,
    f"PUT {_NAME}": _create,
    f"PATCH {_NAME}": _update,
    f"DELETE {_NAME}": _drop,
    f"PUT {_NAME}/index": _index,
    f"DELETE {_NAME}/index/(?P<field>[^/]+)": _drop_index,
    f"PUT {_NAME}/vectors/(?P<field>[^/]+)": _add_vector,
    f"PUT {_NAME}/points": _upsert,
    f"PUT {_NAME}/points/vectors": _update_vectors,
    f"POST {_NAME}/points/vectors/delete": _delete_vectors,
    f"POST {_NAME}/points/delete": _delete,
    f"POST {_NAME}/points/query": _query_one,
    f"POST {_NAME}/points/query/batch": _query,
    f"POST {_NAME}/points/scroll": _scroll,
    f"POST {_NAME}/points": _retrieve,
    f"POST {_NAME}/points/count": _count,
    f"POST {_NAME}/facet": _facet,
}


def _handler(server: QdrantServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keep-alive, because the client reuses its connection

        def do_GET(self) -> None:
            self._answer()

        do_PUT = do_POST = do_PATCH = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not server.allows(self.headers.get("api-key")):
                status, answer = _error(401, "Must provide an API key or an Authorization token")
            else:
                try:
                    status, answer = server.answer(self.command, self.path.partition("?")[0], body)
                except ConnectionError:
                    self.close_connection = True
                    return
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

    return Handler
