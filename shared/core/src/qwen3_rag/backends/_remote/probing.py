"""Asks a server the questions of `probe`, before its numbers are trusted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from qwen3_rag._prompts import Prompt, RerankPrompt
from qwen3_rag.backends._base import Limits
from qwen3_rag.backends._remote.apis.base import Answer, Api
from qwen3_rag.backends._remote.http import Refused, Unreadable
from qwen3_rag.backends._remote.items import Items, encode, uncut
from qwen3_rag.backends._remote.probe import (
    INSTRUCTED,
    PAIRS,
    QUERIES,
    SWAPPED,
    TEXTS,
    check_pairs,
    check_sides,
    check_swapped,
    check_vectors,
    takes_instructions,
)
from qwen3_rag.errors import BackendError

__all__ = ["ask", "probe"]

logger = logging.getLogger("qwen3_rag")

TOO_LARGE = 413  # the status


async def ask(api: Api, items: Items, indices: Sequence[int]) -> Answer:
    """Send a request about some prompts, or several if it is too large for the server."""
    try:
        return await _ask_at_once(api, items, indices)
    except Refused as error:
        half = len(indices) // 2
        if error.status != TOO_LARGE or not half:
            raise
    return Answer.join([await ask(api, items, part) for part in (indices[:half], indices[half:])])


async def _ask_at_once(api: Api, items: Items, indices: Sequence[int]) -> Answer:
    prompts = [items.prompts[index] for index in indices]
    sequences = items.sequences and [items.sequences[index] for index in indices]
    if api.role == "embedding":
        return await api.embed(prompts, sequences)
    return await api.rerank(cast("list[RerankPrompt]", prompts), sequences)


async def probe(api: Api) -> int:
    """Check the server with a few prompts.

    Returns:
        The vectors' size, 0 for a reranker.

    Raises:
        BackendError: The server computes something else.
    """
    if api.capabilities is not None:
        return api.capabilities.dim
    server = f"{api.http.address} ({api.name})"
    if api.role == "reranking":
        await _probe_pairs(api, server)
        return 0
    try:
        answer = await _about(api, TEXTS)
    except Unreadable as error:
        # Such as numbers that are not finite.
        raise Unreadable(f"{error} Or it runs a reranker, which does not embed.") from error
    check_vectors(server, answer.values, answer.tokens, api.description)
    if api.makes_prompts:
        queries = [(await _about(api, [query])).values for query in QUERIES]
        if not check_sides(server, answer.values[-1], queries[0][0], queries[1][0]):
            _without_instructions(api, server)
    return int(answer.values.shape[1])


async def _probe_pairs(api: Api, server: str) -> None:
    plain = await _about(api, PAIRS)
    check_pairs(server, plain, api.description, api.remedy)
    if api.instructions:
        try:
            ignored = not takes_instructions(plain, await _about(api, INSTRUCTED))
        except Refused:
            if not api.may_ignore:
                raise
            ignored = True
        if ignored and not api.may_ignore:
            raise BackendError(
                f"{server} gives the same with another, longer instruction, so it ignores "
                f"instructions. {api.remedy}"
            )
        if ignored:
            _without_instructions(api, server)
    if plain.tokens is None or api.description is None:
        swapped = await _about(api, [SWAPPED])
        check_swapped(server, float(plain.values[0]), float(swapped.values[0]), api.remedy)


async def _about(api: Api, prompts: Sequence[Prompt]) -> Answer:
    if api.description is None:
        items = uncut(prompts)
    else:
        items = encode(prompts, Limits(), api.description.context, api.description)
    answer = await ask(api, items, range(len(prompts)))
    return answer if api.counts else replace(answer, tokens=None)


def _without_instructions(api: Api, server: str) -> None:
    api.instructions = False
    logger.info("%s ignores instructions, so none but the default one can be given.", server)
