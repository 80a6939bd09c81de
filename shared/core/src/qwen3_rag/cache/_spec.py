"""`Cached`, the specification of a backend with a cache in front of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from qwen3_rag._inputs import check_count
from qwen3_rag._published import Role
from qwen3_rag.backends._base import Backend, BackendSpec
from qwen3_rag.errors import InputError, InputTypeError

__all__ = ["Cached"]


@dataclass(frozen=True)
class Cached(BackendSpec, kind="cached"):
    """Any backend, with a file that keeps what it computes.

    Several models, threads and processes may share one file. It holds no texts, only digests of
    them.

    Example:
        ```python
        server = Remote("http://localhost:8000")
        embedder = Qwen3Embedder(backend=Cached(server, "vectors.cache", max_bytes=2_000_000_000))
        ```

    Attributes:
        backend: Computes what is not in the file.
        path: The file, on a local disk; it is created if it does not exist.
        max_bytes: Size at which the least recently used entries are removed; `None` for no limit.
    """

    backend: BackendSpec
    path: str | os.PathLike[str]
    max_bytes: int | None = 10_000_000_000

    def __post_init__(self) -> None:
        if not isinstance(self.backend, BackendSpec):
            raise InputTypeError(
                f"`backend` must be a `BackendSpec`, got {type(self.backend).__name__}. For the "
                "local engine, give `cache=` to Qwen3Embedder or Qwen3Reranker instead."
            )
        object.__setattr__(self, "path", check_path(self.path))
        check_count(self.max_bytes, "max_bytes", 1_000_000)

    def start(self, model: str, role: Role) -> Backend:
        from qwen3_rag.cache._backend import CachedBackend

        return CachedBackend(self, model, role)

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "backend": self.backend.to_dict(),
            "path": self.path,
            "max_bytes": self.max_bytes,
        }

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Cached:
        return cls(**{**fields, "backend": BackendSpec.from_dict(fields["backend"])})


def check_path(path: object) -> str:
    """Check that a path can be that of a file, and return it as a string.

    Raises:
        InputTypeError: It is no string and no path.
        InputError: It is blank, or has characters that no path can have.
    """
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise InputTypeError(
            f"The path of a cache must be a string or a path, got {type(name).__name__}."
        )
    try:
        usable = bool(name.strip()) and b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        usable = False
    if not usable or name == ":memory:":  # which would be forgotten, and shared with nobody
        raise InputError(
            f"{name!r} cannot be the path of a cache. Give that of a file, or leave `cache` out."
        )
    return name
