"""`make_app`: the server as an ASGI application."""

from __future__ import annotations

import hmac
import inspect
import logging
import mimetypes
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from qwen3_rag.errors import Qwen3RagError
from qwen3_rag_server.about import About
from qwen3_rag_server.apis import (
    cohere,
    openai,
    prompts,
    reranking,
    search,
    tei,
    tokenizing,
    weaviate,
)
from qwen3_rag_server.bodies import read_body, read_json
from qwen3_rag_server.description import describe
from qwen3_rag_server.errors import Refusal, refusal_of
from qwen3_rag_server.metrics import Metrics
from qwen3_rag_server.models import Served
from qwen3_rag_server.operations import Operation
from qwen3_rag_server.queue import CLIENT_GONE, ClientGone, Queue, until_gone
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
)


#: The files of the page by path; it needs no key itself, but what it asks does.
PAGE = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
POLICY = "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"


def make_app(served: Served, settings: Settings | None = None) -> Starlette:
    """Make the application, for uvicorn or any other ASGI server.

    Args:
        served: The models and indexes; they stay the caller's to close.
        settings: Limits and keys.
    """
    server = _Server(served, settings or Settings())
    hosts = [Middleware(TrustedHostMiddleware, allowed_hosts=list(server.settings.hosts) or ["*"])]
    return Starlette(routes=server.routes(), middleware=hosts)


class _Server:
    """The routes over what is served."""

    def __init__(self, served: Served, settings: Settings) -> None:
        self.served, self.settings = served, settings
        self._queue = Queue(settings.max_queue)
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
            "/openapi.json": (lambda: describe(OPERATIONS), True),
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
        answer: Callable[[Request], Awaitable[Response]],
        operation: Operation[Any] | None = None,
        *,
        is_open: bool = False,
    ) -> Callable[[Request], Awaitable[Response]]:
        """Check the key, turn errors into answers, and count."""
        if operation is not None and operation.is_hook and self.settings.open_hooks:
            is_open = True
        names = operation.names if operation is not None else {}

        async def guarded(request: Request) -> Response:
            begun = time.monotonic()
            try:
                if not is_open:
                    self._check_key(request)
                response = await answer(request)
            except (ClientGone, ClientDisconnect):
                response = Response(status_code=CLIENT_GONE)
            except Refusal as refusal:
                response = _refused(refusal, operation)
            except Qwen3RagError as error:
                response = _refused(refusal_of(error, names), operation)
            except Exception:
                log.exception("%s %s failed", request.method, path)
                response = _refused(
                    Refusal(500, "The request failed in a way that is not known; see the log."),
                    operation,
                )
            self._metrics.count(path, response.status_code, time.monotonic() - begun)
            return response

        return guarded

    def _answering(self, operation: Operation[Any]) -> Callable[[Request], Awaitable[Response]]:
        async def answering(request: Request) -> Response:
            body = read_body(await read_json(request, self.settings), operation.body)
            texts = operation.texts(body)
            if texts > self.settings.max_texts:
                raise Refusal(
                    413,
                    f"The request has {texts:,} texts, and this server takes "
                    f"{self.settings.max_texts:,} at once. Send them in several requests.",
                )
            with self._queue.admit(texts), self._metrics.waiting(texts):
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


def _refused(refusal: Refusal, operation: Operation[Any] | None) -> Response:
    is_plain = operation is not None and operation.plain_errors
    content = orjson.dumps(refusal.plain_body if is_plain else refusal.body)
    return Response(content, refusal.status, headers=refusal.headers, media_type="application/json")
