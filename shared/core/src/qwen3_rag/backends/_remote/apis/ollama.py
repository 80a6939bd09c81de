"""Ollama: texts for embedding, never cut by the server; it does not rerank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag._prompts import Prompt
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, Api, read_count, read_rows
from qwen3_rag.backends._remote.items import neutral
from qwen3_rag.errors import BackendError

__all__ = ["Ollama"]

LAST_TOKEN = 3  # in a GGUF's `pooling_type`


class Ollama(Api):
    """`/api/embed` with texts."""

    name = "ollama"
    tokenizer = "used"

    async def answers(self) -> bool:
        return await self._models() is not None and await self.http.get("/api/version") is not None

    async def connect(self) -> None:
        if self.role == "reranking":
            raise BackendError(
                f"{self.http.address} is Ollama, which does not rerank. Serve the reranker with "
                "llama.cpp (the same GGUF file), vLLM or SGLang."
            )
        models = await self._models()
        if models is None:
            await self.http.get("/api/tags", must=True)  # says why, if it is a key or no server
            raise BackendError(f"{self.http.address} does not list models as Ollama does.")
        if f"{self.model}:latest" in models:
            self.model = f"{self.model}:latest"
        self.choose(list(models))
        self.fingerprint = models[self.model]
        self._check(await self._ask("/api/show", {"model": self.model}))
        # Without texts, it only loads the model. The context is that of the model as it was loaded.
        await self._ask("/api/embed", {"model": self.model, "input": []})
        running = (await self.http.get("/api/ps") or {}).get("models") or []
        self.context = next(
            (one.get("context_length") for one in running if one.get("name") == self.model), None
        )

    async def embed(
        self, prompts: Sequence[Prompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        texts = [neutral(prompt.rendered) for prompt in prompts]
        return await self.post(
            "/api/embed",
            {"model": self.model, "input": texts, "truncate": False},
            lambda answer: Answer(
                read_rows(answer["embeddings"], len(texts)), read_count(answer, "prompt_eval_count")
            ),
            len(texts),
        )

    def _check(self, shown: dict[str, Any]) -> None:
        """Check what the model's file says of itself.

        Raises:
            BackendError: It is not an embedder that reads the end token.
        """
        info = shown.get("model_info") or {}
        abilities = shown.get("capabilities") or ["embedding"]
        pooling = info.get(f"{info.get('general.architecture')}.pooling_type", LAST_TOKEN)
        if "embedding" not in abilities or pooling != LAST_TOKEN:
            raise BackendError(
                f"{self.model!r} at {self.http.address} is no embedding model that reads the last "
                f"token (capabilities {', '.join(map(repr, abilities))}, pooling {pooling}). Use "
                "one such as `ollama pull qwen3-embedding`, and its name in `Remote(model=...)`, "
                "which adapters call `served_model`."
            )
        if info.get("tokenizer.ggml.add_eos_token") is False:
            raise BackendError(
                f"{self.model!r} at {self.http.address} does not append the end token, which the "
                "vector is read from: its file has `tokenizer.ggml.add_eos_token` false. Use "
                "`ollama pull qwen3-embedding`, or convert the GGUF file anew."
            )

    async def _ask(self, path: str, body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.http.post(path, body, dict)
        return answer

    async def _models(self) -> dict[str, str | None] | None:
        """The names of all models and their digests; `None` if the server is another."""
        answer = await self.http.get("/api/tags")
        try:
            return {one["name"]: one.get("digest") for one in answer["models"]}
        except (TypeError, KeyError):
            return None
