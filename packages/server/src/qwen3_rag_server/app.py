"""`make_app`: the server as an ASGI application."""

from __future__ import annotations

import asyncio
import hmac
import inspect
import logging
import mimetypes
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from importlib.resources import files
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from qwen3_rag.errors import Qwen3RagError
from qwen3_rag_server.about import About
from qwen3_rag_server.apis import (
    asking,
    cohere,
    openai,
    prompts,
    reranking,
    search,
    tei,
    tokenizing,
    weaviate,
)
from qwen3_rag_server.bodies import discard, read_body, read_json
from qwen3_rag_server.description import describe
from qwen3_rag_server.errors import Refusal, refusal_of
from qwen3_rag_server.events import EventResponse
from qwen3_rag_server.metrics import Metrics
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import Operation
from qwen3_rag_server.outside import OnlyHosts, answer, unrouted
from qwen3_rag_server.queue import CLIENT_GONE, Bodies, ClientGone, Queue, until_gone
from qwen3_rag_server.settings import Settings

__all__ = ["make_app"]

log = logging.getLogger(__name__)

OPERATIONS: tuple[Operation[Any], ...] = (
    *openai.OPERATIONS,
    *reranking.OPERATIONS,
    *cohere.OPERATIONS,
    *tei.OPERATIONS,
    *tokenizing.OPERATIONS,
    *prompts.OPERATIONS,
    *weaviate.OPERATIONS,
    *search.OPERATIONS,
    *asking.OPERATIONS,
)


#: The files of the page by path; it needs no key itself, but what it asks does.
PAGE = {
    "/" if one.name == "index.html" else f"/{one.name}": one.name
    for one in files("qwen3_rag_server").joinpath("page").iterdir()
}
STOPPING = "The server is stopping, and the answer was not ready in time. Send the request again."
UNKNOWN = "The request failed in a way that is not known; see the server's log."
POLICY = "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"


def make_app(served: Served, settings: Settings | None = None) -> Starlette:
    """Make the application, for uvicorn or any other ASGI server.

    Args:
        served: The models and indexes; they stay the caller's to close.
        settings: Limits and keys.
    """
    server = _Server(served, settings or Settings())
    app = Starlette(
        routes=server.routes(),
        middleware=[Middleware(OnlyHosts, hosts=server.settings.hosts)],
        exception_handlers={HTTPException: unrouted},
    )
    app.router.redirect_slashes = False  # behind a proxy, it would send clients to another address
    return app


class _Server:
    """The routes over what is served."""

    def __init__(self, served: Served, settings: Settings) -> None:
        self.served, self.settings = served, settings
        self._queue = Queue(settings.max_queue)
        self._bodies = Bodies(settings.max_bodies)
        self._metrics = Metrics()
        self._keys = [key.encode() for key in settings.api_keys]

    def routes(self) -> list[Route]:
        """Make the routes."""
        routes = [
            Route(one.path, self._guarded(one.path, self._answering(one), one), methods=["POST"])
            for one in OPERATIONS
        ]
        about = About(self.served, self.settings)
        pages: dict[str, tuple[Callable[[], Any], bool]] = {
            "/health": (lambda: {"status": "ok"}, True),
            "/.well-known/ready": (lambda: {"status": "ok"}, True),
            "/.well-known/live": (lambda: {"status": "ok"}, True),
            "/meta": (about.meta, self.settings.open_hooks),
            "/info": (about.info, False),
            "/v1/models": (about.models, False),
            "/openapi.json": (lambda: describe(OPERATIONS, PAGE), True),
        }
        for path, (page, is_open) in pages.items():
            routes.append(Route(path, self._guarded(path, self._telling(page), is_open=is_open)))
        routes.append(Route("/metrics", self._guarded("/metrics", self._measures)))
        for path, name in PAGE.items():
            routes.append(Route(path, self._guarded(path, _file(name), is_open=True)))
        return routes

    def _guarded(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        operation: Operation[Any] | None = None,
        *,
        is_open: bool = False,
    ) -> Callable[[Request], Awaitable[Response]]:
        """Check the key, turn errors into answers, and count."""
        if operation is not None and operation.is_hook and self.settings.open_hooks:
            is_open = True
        names = operation.names if operation is not None else {}
        plain = operation is not None and operation.plain_errors

        async def guarded(request: Request) -> Response:
            begun = time.monotonic()
            until = asyncio.get_running_loop().time() + self.settings.body_timeout
            try:
                if not is_open:
                    self._check_key(request)
                response = await endpoint(request)
            except (ClientGone, ClientDisconnect):
                response = Response(status_code=CLIENT_GONE)
            except Refusal as refusal:
                response = answer(refusal, plain=plain)
                if not await discard(request, until):
                    response.headers["connection"] = "close"
            except (Exception, asyncio.CancelledError) as error:
                response = answer(_refusal(error, path, names), plain=plain)

            def count(status: int) -> None:
                self._metrics.count(path, status, time.monotonic() - begun)

            if isinstance(response, EventResponse):
                response.on_end = count
            else:
                count(response.status_code)
            return response

        return guarded

    def _answering(self, operation: Operation[Any]) -> Callable[[Request], Awaitable[Response]]:
        def refused(error: BaseException) -> Refusal:
            return _refusal(error, operation.path, operation.names)

        async def answering(request: Request) -> Response:
            with self._bodies.receive() as arrived:
                data = await read_json(request, self.settings, arrived)
                body = read_body(data, operation.body)
                texts = operation.texts(body)
                if texts > self.settings.max_texts:
                    raise Refusal(
                        413,
                        f"The request has {texts:,} texts, and this server takes "
                        f"{self.settings.max_texts:,} at once. Send them in several requests.",
                    )
                with ExitStack() as holding:
                    holding.enter_context(self._queue.admit(texts))
                    holding.enter_context(self._metrics.waiting(texts))
                    if operation.events is not None and operation.streams(body):
                        events = operation.events(self.served, body)
                        first = await until_gone(request.receive, anext(events))
                        return EventResponse(first, events, refused, holding.pop_all())
                    work = operation.answer(self.served, body)
                    return _json(await until_gone(request.receive, work))

        return answering

    def _telling(self, page: Callable[[], Any]) -> Callable[[Request], Awaitable[Response]]:
        async def telling(request: Request) -> Response:
            told = page()
            return _json(await told if inspect.isawaitable(told) else told)

        return telling

    async def _measures(self, request: Request) -> Response:
        content, kind = self._metrics.page()
        return PlainTextResponse(content, media_type=kind)

    def _check_key(self, request: Request) -> None:
        if not self._keys:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # All are compared, so that the time does not tell which one fits.
        fits = [hmac.compare_digest(given.encode(), key) for key in self._keys]
        if scheme.lower() != "bearer" or not any(fits):
            raise Refusal(
                401,
                "The request has no key, or another one. Send it as `Authorization: Bearer KEY`.",
            )


def _refusal(error: BaseException, path: str, names: Mapping[str, str]) -> Refusal:
    """Return what a request is answered with that fails in this way."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Qwen3RagError):
        return refusal_of(error, names)
    if isinstance(error, asyncio.CancelledError):  # by uvicorn, when the time to stop is over
        return Refusal(503, STOPPING, retry_after=1)
    log.error("%s failed", path, exc_info=error)
    return Refusal(500, UNKNOWN)


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    """Answer with a file of the page, which loads nothing from elsewhere."""
    kind, _ = mimetypes.guess_type(name)
    content = files("qwen3_rag_server").joinpath("page", name).read_bytes()
    headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}

    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind, headers=headers)

    return answer


def _json(value: Any) -> Response:
    content = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json")
