"""`Remote`, the specification of a model that runs on a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from qwen3_rag._inputs import check_count, check_text
from qwen3_rag._key import check_key
from qwen3_rag._published import Role
from qwen3_rag.backends._base import Backend, BackendSpec
from qwen3_rag.backends._remote.address import check_address, check_headers
from qwen3_rag.errors import InputError, InputTypeError

__all__ = ["APIS", "Remote", "plain_headers", "secrets_in"]

#: Names of the APIs: servers that one runs oneself, vendors, and what many others speak.
APIS = (
    *("qwen3-rag", "vllm", "sglang", "tei", "llama.cpp", "ollama"),
    *("dashscope", "siliconflow", "deepinfra", "openrouter"),
    *("openai", "cohere"),
)


_SECRET_WORDS = (
    *("auth", "bearer", "cookie", "credential", "jwt", "key"),
    *("passw", "secret", "session", "signature", "token"),
)


@dataclass(frozen=True)
class Remote(BackendSpec, kind="remote"):
    """A model on a server, with the same prompts, cuts and numbers as in this process.

    A plain value: it is compared, pickled and written to files, and never holds a secret there. A
    key that was given as a value is left out, so name an environment variable wherever the model is
    sent to other processes.

    Example:
        ```python
        server = Remote("http://localhost:8000", api_key_env="VLLM_API_KEY")
        embedder = Qwen3Embedder("Qwen/Qwen3-Embedding-8B", backend=server)
        ```

    Attributes:
        base_url: The server's address, with or without `/v1`.
        api: What the server speaks, such as "vllm"; a wrong name is an error that lists all. `None`
            to find out, for vendors by the host's name and else by asking; `warm_up()` logs what
            was found.
        model: The model's name on the server; `None` for the only one it has, else the name given
            to `Qwen3Embedder` or `Qwen3Reranker`.
        api_key: The key, as a string or an object that keeps one secret (pydantic's `SecretStr`,
            Haystack's `Secret`) and is asked with each request.
        api_key_env: Name of an environment variable that holds the key, instead of `api_key`. It is
            read with each request.
        revision: Any name for the version of the model on the server. Change it when the server
            gets other weights: collections and caches then tell the two apart.
        timeout: Seconds that one request may take.
        max_retries: How often a request is sent again after an error that may pass: no connection,
            a broken answer, and the statuses 408, 429 and 5xx.
        concurrency: Requests under way at the same time.
        batch_size: Texts in a request; `None` for what suits the server.
        headers: Further headers of every request. Those whose name speaks of a secret, or whose
            value begins with `Bearer` or `Basic`, are left out of pickles and files too.
    """

    base_url: str
    api: str | None = None
    model: str | None = None
    api_key: Any = field(default=None, repr=False, compare=False)
    api_key_env: str | None = None
    revision: str | None = None
    timeout: float = 60.0
    max_retries: int = 5
    concurrency: int = 8
    batch_size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        if self.api is not None and self.api not in APIS:
            raise InputError(f"`api` must be one of {', '.join(APIS)}, or None; got {self.api!r}.")
        object.__setattr__(self, "base_url", check_address(self.base_url, self.api))
        object.__setattr__(self, "headers", check_headers(self.headers))
        object.__setattr__(self, "api_key", check_key(self.api_key, self.api_key_env))
        for name, least in (("timeout", 0.0), ("max_retries", 0), ("concurrency", 1)):
            value = getattr(self, name)
            wanted = (int, float) if name == "timeout" else int
            if isinstance(value, bool) or not isinstance(value, wanted):
                raise InputTypeError(f"`{name}` must be a number, got {type(value).__name__}.")
            if value < least or (name == "timeout" and not 0 < value < float("inf")):
                raise InputError(f"`{name}` must be at least {least}, got {value}.")
        check_count(self.batch_size, "batch_size", 1)
        for name in ("model", "revision"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise InputTypeError(f"`{name}` must be a name or None, got {value!r}.")
            if value is not None:
                check_text(value, name)

    def start(self, model: str, role: Role) -> Backend:
        from qwen3_rag.backends._remote.backend import RemoteBackend

        check_text(model, "model")
        return RemoteBackend(self, model, role)

    def to_dict(self) -> dict[str, Any]:
        kept = {"api_key": None, "headers": plain_headers(self.headers)}
        values = {one.name: getattr(self, one.name) for one in fields(self)} | kept
        given = {name: value for name, value in values.items() if value not in (None, {})}
        return {"type": self.kind, **given}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "headers": plain_headers(self.headers)}

    # Copies are for this process and keep the secrets that pickles leave out.
    def __copy__(self) -> Remote:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Remote:
        return self


def plain_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that are no secrets."""
    return {name: text for name, text in headers.items() if not _is_secret(name, text)}


def secrets_in(headers: Mapping[str, str]) -> list[str]:
    """Return what must not be shown: the other headers' values, without a scheme like `Bearer`."""
    secret = [text.split() for name, text in headers.items() if _is_secret(name, text)]
    return [words[-1] for words in secret if words]


def _is_secret(name: str, text: str) -> bool:
    """Whether a header's name speaks of a secret, or its value begins with a scheme of keys."""
    return text.lower().startswith(("bearer ", "basic ")) or any(
        word in name.lower() for word in _SECRET_WORDS
    )
