"""Where the models of a command run: the options, as they were given."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_RUNTIME", "HERE", "Runtime", "ServerOptions"]

#: In place of a server's address: the model runs in this process.
HERE = "none"


@dataclass(frozen=True)
class ServerOptions:
    """The options of one model on a server, `None` where they were not given.

    Attributes:
        base_url: The server's address, or `HERE`.
        api: What the server speaks.
        api_key_env: Environment variable with the key.
        model: The model's name on the server.
        revision: Any name for the version of the model there.
    """

    base_url: str | None = None
    api: str | None = None
    api_key_env: str | None = None
    model: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Runtime:
    """Where the models run.

    Attributes:
        device: A torch device; `None` to choose one.
        dtype: Number format; `None` to choose one.
        threads: Threads to compute with; `None` for one per CPU.
        offline: Whether to work without the network.
        embedding: The embedding model's server.
        reranking: The reranker's server.
        cache: A file that keeps vectors and scores; `None` for none.
    """

    device: str | None = None
    dtype: str | None = None
    threads: int | None = None
    offline: bool = False
    embedding: ServerOptions = ServerOptions()
    reranking: ServerOptions = ServerOptions()
    cache: str | None = None


DEFAULT_RUNTIME = Runtime()
