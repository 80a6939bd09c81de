"""Text Embeddings Inference: token ids for embedding; it does not run Qwen3-Reranker.

It decodes ids and encodes the text again, so control tokens in texts have to be changed here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag._prompts import EmbedPrompt, Prompt
from qwen3_rag.backends._base import Limits
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, Api, read_rows, read_vectors
from qwen3_rag.backends._remote.items import neutral
from qwen3_rag.backends._remote.probe import TEXTS, check_vectors
from qwen3_rag.errors import BackendError

__all__ = ["TEI"]


class TEI(Api):
    """`/embed` with ids. Nothing is cut by the server."""

    name = "tei"
    takes_ids = True
    sends_texts = True

    async def answers(self) -> bool:
        return await self._info() is not None

    async def connect(self) -> None:
        info = await self._info() or await self.http.get("/info", must=True)
        if self.role == "reranking":
            raise BackendError(
                f"{self.http.address} is Text Embeddings Inference, which does not run "
                "Qwen3-Reranker. Use vLLM, SGLang or llama.cpp."
            )
        self.need()
        pooling = (info["model_type"].get("embedding") or {}).get("pooling")
        if pooling != "last_token":
            raise BackendError(
                f"{self.http.address} (tei) does not read vectors from the last token: its pooling "
                f"is {pooling!r}. Start it with `--pooling last-token` and an embedding model."
            )
        self.context = info.get("max_input_length")
        self.rows = info.get("max_client_batch_size") or 32
        self.tokens = info.get("max_batch_tokens") or 16_384
        if (sha := info.get("model_sha")) is not None:
            self.fingerprint = f"{info.get('model_id')}@{sha}"
        await self._check()

    async def embed(
        self, prompts: Sequence[Prompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        assert sequences is not None
        ids = self._ids(prompts, sequences)
        body = {"inputs": ids, "truncate": False, "normalize": True}
        return await self.post(
            "/embed", body, lambda answer: Answer(read_rows(answer, len(prompts))), len(prompts)
        )

    async def _check(self) -> None:
        """Check by the other path, which counts tokens, that the server adds no prompt."""
        tokenizer, context = self.need().tokenizer, self.need().context
        sequences = [one.sequence for one in tokenizer.encode(TEXTS, Limits(), context)]
        body = {"model": self.model, "input": self._ids(TEXTS, sequences)}
        found = await self.post(
            "/v1/embeddings", body, lambda it: read_vectors(it, len(TEXTS)), len(TEXTS)
        )
        server = f"{self.http.address} ({self.name})"
        check_vectors(server, found.values, found.tokens, self.need())

    def _ids(
        self, prompts: Sequence[Prompt], sequences: Sequence[TokenSequence]
    ) -> list[list[int]]:
        encode, context = self.need().tokenizer.encode, self.need().context
        rows = []
        for prompt, one in zip(prompts, sequences, strict=True):
            text = neutral(prompt.rendered)
            if text != prompt.rendered:
                [encoded] = encode([EmbedPrompt(text)], Limits(), context)
                one = encoded.sequence
            rows.append([*one.prefix, *one.ids])
        return rows

    async def _info(self) -> dict[str, Any] | None:
        info = await self.http.get("/info")
        known = isinstance(info, dict) and isinstance(info.get("model_type"), dict)
        return info if known else None
