"""`Qwen3TextEmbedder`: embeds a query with an instruction."""

from __future__ import annotations

import os
from typing import Any, Self, Unpack

from haystack import component
from haystack.utils import Secret

from haystack_integrations.common.qwen3_rag.components import (
    API_KEY,
    HF_TOKEN,
    Device,
    ModelComponent,
    arguments_from,
    check_kind,
)
from qwen3_rag import InputTypeError, Qwen3Embedder
from qwen3_rag.backends import BackendSpec
from qwen3_rag.integration import AdapterOptions, check_model, with_adapter_options

__all__ = ["Qwen3TextEmbedder"]


@component
class Qwen3TextEmbedder(ModelComponent[Qwen3Embedder]):
    """Embeds a query with a Qwen3-Embedding model.

    The instruction comes before the query, as in training. Documents get none; embed them with
    `Qwen3DocumentEmbedder`.

    Example:
        ```python
        embedder = Qwen3TextEmbedder("Qwen/Qwen3-Embedding-0.6B")
        embedding = embedder.run("What is the capital of France?")["embedding"]
        ```
    """

    _kind = Qwen3Embedder

    @with_adapter_options
    def __init__(
        self,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Embedding-0.6B",
        *,
        dim: int | None = None,
        instruction: str | None = None,
        query_template: str | None = None,
        max_length: int | None = None,
        backend: BackendSpec | None = None,
        api_base_url: str | None = None,
        api_key: Secret | None = API_KEY,
        cache: str | os.PathLike[str] | None = None,
        device: Device = None,
        token: Secret | None = HF_TOKEN,
        **options: Unpack[AdapterOptions],
    ) -> None:
        """Store the arguments; nothing is imported, read or downloaded before `warm_up` or `run`.

        Args:
            model: A Hugging Face id, a `modelscope:` id, `"tiny"`, or a checkpoint folder.
            dim: Size of the vector, from 32 to the model's own, which is the default.
            instruction: What queries are for, in one English sentence. Defaults to the
                checkpoint's own, else Qwen's for web search.
            query_template: The prompt of a query, which ends in `{text}` and may have
                `{instruction}`. Defaults to the checkpoint's own, else Qwen's.
            max_length: Maximum tokens per text; longer ones are cut. Defaults to 8,192.
            backend: Runs the model instead of this process; the options of the local engine then do
                not apply.
            api_base_url: Address of a server that runs the model instead of this process; of the
                options of the local engine, `revision` alone then applies, which is any name for
                the version of the model there.
            api_key: The server's key, read with each request.
            cache: A file that keeps what was computed, for this and other processes; see
                `qwen3_rag.cache`.
            device: `"cpu"`, `"cuda:1"`, `"mps"`, several in a list to share the work, or a
                `ComponentDevice`. When omitted, it is chosen when the model is loaded, so that a
                saved pipeline runs anywhere.
            token: Access token for private repositories, read when the model is loaded.
            **options: Further options; `help(Qwen3TextEmbedder)` lists them.

        Raises:
            InputError: A value is out of range, or local options are combined with `backend`.
        """
        self.model = check_model(model)
        self.dim = dim
        self.instruction = instruction
        self.query_template = query_template
        self.max_length = max_length
        self._run_by(backend, api_base_url, api_key, cache, device, token, options)

    @classmethod
    def from_embedder(cls, embedder: Qwen3Embedder) -> Self:
        """Make a component with an embedder's model and arguments.

        The two share the weights, but are closed separately. A component made from
        `Qwen3Embedder.from_model` cannot be saved or pickled.

        Raises:
            InputTypeError: `embedder` is not a `Qwen3Embedder`.
            BackendError: The embedder was closed.
        """
        check_kind(embedder, Qwen3Embedder, "embedder")
        arguments = arguments_from(embedder)
        del arguments["document_prefix"]  # only documents get it
        return cls(**arguments)

    @component.output_types(embedding=list[float])
    def run(self, text: str, instruction: str | None = None) -> dict[str, Any]:
        """Embed a query.

        Args:
            text: The user's question, without any prompt text.
            instruction: What this query is for; defaults to the component's.

        Returns:
            `embedding`: a vector of `dim` floats, of unit length.

        Raises:
            InputError: The query or instruction is blank, or `dim` is out of range for the model.
            InputTypeError: `text` is not a string.
            MissingExtraError: PyTorch or transformers is not installed.
            ModelError: The checkpoint is missing or broken.
            BackendError: The model could not be run.
        """
        _check_text(text)
        [vector] = self.get_model().embed_queries([text], instruction=instruction)
        return {"embedding": vector.tolist()}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str, instruction: str | None = None) -> dict[str, Any]:
        """Embed a query without blocking the event loop; see `run`."""
        _check_text(text)
        [vector] = await self.get_model().aembed_queries([text], instruction=instruction)
        return {"embedding": vector.tolist()}

    def _model_arguments(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "dim": self.dim,
            "instruction": self.instruction,
            "query_template": self.query_template,
            "max_length": self.max_length,
        }


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise InputTypeError(
            f"`text` must be a string, got {type(text).__name__}. To embed a list of Documents, "
            "use Qwen3DocumentEmbedder."
        )
