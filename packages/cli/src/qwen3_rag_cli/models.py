"""The two models a command works with: their names, their doors, their tokens.

Knows the core's doors and where a checkpoint lies; knows nothing of files and stores. Nothing is
read or downloaded before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Role
from qwen3_rag.backends._local.checkpoint.hub import TINY, LocalSpec, Source, check_layout, resolve

__all__ = ["DEFAULT_MODEL", "DEFAULT_RERANKER", "TINY", "Models", "Runtime", "token_counter"]

DEFAULT_MODEL = "Qwen/Qwen3-Embedding-0.6B"
DEFAULT_RERANKER = "Qwen/Qwen3-Reranker-0.6B"

Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Runtime:
    """Where the models run.

    Attributes:
        device: A torch device, `None` to choose.
        dtype: Number format, `None` to choose.
        offline: Whether to do without the network.
    """

    device: str | None = None
    dtype: str | None = None
    offline: bool = False


@dataclass(frozen=True)
class Models:
    """Which models, and how they run.

    Attributes:
        embedding: Folder, id, or `"tiny"`.
        reranking: The same for the reranker.
        dim: Size of the vectors, `None` for the model's own.
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
        """Fill in what was not asked for.

        Args:
            model: As on the command line.
            reranker: As on the command line.
            dim: As on the command line, or recorded.
            runtime: Where they run.
            recorded: What the index was made with.
        """
        embedding = _absolute(model) or (recorded[0] if recorded else DEFAULT_MODEL)
        follows = TINY if embedding == TINY else DEFAULT_RERANKER
        if recorded and embedding == recorded[0]:
            follows = recorded[1]
        return cls(embedding, _absolute(reranker) or follows, dim, runtime)

    def embedder(self) -> Qwen3Embedder:
        """Make the embedder's door."""
        return Qwen3Embedder(self.embedding, dim=self.dim, **self._settings)

    def reranker(self) -> Qwen3Reranker:
        """Make the reranker's door."""
        return Qwen3Reranker(self.reranking, **self._settings)

    def source(self, role: Role = "embedding") -> Source:
        """Find a checkpoint on this disk, downloading it if need be; loads nothing."""
        name = self.embedding if role == "embedding" else self.reranking
        return resolve(LocalSpec(name, role, local_files_only=self.runtime.offline))

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "device": self.runtime.device,
            "dtype": cast(Dtype | None, self.runtime.dtype),
            "local_files_only": self.runtime.offline,
        }


def token_counter(source: Source) -> Callable[[str], int]:
    """Give a function that counts the tokens the checkpoint makes of a text.

    Raises:
        ModelError: It is no embedding model, or its tokenizer cannot be read.
    """
    from qwen3_rag.backends._local.model.tokens import Tokens

    check_layout(source, "embedding")
    return Tokens.from_folder(source.folder, "embedding", name=source.name).count


def _absolute(name: str | None) -> str | None:
    """A folder by its full path, so that the record of an index holds from anywhere."""
    if name and name != TINY and Path(name).expanduser().is_dir():
        return str(Path(name).expanduser().resolve())
    return name
