"""llama.cpp's server: token ids for embedding, the GGUF's own template for reranking."""

from __future__ import annotations

from typing import Any

from qwen3_rag.backends._remote.apis.cohere import CohereRerank
from qwen3_rag.backends._remote.apis.openai import OpenAIEmbeddings
from qwen3_rag.backends._remote.http import Refused
from qwen3_rag.backends._remote.probe import PAIR
from qwen3_rag.errors import BackendError

__all__ = ["LlamaCpp"]


class LlamaCpp(OpenAIEmbeddings, CohereRerank):
    """`/v1/embeddings` with ids, `/v1/rerank` with texts and the template's instruction alone."""

    name = "llama.cpp"
    takes_ids = True
    instructions = False
    instruction = None

    async def answers(self) -> bool:
        return await self._model() is not None

    async def connect(self) -> None:
        model = await self._model() or {}
        self.choose([model["id"]] if "id" in model else [])
        context = (model.get("meta") or {}).get("n_ctx")
        if context is not None:
            self.context = context - 1  # an input that fills all of it is refused
        if self.role == "embedding":
            self.need()
            await self._check_pooling()

    async def _check_pooling(self) -> None:
        """Check that the server is no reranker, whose vectors are memory that was never written."""
        body = {"model": self.model, "query": PAIR.query, "documents": [PAIR.document]}
        try:
            await self.http.post(self.path, body, lambda answer: answer)
        except Refused:
            return
        raise BackendError(
            f"{self.http.address} (llama.cpp) runs a reranker. Start it with an embedding model "
            "and `--embedding --pooling last`."
        )

    async def _model(self) -> dict[str, Any] | None:
        answer = await self.http.get("/v1/models")
        try:
            found: dict[str, Any] = next(
                one for one in answer["data"] if one["owned_by"] == "llamacpp"
            )
        except (TypeError, KeyError, StopIteration):
            return None
        return found
