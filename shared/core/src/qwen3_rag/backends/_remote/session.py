"""`Session`: one model on one server, from the first use to closing. Runs on the requests' loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qwen3_rag._prompts import DEFAULT_INSTRUCTION, Prompt, SavedPrompts
from qwen3_rag._published import CONTEXT, Role
from qwen3_rag._results import FloatArray
from qwen3_rag.backends._base import Capabilities, Limits, Output
from qwen3_rag.backends._checkpoint.description import Description, describe
from qwen3_rag.backends._checkpoint.hub import Source
from qwen3_rag.backends._remote.address import vendor
from qwen3_rag.backends._remote.apis.base import Answer, Api
from qwen3_rag.backends._remote.apis.cohere import Cohere
from qwen3_rag.backends._remote.apis.dashscope import DashScope
from qwen3_rag.backends._remote.apis.deepinfra import DeepInfra
from qwen3_rag.backends._remote.apis.llama_cpp import LlamaCpp
from qwen3_rag.backends._remote.apis.ollama import Ollama
from qwen3_rag.backends._remote.apis.openai import OpenAI
from qwen3_rag.backends._remote.apis.openrouter import OpenRouter
from qwen3_rag.backends._remote.apis.own import Own
from qwen3_rag.backends._remote.apis.sglang import SGLang
from qwen3_rag.backends._remote.apis.siliconflow import SiliconFlow
from qwen3_rag.backends._remote.apis.tei import TEI
from qwen3_rag.backends._remote.apis.vllm import VLLM
from qwen3_rag.backends._remote.http import Http
from qwen3_rag.backends._remote.items import Items, batches, encode, neutral, uncut
from qwen3_rag.backends._remote.probing import ask, probe
from qwen3_rag.backends._remote.spec import Remote
from qwen3_rag.errors import BackendError, InputError, ModelError, Qwen3RagError

__all__ = ["Session"]

logger = logging.getLogger("qwen3_rag")

#: In the order in which a server is asked; the last two speak for any other server. Vendors are
#: known by their hosts' names. This project's server answers as one of TEI too, so it is first.
KINDS: tuple[type[Api], ...] = (
    *(VLLM, SGLang, Own, TEI, LlamaCpp, Ollama),
    *(DashScope, SiliconFlow, DeepInfra, OpenRouter),
    *(OpenAI, Cohere),
)

ENCODED = 1_024  # prompts to encode at once


class Session:
    """The connection of one backend."""

    def __init__(self, spec: Remote, model: str, role: Role) -> None:
        """Store the arguments; nothing is sent before the first use."""
        self._spec, self._model, self._role = spec, model, role
        self._api = spec.api or vendor(spec.base_url)
        self._opening: asyncio.Task[tuple[Api, Capabilities]] | None = None
        self._http: Http | None = None

    async def open(self) -> Capabilities:
        """Connect unless that has been done, and describe the model."""
        _, capabilities = await self._opened()
        return capabilities

    async def run(
        self, prompts: Sequence[Prompt], limits: Limits, on_done: Callable[[int], None] | None
    ) -> Output:
        """Compute; see `Backend.run`. Equal prompts are sent once."""
        api, capabilities = await self._opened()
        places: dict[Prompt, int] = {}
        order = np.asarray(
            [places.setdefault(prompt, len(places)) for prompt in prompts], dtype=np.int64
        )
        times = np.bincount(order, minlength=len(places))
        first = np.unique(order, return_index=True)[1]
        items = await self._encoded(list(places), limits, api, capabilities)
        limited = api.limited(limits)
        empty = np.zeros((0, capabilities.dim) if capabilities.dim else 0, dtype=np.float32)
        values: list[FloatArray] = [empty] * len(places)
        tokens = np.asarray(items.lengths, dtype=np.int64)
        cut_at, query_cut_at = items.cut_at.copy(), items.query_cut_at.copy()

        async def compute(indices: Sequence[int]) -> None:
            try:
                answer = await ask(limited, items, indices)
                _check_size(answer, capabilities, api)
                _check_read(answer, items, indices, api)
            except Qwen3RagError as error:
                where = f"prompts {first[indices[0]]} to {first[indices[-1]]} of {len(prompts)}"
                raise type(error)(f"{error} This was about {where}.") from error
            for index, row in zip(indices, answer.values, strict=True):
                values[index] = row
            if (details := answer.details) is not None:
                places_of = list(indices)
                cut_at[places_of] = details.cut_at
                query_cut_at[places_of] = details.query_cut_at
                if details.tokens is not None:
                    tokens[places_of] = details.tokens
            if on_done is not None:
                on_done(int(times[list(indices)].sum()))

        await _together([compute(indices) for indices in _requests(items, api, self._spec)])
        result = np.stack(values) if values else empty
        counted = tokens[order] if capabilities.counts_tokens else None
        return Output(result[order], counted, cut_at[order], query_cut_at[order])

    async def close(self) -> None:
        """Close the connections."""
        if self._opening is not None:
            self._opening.cancel()
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def _opened(self) -> tuple[Api, Capabilities]:
        if self._opening is None or (self._opening.done() and _failed(self._opening)):
            self._opening = asyncio.create_task(self._connect())
            # Else asyncio would log an error that nobody waits for any more.
            self._opening.add_done_callback(_failed)
        # Shielded, because others may wait for the same connection.
        return await asyncio.shield(self._opening)

    async def _connect(self) -> tuple[Api, Capabilities]:
        if self._http is None:
            self._http = Http(self._spec)
        kind = await self._find_kind(self._http)
        description = await asyncio.to_thread(self._describe, kind)
        api = self._make(kind, self._http, description)
        await _connect_checked(api)
        dim = await probe(api)
        logger.info("%r runs at %s (%s)", self._model, self._spec.base_url, api.name)
        if api.capabilities is not None:
            return api, self._own_capabilities(api, api.capabilities)
        context = description.context if description else CONTEXT
        version = self._spec.revision or api.fingerprint
        return api, Capabilities(
            model=self._model,
            fingerprint=self._fingerprint(description, version),
            role=self._role,
            dim=dim,
            context=min(context, api.context or context),
            counts_tokens=description is not None,
            prompts=description.words.prompts if description else SavedPrompts(),
            earlier_fingerprint=description.earlier_fingerprint if description else None,
            # Servers do not tell in which number format they compute.
            variant=f"{api.name} {self._spec.base_url} {self._spec.model} {version}",
            server=self._told(api),
        )

    def _own_capabilities(self, api: Api, said: Capabilities) -> Capabilities:
        """Return what this project's server says, in the words of this side.

        Its variant is that of the model in its process: wherever a model of this content computes
        in this number format, its results are the same, so caches share them.
        """
        version = self._spec.revision
        return replace(
            said,
            model=self._model,
            fingerprint=said.fingerprint if version is None else f"name:{self._model}@{version}",
            earlier_fingerprint=said.earlier_fingerprint if version is None else None,
            variant=said.variant or f"{api.name} {self._spec.base_url} {said.fingerprint}",
            server=self._told(api),
        )

    def _told(self, api: Api) -> str:
        return f"{api.name} at {self._spec.base_url}, which calls it {api.model!r}"

    def _fingerprint(self, description: Description | None, version: str | None) -> str:
        """Return the checkpoint's, unless its content is unknown or the caller named a version."""
        if self._spec.revision is None and description and description.fingerprint:
            return description.fingerprint
        return f"name:{self._model}{f'@{version}' if version else ''}"

    def _describe(self, kind: type[Api]) -> Description | None:
        """Read the checkpoint; `None` if the server tells all of it, or it was not published."""
        if kind.tokenizer == "none":
            return None
        try:
            return describe(Source(self._model, self._role, weights=False))
        except ModelError as error:
            if self._api is not None and kind.tokenizer == "needed":
                raise
            logger.warning(
                "The tokenizer of %r is not at hand (%s), so texts are not cut here and tokens are "
                "not counted.",
                self._model,
                error,
            )
            return None

    async def _find_kind(self, http: Http) -> type[Api]:
        """Find out what the server speaks, unless the caller or the host's name says so."""
        if self._api is not None:
            return next(kind for kind in KINDS if kind.name == self._api)
        http.finding = True
        for kind in KINDS:
            if await self._make(kind, http, None).answers():
                http.finding = False
                return kind
        raise BackendError(f"{self._spec.base_url} speaks no API that is known here.")

    def _make(self, kind: type[Api], http: Http, description: Description | None) -> Api:
        named = self._spec.model is not None
        return kind(http, self._role, self._spec.model or self._model, named, description)

    async def _encoded(
        self, prompts: list[Prompt], limits: Limits, api: Api, capabilities: Capabilities
    ) -> Items:
        _check_instructions(prompts, api)
        description = api.description
        if description is None:
            if api.capabilities is None:
                _check_limits(limits, api)
            return uncut(prompts, api.whole)
        parts = [
            await asyncio.to_thread(
                encode,
                prompts[start : start + ENCODED],
                limits,
                capabilities.context,
                description,
                as_texts=api.sends_texts,
            )
            for start in range(0, len(prompts), ENCODED)
        ]
        return Items.join(parts)


async def _connect_checked(api: Api) -> None:
    """Let an API ask the server for its model and limits, which may be described in any way."""
    try:
        await api.connect()
        limits = {name: getattr(api, name) for name in ("context", "rows", "tokens")}
        for name, value in limits.items():
            if not _is_count(value) and (name != "context" or value is not None):
                raise ValueError(f"its limit of {name} is {value!r}")
        if not isinstance(api.model, str):
            raise ValueError(f"its model is called {api.model!r}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, Qwen3RagError):
            raise
        raise BackendError(
            f"{api.http.address} does not describe itself as {api.name} does "
            f"({type(error).__name__}: {error}). Name another `api`, or look at what answers there."
        ) from error


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_instructions(prompts: Sequence[Prompt], api: Api) -> None:
    """Reject an instruction that the server would ignore."""
    if api.instructions or not (api.role == "reranking" or api.makes_prompts):
        return
    for prompt in prompts:
        if prompt.instruction not in (None, DEFAULT_INSTRUCTION):
            raise InputError(
                f"{api.http.address} ({api.name}) takes no other instruction than its own, got "
                f"{prompt.instruction!r}. Leave `instruction` out, or use a server that takes one, "
                "such as vLLM or SGLang."
            )


def _check_limits(limits: Limits, api: Api) -> None:
    """Reject limits that nobody would obey."""
    if limits != Limits():
        raise InputError(
            f"Texts for {api.http.address} ({api.name}) cannot be cut here without the model's "
            "tokenizer. Leave out `max_length`, `max_query_tokens` and `max_document_tokens`, or "
            "give the id or folder of the checkpoint that the server runs as the model."
        )


def _requests(items: Items, api: Api, spec: Remote) -> list[Sequence[int]]:
    """Split prompts into requests of what can be sent together."""
    groups: dict[Any, list[int]] = {}
    for index, prompt in enumerate(items.prompts):
        groups.setdefault(api.group(prompt), []).append(index)
    lengths = items.lengths
    return [
        [group[place] for place in batch]
        for group in groups.values()
        for batch in batches(
            [lengths[index] for index in group], spec.batch_size or api.rows, api.tokens
        )
    ]


def _check_size(answer: Answer, capabilities: Capabilities, api: Api) -> None:
    """Reject vectors of another size than when the server was probed."""
    if capabilities.dim and answer.values.shape[1] != capabilities.dim:
        raise BackendError(
            f"{api.http.address} answered with vectors of {answer.values.shape[1]} numbers, and "
            f"with {capabilities.dim} before. Its model has changed: make a new embedder."
        )


def _check_read(answer: Answer, items: Items, indices: Sequence[int], api: Api) -> None:
    """Reject results of prompts that the server did not read whole.

    When it was probed, it read as many tokens as it should.
    """
    if answer.tokens is None or not api.counts or items.sequences is None:
        return
    expected = sum(items.sequences[index].length for index in indices)
    prompts = [items.prompts[index] for index in indices]
    changed = any(neutral(text) != text for text in (one.head + one.body for one in prompts))
    if answer.tokens < expected and not changed:
        raise BackendError(
            f"{api.http.address} ({api.name}) read {answer.tokens} tokens of prompts that have "
            f"{expected}, so it cut them, or its model has changed. Start it with a longer limit, "
            "or give a shorter `max_length`."
        )


async def _together(work: Sequence[Any]) -> None:
    """Run coroutines at the same time; the first error cancels the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None
