"""The two models that a command uses, where they run, and the models that are known."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from qwen3_rag import Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.backends import Capabilities, Role
from qwen3_rag.errors import InputError, ModelError
from qwen3_rag.integration import (
    KNOWN,
    PUBLISHED,
    TINY,
    Checkpoint,
    KnownModel,
    full_path,
    prompt_tokenizer,
    published,
    resolve_checkpoint,
)
from qwen3_rag_cli.runtime import DEFAULT_RUNTIME, HERE, Runtime
from qwen3_rag_cli.servers import chosen_server, connected, recorded_server, server_record

__all__ = ["DEFAULT_MODEL", "DEFAULT_RERANKER", "TINY", "Models", "Runtime", "known", "no_reranker"]

DEFAULT_MODEL = "Qwen/Qwen3-Embedding-0.6B"
DEFAULT_RERANKER = "Qwen/Qwen3-Reranker-0.6B"


@dataclass(frozen=True)
class Models:
    """An embedding model and a reranker. Nothing is loaded or downloaded before it is used.

    Attributes:
        embedding: The embedding model: a folder, an id or `"tiny"`.
        reranking: The reranker, in the same form; `None` where none is known to go with the
            embedding model, and none was named.
        dim: Vector size; `None` for the model's.
        runtime: Where they run.
        embedding_server: The embedding model's server; `None` to run it in this process.
        reranking_server: The reranker's server, in the same way.
    """

    embedding: str
    reranking: str | None
    dim: int | None = None
    runtime: Runtime = DEFAULT_RUNTIME
    embedding_server: Remote | None = None
    reranking_server: Remote | None = None

    @classmethod
    def chosen(
        cls,
        model: str | None,
        reranker: str | None,
        *,
        dim: int | None = None,
        runtime: Runtime = DEFAULT_RUNTIME,
        recorded: Models | None = None,
    ) -> Models:
        """Fill in values that are not given on the command line.

        Args:
            model: The value from the command line.
            reranker: The value from the command line.
            dim: The value from the command line or the index.
            runtime: Where they run.
            recorded: The models the index was made with.

        Raises:
            InputError: The options of a server cannot be used.
        """
        embedding = _absolute(model) or (recorded.embedding if recorded else DEFAULT_MODEL)
        reranking = _reranker_of(embedding)
        if recorded and embedding == recorded.embedding:
            reranking = recorded.reranking
        if reranking is None and runtime.reranking.base_url not in (None, HERE):
            reranking = DEFAULT_RERANKER  # its tokenizer; the server has the model
        reranking = _absolute(reranker) or reranking
        same = cls(embedding, reranking)
        if recorded and embedding == recorded.embedding:
            same = replace(same, embedding_server=recorded.embedding_server)
        if recorded and reranking == recorded.reranking:
            same = replace(same, reranking_server=recorded.reranking_server)
        return replace(
            same,
            dim=dim,
            runtime=runtime,
            embedding_server=chosen_server(runtime.embedding, same.embedding_server),
            reranking_server=chosen_server(runtime.reranking, same.reranking_server, "reranker-"),
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Models | None:
        """Read what `record` wrote; `None` if nothing did.

        Raises:
            StoreError: It is damaged.
        """
        if not {"model", "reranker"} <= record.keys():
            return None
        return cls(
            record["model"],
            record["reranker"],
            embedding_server=recorded_server(record.get("server")),
            reranking_server=recorded_server(record.get("reranker_server")),
        )

    def record(self, *, servers: bool) -> dict[str, Any]:
        """Return what an index keeps of its models, which is no key and no name of one.

        Args:
            servers: Whether to include addresses.
        """
        names = {"model": self.embedding, "reranker": self.reranking}
        if not servers:
            return names
        return {
            **names,
            "server": server_record(self.embedding_server),
            "reranker_server": server_record(self.reranking_server),
        }

    def embedder(self) -> Qwen3Embedder:
        """Make the embedder; one on a server is connected to.

        Raises:
            BackendError: The server does not answer, or does not run this model.
        """
        server = self.embedding_server
        model = Qwen3Embedder(self.embedding, dim=self.dim, **self._options(server))
        return connected(model, server, self.runtime.embedding)

    def reranker(self) -> Qwen3Reranker:
        """Make the reranker; one on a server is connected to.

        Raises:
            InputError: There is none.
            BackendError: The server does not answer, or does not run this model.
        """
        if self.reranking is None:
            raise InputError(no_reranker(self.embedding))
        server = self.reranking_server
        model = Qwen3Reranker(self.reranking, **self._options(server))
        return connected(model, server, self.runtime.reranking, "reranker-")

    def checkpoint(self, role: Role = "embedding") -> Checkpoint:
        """Find a checkpoint on disk, and download it if necessary, without loading weights.

        Raises:
            ModelError: It does not exist and cannot be downloaded, or cannot be run.
            InputError: There is none.
        """
        name = self.embedding if role == "embedding" else self.reranking
        if name is None:
            raise InputError(no_reranker(self.embedding))
        return resolve_checkpoint(name, role, local_files_only=self.runtime.offline)

    def is_at_hand(self) -> bool:
        """Whether the embedding model needs no download: it is on disk, or on a server."""
        if self.embedding_server is not None or os.path.isdir(self.embedding):
            return True
        try:
            resolve_checkpoint(self.embedding, "embedding", local_files_only=True)
        except ModelError:
            return False
        return True

    def identity(self, embedder: Qwen3Embedder) -> Checkpoint | Capabilities:
        """Return what has the embedding model's fingerprints, without loading weights."""
        return self.checkpoint() if self.embedding_server is None else embedder.warm_up()

    def token_counter(self) -> Callable[[str], int]:
        """Return the function that counts the embedding model's tokens.

        A model that only a server has is counted with the tokenizer of the published ones.

        Raises:
            ModelError: There is no tokenizer, and none can be downloaded.
        """
        if self.embedding_server is None:
            return prompt_tokenizer(self.checkpoint(), "embedding").count
        try:
            return prompt_tokenizer(
                resolve_checkpoint(self.embedding, "embedding", weights=False), "embedding"
            ).count
        except ModelError:
            return prompt_tokenizer(
                resolve_checkpoint(DEFAULT_MODEL, "embedding", weights=False), "embedding"
            ).count

    def check_options(self, *, reranks: bool) -> None:
        """Check that `--device` and `--dtype` apply to a model of the command.

        Args:
            reranks: Whether the command also runs the reranker.

        Raises:
            InputError: They do not.
        """
        reranks_here = reranks and self.reranking is not None and self.reranking_server is None
        here = self.embedding_server is None or reranks_here
        if not here and (self.runtime.device or self.runtime.dtype):
            raise InputError(
                "`--device` and `--dtype` are for a model in this process, and this command runs "
                "none. Leave them out, or run the model here with `--base-url none`."
            )

    def _options(self, server: Remote | None) -> dict[str, Any]:
        cache = {"cache": self.runtime.cache}
        if server is not None:
            return {"backend": server, **cache}
        return {
            "device": self.runtime.device,
            "dtype": self.runtime.dtype,
            "local_files_only": self.runtime.offline,
            **cache,
        }


def known() -> list[KnownModel]:
    """List the models that are known: Qwen's, then others made from them."""
    qwen = [
        KnownModel(
            record.name, record.role, record.dim, "Apache-2.0", "nothing", "Qwen's model cards"
        )
        for record in PUBLISHED.values()
    ]
    return [*qwen, *KNOWN]


def no_reranker(embedding: str) -> str:
    """Say that there is no reranker, and what to do."""
    return (
        f"No reranker is known to go with the model {embedding!r}, and none was named. Name one "
        f"with --reranker, such as {DEFAULT_RERANKER} (a download of 1.2 GB)."
    )


def _reranker_of(embedding: str) -> str | None:
    """Return the reranker to use with an embedding model when none is named.

    Somebody's own model gets none: a download that nobody asked for would be a surprise.
    """
    if embedding == TINY:
        return TINY
    return DEFAULT_RERANKER if published(embedding) else None


def _absolute(name: str | None) -> str | None:
    """Return a folder's full path, so that an index's record is valid in any working folder."""
    if not name or name == TINY:
        return name
    try:
        folder = full_path(name)
        return str(folder.resolve()) if folder.is_dir() else name
    except (InputError, OSError):  # opening it says what is wrong
        return name
