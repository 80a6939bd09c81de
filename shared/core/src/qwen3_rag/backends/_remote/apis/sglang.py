"""SGLang: token ids for embedding, and for reranking by the shares of two next tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag._prompts import DEFAULT_INSTRUCTION, RerankPrompt
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, log_odds, read_numbers, read_scores
from qwen3_rag.backends._remote.apis.by_ids import ByIds
from qwen3_rag.backends._remote.items import neutral
from qwen3_rag.errors import BackendError

__all__ = ["SGLang"]


class SGLang(ByIds):
    """`/v1/embeddings` and `/v1/score` with ids, else `/v1/rerank` with texts."""

    name = "sglang"
    title = "SGLang"
    embeds = "--is-embedding"
    remedy = (
        "Start it with SGLang's own `--chat-template examples/chat_template/qwen3_reranker.jinja`, "
        "or with a version that has /v1/score."
    )

    @property
    def sends_texts(self) -> bool:
        return self.role == "reranking" and not self._scores_ids

    async def connect(self) -> None:
        await super().connect()
        if self.role == "reranking":
            self._scores_ids = await self._has_score()

    async def rerank(
        self, prompts: Sequence[RerankPrompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        assert sequences is not None
        if self._scores_ids:
            return await self.score_ids(sequences)
        return await self._rerank_texts(prompts)

    async def _has_score(self) -> bool:
        info = await self.http.get("/model_info")
        if isinstance(info, dict) and info.get("is_generation") is False:
            raise BackendError(
                f"{self.http.address} runs {self.model!r} as an embedding model, which does not "
                "rerank. Start it without `--is-embedding`."
            )
        return await self.has_scores()

    async def score_ids(self, sequences: Sequence[TokenSequence]) -> Answer:
        return await self.post(
            "/v1/score",
            self.scoring(sequences),
            lambda answer: _read_shares(answer, len(sequences)),
            len(sequences),
        )

    async def _rerank_texts(self, prompts: Sequence[RerankPrompt]) -> Answer:
        first = prompts[0]
        body: dict[str, Any] = {
            "query": neutral(first.query),
            "documents": [neutral(prompt.document) for prompt in prompts],
            "return_documents": False,
        }
        if first.instruction != DEFAULT_INSTRUCTION:
            body["instruct"] = neutral(first.instruction)
        return await self.post(
            "/v1/rerank", body, lambda answer: _read_ranks(answer, len(prompts)), len(prompts)
        )


def _read_shares(answer: Any, count: int) -> Answer:
    """Read the shares of both answers; only their order tells which text is meant."""
    return Answer(log_odds(read_numbers(answer["scores"], (count, 2))[:, 0]))


def _read_ranks(answer: Any, count: int) -> Answer:
    """Read a bare list."""
    tokens = [(one.get("meta_info") or {}).get("prompt_tokens") for one in answer]
    known = [number for number in tokens if isinstance(number, int)]
    total = sum(known) if len(known) == count else None
    return Answer(log_odds(read_scores(answer, count, "score")), total)
