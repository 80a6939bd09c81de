"""This project's own server: whole prompts and limits, with nothing left to find out here."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen3_rag._prompts import Prompt, RerankPrompt, SavedPrompts
from qwen3_rag.backends._base import UNKNOWN, Capabilities, Limits, Output
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._remote.apis.base import Answer, Api, read_numbers, read_rows
from qwen3_rag.backends._remote.http import BrokenAnswer, Refused
from qwen3_rag.errors import BackendError, InputError

__all__ = ["Own"]

BAD_REQUEST = 400  # the status


class Own(Api):
    """`/v1/prompts/embedding` and `/v1/prompts/reranking`, which take what a backend takes."""

    name = "qwen3-rag"
    tokenizer = "none"
    rows = 256
    _limits = Limits()

    async def answers(self) -> bool:
        return await self._info() is not None

    async def connect(self) -> None:
        info = await self._info()
        if info is None:
            await self.http.get("/info", must=True)  # says why, if it is a key or no server
            raise BackendError(f"{self.http.address} is no server of qwen3-rag.")
        models = info["models"]
        if self.role not in models:
            has = "embeds" if self.role == "reranking" else "reranks"
            option = "--reranker" if self.role == "reranking" else "--model"
            raise BackendError(
                f"{self.http.address} (qwen3-rag) only {has}. Start it with `qwen3-rag serve "
                f"{option} NAME`."
            )
        said = models[self.role]
        self.choose([said["model"]])
        self.capabilities = _read_capabilities(said, self.role)
        self.context = self.capabilities.context
        self.rows = min(self.rows, _count(info["max_client_batch_size"], least=1))

    def limited(self, limits: Limits) -> Own:
        """Return a copy that sends these limits."""
        twin = copy(self)
        twin._limits = limits
        return twin

    def group(self, prompt: Prompt) -> None:
        """Return nothing: any prompts can be sent together."""

    async def embed(
        self, prompts: Sequence[Prompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        return await self._run(prompts)

    async def rerank(
        self, prompts: Sequence[RerankPrompt], sequences: Sequence[TokenSequence] | None
    ) -> Answer:
        return await self._run(prompts)

    async def _run(self, prompts: Sequence[Prompt]) -> Answer:
        limits = {name: limit for name, limit in asdict(self._limits).items() if limit is not None}
        body = {"prompts": [asdict(prompt) for prompt in prompts], **limits}
        path = f"/v1/prompts/{self.role}"
        try:
            return await self.post(path, body, lambda it: _read(it, prompts, self), len(prompts))
        except Refused as error:
            if error.status != BAD_REQUEST:
                raise
            # Such as an instruction that is too long for any text to follow, as in this process.
            raise InputError(str(error)) from error

    async def _info(self) -> dict[str, Any] | None:
        info = await self.http.get("/info")
        known = isinstance(info, dict) and info.get("server") == self.name
        return info if known and isinstance(info.get("models"), dict) else None


def _read_capabilities(said: Any, role: str) -> Capabilities:
    """Read what the server says of its model.

    Raises:
        ValueError: It says something else.
    """
    saved = said["prompts"]
    prompts = SavedPrompts(
        tuple((_text(name), _text(text)) for name, text in saved["texts"]),
        _text_or_none(saved["default"]),
        _text(saved["source"]),
    )
    return Capabilities(
        model=_text(said["model"]),
        fingerprint=_text(said["fingerprint"]),
        role="reranking" if role == "reranking" else "embedding",
        dim=_count(said["dim"], least=1) if role == "embedding" else 0,
        context=_count(said["context"], least=1),
        counts_tokens=said["counts_tokens"] is True,
        prompts=prompts,
        earlier_fingerprint=_text_or_none(said["earlier_fingerprint"]),
        variant=_text_or_none(said["variant"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.80} is no text")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _count(value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{value!r:.80} is no count")
    return value


def _read(answer: Any, prompts: Sequence[Prompt], api: Own) -> Answer:
    count, capabilities = len(prompts), api.capabilities
    assert capabilities is not None
    if capabilities.dim:
        values = read_rows(answer["vectors"], count)
    else:
        values = read_numbers(answer["logits"], (count,)).astype(np.float32)
    tokens = None
    if capabilities.counts_tokens:
        tokens = _whole_numbers(answer["tokens"], count, 0)
    output = Output(
        values,
        tokens,
        _whole_numbers(answer["cut_at"], count, UNKNOWN),
        _whole_numbers(answer["query_cut_at"], count, UNKNOWN),
    )
    return Answer(values, None if tokens is None else int(tokens.sum()), output)


def _whole_numbers(values: Any, count: int, least: int) -> NDArray[np.int64]:
    """Read whole numbers.

    Raises:
        BrokenAnswer: There are others.
    """
    numbers = np.asarray(values)
    if numbers.dtype.kind != "i" or numbers.shape != (count,) or numbers.min(initial=0) < least:
        raise BrokenAnswer(f"no {count} whole numbers")
    return numbers.astype(np.int64)
