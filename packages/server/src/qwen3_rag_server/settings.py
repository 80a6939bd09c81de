"""`Settings`: the limits and keys of a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from qwen3_rag.errors import InputError
from qwen3_rag.integration import check_count

__all__ = ["Settings"]

#: The names of this machine.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server allows.

    Attributes:
        api_keys: Keys, any of which a request must name as `Authorization: Bearer KEY`; without
            any, every request is answered.
        open_hooks: Whether the paths that stores call, which send no key, are answered without one.
        hosts: Names in the header `Host` that are answered, in any case; all if empty. A server
            that only this machine reaches needs it: a page of another site could otherwise have a
            browser ask it.
        max_body: Bytes of a request's body.
        max_texts: Texts or pairs in one request.
        max_bodies: Bytes of the bodies of all requests that arrive, wait or run; a request that
            does not fit is answered with 429 and `Retry-After`.
        max_queue: Texts and pairs of all requests that wait or run; a request that does not fit is
            answered with 429 and `Retry-After`.
        body_timeout: Seconds in which a request's body must arrive.

    Raises:
        InputError: A number is out of range, or a key is empty or has other characters than
            visible ones of ASCII.
    """

    api_keys: Sequence[str] = field(default=(), repr=False)
    open_hooks: bool = False
    hosts: Sequence[str] = ()
    max_body: int = 32 * 2**20
    max_bodies: int = 256 * 2**20
    max_texts: int = 2_048
    max_queue: int = 16_384
    body_timeout: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_body", "max_bodies", "max_texts", "max_queue"):
            check_count(getattr(self, name), name, 1, required=True)
        if not self.body_timeout > 0:
            raise InputError(f"`body_timeout` must be above 0 seconds, got {self.body_timeout}.")
        for key in self.api_keys:
            if not key or not all("!" <= one <= "~" for one in key):
                raise InputError(
                    "A key of the server is empty, or has spaces or characters beyond ASCII, which "
                    "no header can hold. Choose another."
                )

    def of_this_machine(self, *names: str) -> Settings:
        """Return the settings of a server that only this machine reaches, also by `names`."""
        return self if self.hosts else replace(self, hosts=(*LOOPBACK, *names))
