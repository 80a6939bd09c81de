"""Answers to requests for no path of the server: other paths, methods and hosts."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import orjson
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from qwen3_rag_server.errors import Refusal

__all__ = ["OnlyHosts", "answer", "unrouted"]


def answer(refusal: Refusal, *, plain: bool = False) -> Response:
    """Make the answer to a request that is refused.

    Args:
        refusal: Why.
        plain: Whether the client reads errors as a text, instead of an object.
    """
    content = orjson.dumps(refusal.plain_body if plain else refusal.body)
    return Response(content, refusal.status, headers=refusal.headers, media_type="application/json")


async def unrouted(request: Request, error: Exception) -> Response:
    """Answer a request for an unknown path, or with another method than its path takes."""
    assert isinstance(error, HTTPException)
    path = f"{request.url.path!r:.120}"
    allowed = (error.headers or {}).get("Allow", "")
    if error.status_code == 405:
        refusal = Refusal(405, f"{path} takes {allowed}, got {request.method:.20}.")
    else:
        known = {getattr(route, "path", "") for route in request.app.routes}
        close = get_close_matches(request.url.path[:120], known, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        refusal = Refusal(404, f"There is no path {path}.{hint} /openapi.json has all.")
    response = answer(refusal)
    if allowed:
        response.headers["allow"] = allowed
    return response


class OnlyHosts:
    """Answers only requests that name one of the hosts; all if there are none."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        """Set what is behind."""
        self._app, self._hosts = app, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and self._hosts:
            given = Headers(scope=scope).get("host", "")
            name = given.rpartition("]")[0].lstrip("[") or given.partition(":")[0]
            if name.lower().removesuffix(".") not in self._hosts:
                refusal = Refusal(
                    400,
                    f"The request names the host {name!r:.120}, and this server answers for "
                    f"{', '.join(sorted(self._hosts))}. To be reached by other names, start it "
                    "with --host 0.0.0.0.",
                )
                await answer(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)
