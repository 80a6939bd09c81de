"""What vLLM and SGLang have in common: models listed by an owner, and reranking with ids."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from qwen3_rag.backends._base import Limits
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer
from qwen3_rag.backends._remote.apis.openai import OpenAIEmbeddings
from qwen3_rag.backends._remote.http import Refused
from qwen3_rag.backends._remote.probe import PAIR, TEXTS, check_vectors
from qwen3_rag.errors import BackendError

__all__ = ["ABSENT", "ByIds"]

#: Statuses of a server that does not have a path, or not for its model.
ABSENT = (400, 404, 405, 501)


class ByIds(OpenAIEmbeddings):
    """`/v1/embeddings` with ids, and a path that scores the next token behind ids.

    Attributes:
        title: The server's name in messages.
        embeds: The command, or its option, that makes the server embed.
    """

    takes_ids = True
    rows = 256
    title: ClassVar[str]
    embeds: ClassVar[str]

    async def answers(self) -> bool:
        return await self._models() is not None

    async def connect(self) -> None:
        models = await self._models()
        if models is None:
            await self.http.get("/v1/models", must=True)  # says why, if it is a key or no server
            raise BackendError(f"{self.http.address} does not list models as {self.title} does.")
        self.choose(list(models))
        self.context = models[self.model]
        self.need()
        if self.role == "embedding":
            await self._check_texts()

    async def _check_texts(self) -> None:
        """Check that the server's own tokenizer is the checkpoint's.

        Ids alone do not tell an embedder from a reranker of the same size, whose tokenizer appends
        no end token.
        """
        try:
            answer = await self.embed(TEXTS, None)
        except Refused as error:
            if error.status not in ABSENT:
                raise
            raise BackendError(
                f"{self.http.address} runs {self.model!r} in a way that does not embed ({error}). "
                f"Start it with `{self.embeds}`."
            ) from error
        if self.need().tokenizer.appends_end:
            server = f"{self.http.address} ({self.name})"
            check_vectors(server, answer.values, answer.tokens, self.need())

    @abstractmethod
    async def score_ids(self, sequences: Sequence[TokenSequence]) -> Answer:
        """Score prompts that share a prefix, by the shares of both answers as the next token."""

    async def has_scores(self) -> bool:
        """Whether the server has the path that `score_ids` uses."""
        encoded = self.need().tokenizer.encode([PAIR], Limits(), self.need().context)
        try:
            await self.score_ids([one.sequence for one in encoded])
        except Refused as error:
            if error.status not in ABSENT:
                raise
            return False
        return True

    def scoring(self, sequences: Sequence[TokenSequence]) -> dict[str, Any]:
        """Make the request's fields."""
        tokenizer = self.need().tokenizer
        return {
            "model": self.model,
            "query": list(sequences[0].prefix),
            "items": [list(one.ids) for one in sequences],
            "label_token_ids": [tokenizer.yes, tokenizer.no],
            "apply_softmax": True,
            "item_first": False,
        }

    async def _models(self) -> dict[str, int | None] | None:
        """The served models and their longest inputs; `None` if the server is another."""
        answer = await self.http.get("/v1/models")
        try:
            return {
                one["id"]: one.get("max_model_len")
                for one in answer["data"]
                if one["owned_by"] == self.name
            } or None
        except (TypeError, KeyError):
            return None
