"""`Received`, an answer of a server, and reading one up to a limit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

__all__ = ["ACCEPTED", "Received", "TooLong", "receive"]

#: The compression that is asked for. What others would expand to has no limit.
ACCEPTED = "gzip, deflate"

#: Bytes that any answer may have, such as a list of models.
ALWAYS = 4 * 2**20
#: Bytes that an answer may have for each byte of the request: some servers repeat the texts, and
#: write other than ASCII characters as `\u00e9`.
REPEATED = 4


class TooLong(Exception):
    """An answer is longer than what was asked can make it, or would be when it is expanded."""


@dataclass(frozen=True)
class Received:
    """An answer.

    Attributes:
        status: The HTTP status.
        headers: The headers.
        data: The body.
    """

    status: int
    headers: httpx.Headers
    data: bytes = field(repr=False)  # a server may repeat the key

    @property
    def is_success(self) -> bool:
        """Whether the server did what was asked."""
        return 200 <= self.status < 300

    @property
    def is_redirect(self) -> bool:
        """Whether the server names another address."""
        return 300 <= self.status < 400 and "Location" in self.headers

    @property
    def text(self) -> str:
        """The body as text."""
        return self.data.decode(errors="replace")

    def json(self) -> Any:
        """Read the body as JSON.

        Raises:
            ValueError: It is none.
            RecursionError: It is nested too deep.
        """
        return json.loads(self.data)


async def receive(response: httpx.Response, room: int) -> Received:
    """Read an answer.

    Args:
        response: The answer, of which nothing but the headers has been read.
        room: Bytes that its results can have. If it is an error, what is beyond the limit is left.

    Raises:
        TooLong: There is more.
    """
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity", *ACCEPTED.split(", ")):
        raise TooLong(f"the compression {coding!r}, and {ACCEPTED} is what can be read")
    limit = ALWAYS + REPEATED * len(response.request.content) + room
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        if len(data) > limit:
            if response.is_success:
                raise TooLong(
                    f"more than {limit / 1e6:.0f} MB, which is more than the results can have"
                )
            break
    return Received(response.status_code, response.headers, bytes(data[:limit]))
