"""The key of an entry: a digest of everything that decides the numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from hashlib import blake2b
from typing import Any

from qwen3_rag._prompts import Prompt
from qwen3_rag.backends._base import BackendSpec, Capabilities, Limits
from qwen3_rag.backends._local.spec import canonical

__all__ = ["keys_for"]

VERSION = 1  # of the keys and entries; another number makes all entries of a file misses


def keys_for(
    capabilities: Capabilities, backend: BackendSpec, limits: Limits
) -> Callable[[Prompt], bytes]:
    """Return the function that makes the keys of one call's prompts.

    Args:
        capabilities: The open backend's.
        backend: Its specification, all of which decides if the backend names no variant.
        limits: The limits of the call.
    """
    variant = capabilities.variant
    if variant is None:
        variant = f"specification {canonical(backend)}"
    common = blake2b(digest_size=32)
    for part in (
        VERSION,
        capabilities.fingerprint,
        variant,
        capabilities.role,
        capabilities.context,
        *astuple(limits),
    ):
        _add(common, part)

    def key(prompt: Prompt) -> bytes:
        digest = common.copy()
        _add(digest, type(prompt).__name__)
        # Different fields may give one text, and a backend may treat them differently: some servers
        # are told whether a text is a query.
        _add(digest, prompt.rendered)
        for name in prompt.__slots__:
            _add(digest, getattr(prompt, name))
        return digest.digest()

    return key


def _add(digest: Any, part: str | int | None) -> None:
    """Add a value with its type and length, so that no two sequences of values look alike."""
    data = b"" if part is None else str(part).encode("utf-8", "surrogatepass")
    digest.update(f"{type(part).__name__}:{len(data)}:".encode())
    digest.update(data)
