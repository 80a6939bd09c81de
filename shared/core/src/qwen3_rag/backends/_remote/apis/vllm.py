"""vLLM: token ids for embedding, and for reranking with an unchanged checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from qwen3_rag._prompts import RERANK_PREFIX, RERANK_SUFFIX, RerankPrompt
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, log_odds, read_count, read_scores
from qwen3_rag.backends._remote.apis.by_ids import ABSENT, ByIds
from qwen3_rag.backends._remote.apis.cohere import read
from qwen3_rag.backends._remote.http import Refused
from qwen3_rag.backends._remote.items import neutral
from qwen3_rag.backends._remote.probe import PAIR, expected_tokens
from qwen3_rag.errors import BackendError

__all__ = ["VLLM"]


class VLLM(ByIds):
    """`/v1/embeddings` with ids; `/generative_scoring` with ids, or `/v1/rerank`."""

    name = "vllm"
    title = "vLLM"
    embeds = "vllm serve MODEL --runner pooling"
    remedy = (
        "Start it with `--runner generate`, or with a `--chat-template` that has the roles query "
        "and document and the variable `instruction`."
    )

    @property
    def sends_texts(self) -> bool:
        return self.role == "reranking" and self._route != "ids"

    async def answers(self) -> bool:
        return await self.http.get("/version") is not None and await super().answers()

    async def connect(self) -> None:
        await super().connect()
        if self.role == "reranking":
            self._route = await self._find_route()
            if self._route == "ids" and self.context is not None:
                # A longer prompt loses its end without a word, for the token that is generated.
                self.context -= 1

    async def rerank(
        self, prompts: Sequence[RerankPrompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        assert sequences is not None
        if self._route == "ids":
            return await self.score_ids(sequences)
        return await self._rerank_texts(prompts, formatted=self._route == "formatted")

    async def _find_route(self) -> str:
        """Choose the first way to rerank that this server has, and gets right."""
        expected = expected_tokens(self.need(), [PAIR])
        if await self.has_scores():
            return "ids"
        if await self._embeds():
            raise BackendError(
                f"{self.http.address} runs {self.model!r} as an embedding model, whose /v1/rerank "
                f"answers with cosines. Start it with `vllm serve {self.model} --runner generate`."
            )
        found = []
        for formatted in (False, True):
            try:
                answer = await self._rerank_texts([PAIR], formatted=formatted)
            except Refused as error:
                raise BackendError(
                    f"{self.http.address} runs {self.model!r} in a way that does not rerank "
                    f"({error}). Start it with `vllm serve {self.model} --runner generate`."
                ) from error
            if answer.tokens == expected:
                return "formatted" if formatted else "template"
            found.append(answer.tokens)
        raise BackendError(
            f"{self.http.address} answers /v1/rerank, but not as Qwen3-Reranker: of a prompt of "
            f"{expected} tokens it read {found[0]}, so that its scores mean something else. Start "
            f"it with `vllm serve {self.model} --runner generate`, or as a classifier with the "
            "model's chat template."
        )

    async def _embeds(self) -> bool:
        try:
            await self.embed([PAIR], None)
        except Refused as error:
            if error.status not in ABSENT:
                raise
            return False
        return True

    async def score_ids(self, sequences: Sequence[TokenSequence]) -> Answer:
        return await self.post(
            "/generative_scoring",
            {**self.scoring(sequences), "add_special_tokens": False},
            lambda answer: Answer(
                log_odds(read_scores(answer["data"], len(sequences), "score")),
                read_count(answer.get("usage"), "prompt_tokens"),
            ),
            len(sequences),
        )

    async def _rerank_texts(self, prompts: Sequence[RerankPrompt], *, formatted: bool) -> Answer:
        """Use `/v1/rerank`.

        Args:
            prompts: They share query and instruction.
            formatted: Whether the server has no template and joins the two texts, so that the
                prompt's other parts are sent with them.
        """
        query, instruction = neutral(prompts[0].query), neutral(prompts[0].instruction)
        documents = [neutral(prompt.document) for prompt in prompts]
        body = {"model": self.model, "query": query, "documents": documents}
        if formatted:
            body["query"] = f"{RERANK_PREFIX}<Instruct>: {instruction}\n<Query>: {query}\n"
            body["documents"] = [f"<Document>: {text}{RERANK_SUFFIX}" for text in documents]
        else:
            body["instruction"] = instruction
        return await self.post(
            "/v1/rerank", body, lambda answer: read(answer, len(prompts)), len(prompts)
        )
