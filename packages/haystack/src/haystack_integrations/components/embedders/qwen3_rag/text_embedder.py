"""`Qwen3TextEmbedder`: a query to its vector, always with an instruction.

Knows Haystack's component contract; all that is particular to the model is the core's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, Self

from haystack import component
from haystack.utils import Secret

from haystack_integrations.common.qwen3_rag.doors import (
    HF_TOKEN,
    Device,
    DoorComponent,
    check_kind,
    check_token,
    device_names,
)
from qwen3_rag import DEFAULT_INSTRUCTION, InputTypeError, Qwen3Embedder
from qwen3_rag._lazy import LazyDoor
from qwen3_rag.integration import check_model

__all__ = ["Qwen3TextEmbedder"]


@component
class Qwen3TextEmbedder(DoorComponent[Qwen3Embedder]):
    """Embeds a query with a Qwen3-Embedding model.

    The model reads the query behind its instruction, as it was trained to. Documents are embedded
    without one: by `Qwen3DocumentEmbedder`.

    Example:
        ```python
        embedder = Qwen3TextEmbedder("Qwen/Qwen3-Embedding-0.6B")
        embedding = embedder.run("What is the capital of France?")["embedding"]
        ```
    """

    _kind = Qwen3Embedder

    def __init__(
        self,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Embedding-0.6B",
        *,
        dim: int | None = None,
        instruction: str = DEFAULT_INSTRUCTION,
        max_length: int | None = None,
        revision: str | None = None,
        device: Device = None,
        dtype: Literal["float32", "bfloat16", "float16"] | None = None,
        attention: Literal["sdpa", "eager"] | None = None,
        batch_tokens: int | None = None,
        compile: bool = False,
        cache_folder: str | None = None,
        local_files_only: bool = False,
        token: Secret | None = HF_TOKEN,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep the settings; nothing is imported, read or downloaded before `warm_up` or `run`.

        Args:
            model: A Hugging Face id, `modelscope:` and an id, `"tiny"`, or a checkpoint's folder.
            dim: Size of the vector, from 32 to the model's own, which is the default.
            instruction: What queries are for, one English sentence.
            max_length: Tokens per text; longer ones are cut. Defaults to 8,192.
            revision: Branch, tag or commit; published models default to a pinned commit.
            device: `"cpu"`, `"cuda:1"`, `"mps"`, several in a list to share the work, or a
                `ComponentDevice`. Chosen when the model is loaded if omitted, so that a saved
                pipeline runs anywhere.
            dtype: Number format of the weights; chosen by device if omitted.
            attention: `"sdpa"` (the default) or `"eager"`.
            batch_tokens: Tokens per batch; chosen by device if omitted.
            compile: Whether torch compiles parts of the model, ten seconds at the first load.
            cache_folder: Where downloads are kept.
            local_files_only: Whether to do without the network.
            token: Access token for private repositories, read when the model is loaded.
            model_kwargs: Further arguments of transformers' `from_pretrained`.

        Raises:
            InputError: A value out of its range.
        """
        self.model = check_model(model)
        self.dim = dim
        self.instruction = instruction
        self.max_length = max_length
        self.revision = revision
        self.device = device_names(device)
        self.dtype = dtype
        self.attention = attention
        self.batch_tokens = batch_tokens
        self.compile = compile
        self.cache_folder = cache_folder
        self.local_files_only = local_files_only
        self.token = check_token(token)
        self.model_kwargs = None if model_kwargs is None else dict(model_kwargs)
        self._door = self._lazy_door()

    @classmethod
    def from_embedder(cls, embedder: Qwen3Embedder) -> Self:
        """Use an embedder that is open already, such as one from `Qwen3Embedder.from_model`.

        It stays yours to close, and the component cannot be saved in a pipeline.

        Raises:
            InputTypeError: Not a `Qwen3Embedder`.
        """
        check_kind(embedder, Qwen3Embedder, "embedder")
        made = cls(**embedder.own_settings)
        made._door = LazyDoor(embedder)
        return made

    @component.output_types(embedding=list[float])
    def run(self, text: str, instruction: str | None = None) -> dict[str, Any]:
        """Embed a query.

        Args:
            text: The user's question, without any prompt text around it.
            instruction: What this query is for; the component's own when omitted.

        Returns:
            `embedding`: as many floats as `dim`, of unit length.

        Raises:
            InputError: A blank query or instruction, or `dim` out of the model's range.
            InputTypeError: Not a string.
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run.
        """
        _check_text(text)
        [vector] = self._open().embed_queries([text], instruction=instruction)
        return {"embedding": vector.tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str, instruction: str | None = None) -> dict[str, Any]:
        """Embed a query without blocking the event loop; see `run`."""
        _check_text(text)
        [vector] = await self._open().aembed_queries([text], instruction=instruction)
        return {"embedding": vector.tolist()}


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise InputTypeError(
            f"`text` must be a string, got {type(text).__name__}. To embed a list of Documents, "
            "use Qwen3DocumentEmbedder."
        )
