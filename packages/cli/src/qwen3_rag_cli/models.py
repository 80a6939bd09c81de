"""The two models that a command uses, where they run, and the models that are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Role
from qwen3_rag.integration import (
    KNOWN,
    PUBLISHED,
    TINY,
    Checkpoint,
    KnownModel,
    resolve_checkpoint,
)

__all__ = ["DEFAULT_MODEL", "DEFAULT_RERANKER", "TINY", "Models", "Runtime", "known"]

DEFAULT_MODEL = "Qwen/Qwen3-Embedding-0.6B"
DEFAULT_RERANKER = "Qwen/Qwen3-Reranker-0.6B"


@dataclass(frozen=True)
class Runtime:
    """Where the models run.

    Attributes:
        device: A torch device; `None` to choose one.
        dtype: Number format; `None` to choose one.
        offline: Whether to work without the network.
    """

    device: str | None = None
    dtype: str | None = None
    offline: bool = False


@dataclass(frozen=True)
class Models:
    """An embedding model and a reranker. Nothing is loaded or downloaded before it is used.

    Attributes:
        embedding: The embedding model: a folder, an id or `"tiny"`.
        reranking: The reranker, in the same form.
        dim: Vector size; `None` for the model's.
        runtime: Where they run.
    """

    embedding: str
    reranking: str
    dim: int | None = None
    runtime: Runtime = Runtime()

    @classmethod
    def chosen(
        cls,
        model: str | None,
        reranker: str | None,
        *,
        dim: int | None = None,
        runtime: Runtime = Runtime(),
        recorded: tuple[str, str] | None = None,
    ) -> Models:
        """Fill in values that are not given on the command line.

        Args:
            model: The value from the command line.
            reranker: The value from the command line.
            dim: The value from the command line or the index.
            runtime: Where they run.
            recorded: The models the index was made with.
        """
        embedding = _absolute(model) or (recorded[0] if recorded else DEFAULT_MODEL)
        reranking = TINY if embedding == TINY else DEFAULT_RERANKER
        if recorded and embedding == recorded[0]:
            reranking = recorded[1]
        return cls(embedding, _absolute(reranker) or reranking, dim, runtime)

    def embedder(self) -> Qwen3Embedder:
        """Make the embedder."""
        return Qwen3Embedder(self.embedding, dim=self.dim, **self._options)

    def reranker(self) -> Qwen3Reranker:
        """Make the reranker."""
        return Qwen3Reranker(self.reranking, **self._options)

    def checkpoint(self, role: Role = "embedding") -> Checkpoint:
        """Find a checkpoint on disk, and download it if necessary, without loading weights.

        Raises:
            ModelError: It does not exist and cannot be downloaded, or cannot be run.
        """
        name = self.embedding if role == "embedding" else self.reranking
        return resolve_checkpoint(name, role, local_files_only=self.runtime.offline)

    @property
    def _options(self) -> dict[str, Any]:
        return {
            "device": self.runtime.device,
            "dtype": self.runtime.dtype,
            "local_files_only": self.runtime.offline,
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


def _absolute(name: str | None) -> str | None:
    """Return a folder's full path, so that an index's record is valid in any working folder."""
    if name and name != TINY and Path(name).expanduser().is_dir():
        return str(Path(name).expanduser().resolve())
    return name
