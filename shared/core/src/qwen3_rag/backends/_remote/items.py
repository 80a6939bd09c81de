"""Prompts as they are sent: token ids where the server takes them, else texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qwen3_rag._prompts import CONTROL_TOKENS, EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag.backends._base import UNKNOWN, WHOLE, Limits
from qwen3_rag.backends._checkpoint.description import Description
from qwen3_rag.backends._checkpoint.encoded import TokenSequence

__all__ = ["Items", "batches", "encode", "neutral", "uncut"]

_CONTROL = re.compile("|".join(map(re.escape, sorted(CONTROL_TOKENS, key=len, reverse=True))))


@dataclass(frozen=True, eq=False)
class Items:
    """Prompts of one role, cut to the limits.

    Attributes:
        prompts: The prompts, with texts cut.
        sequences: Their token ids; `None` without a tokenizer.
        cut_at: Number of characters kept of each text or document, `WHOLE` if it was not cut,
            `UNKNOWN` if the server may cut it.
        query_cut_at: The same for the query of each pair.
    """

    prompts: Sequence[Prompt]
    sequences: Sequence[TokenSequence] | None
    cut_at: NDArray[np.int64]
    query_cut_at: NDArray[np.int64]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each prompt; without a tokenizer, estimated by bytes."""
        if self.sequences is not None:
            return [sequence.length for sequence in self.sequences]
        return [len(prompt.rendered.encode()) // 2 + 1 for prompt in self.prompts]

    @classmethod
    def join(cls, parts: Sequence[Items]) -> Items:
        """Put parts one behind the other."""
        if not parts:
            return uncut([])
        sequences = [one for part in parts for one in part.sequences or ()]
        return cls(
            [prompt for part in parts for prompt in part.prompts],
            sequences if parts[0].sequences is not None else None,
            np.concatenate([part.cut_at for part in parts]),
            np.concatenate([part.query_cut_at for part in parts]),
        )


def uncut(prompts: Sequence[Prompt], whole: int = 0) -> Items:
    """Take prompts without cutting and counting.

    Args:
        prompts: The prompts.
        whole: Tokens up to which the server surely reads a text.
    """

    def cut(texts: Sequence[str]) -> NDArray[np.int64]:
        # No token is less than a byte.
        sure = [len(text.encode()) <= whole for text in texts]
        return np.where(sure, WHOLE, UNKNOWN).astype(np.int64)

    bodies = [one.document if isinstance(one, RerankPrompt) else one.text for one in prompts]
    queries = [one.query if isinstance(one, RerankPrompt) else "" for one in prompts]
    return Items(prompts, None, cut(bodies), cut(queries))


def encode(
    prompts: Sequence[Prompt],
    limits: Limits,
    context: int,
    description: Description,
    *,
    as_texts: bool = False,
) -> Items:
    """Encode and cut prompts as the local engine does.

    Args:
        prompts: The prompts.
        limits: Longest parts in tokens.
        context: Longest prompt in tokens.
        description: Has the tokenizer.
        as_texts: Whether the server encodes the cut texts itself. A cut may then not be within a
            character, and the tokens are those of the cut text.

    Raises:
        InputError: An instruction or query leaves no room for the text.
    """
    prompts = list(prompts)
    encoded = description.tokenizer.encode(prompts, limits, context)
    cuts = [(one.cut_at, one.query_cut_at) for one in encoded]
    changed = [index for index, cut in enumerate(cuts) if cut != (WHOLE, WHOLE)]
    for index in changed:
        prompts[index] = _cut(prompts[index], *cuts[index])
    limits = replace(limits, max_query_tokens=None)  # queries are cut as texts everywhere
    while as_texts and changed:
        # Nearly always once: a text that was cut between characters is rarely encoded in more
        # tokens than before.
        again = description.tokenizer.encode([prompts[index] for index in changed], limits, context)
        for index, one in zip(changed, again, strict=True):
            encoded[index] = one
            if one.cut_at != WHOLE:
                prompts[index] = _cut(prompts[index], one.cut_at, WHOLE)
                cuts[index] = (one.cut_at, cuts[index][1])
        changed = [index for index, one in zip(changed, again, strict=True) if one.cut_at != WHOLE]
    return Items(
        prompts,
        [one.sequence for one in encoded],
        np.asarray([cut for cut, _ in cuts], dtype=np.int64),
        np.asarray([cut for _, cut in cuts], dtype=np.int64),
    )


def neutral(text: str) -> str:
    """Change control tokens, which servers would read as such, by a space behind the `<`."""
    return _CONTROL.sub(lambda found: f"< {found[0][1:]}", text)


def batches(lengths: Sequence[int], rows: int, tokens: int) -> Iterator[range]:
    """Split prompts, in their order, into requests.

    Args:
        lengths: Tokens of each prompt.
        rows: Maximum prompts of a request.
        tokens: Maximum tokens of a request; a longer prompt gets its own.
    """
    start = total = 0
    for index, length in enumerate(lengths):
        if index > start and (index - start == rows or total + length > tokens):
            yield range(start, index)
            start, total = index, 0
        total += length
    if start < len(lengths):
        yield range(start, len(lengths))


def _cut(prompt: Prompt, cut_at: int, query_cut_at: int) -> Prompt:
    if cut_at == WHOLE and query_cut_at == WHOLE:
        return prompt
    if isinstance(prompt, EmbedPrompt):
        return EmbedPrompt(prompt.text[:cut_at], prompt.instruction, prompt.prefix)
    return RerankPrompt(
        prompt.query if query_cut_at == WHOLE else prompt.query[:query_cut_at],
        prompt.document if cut_at == WHOLE else prompt.document[:cut_at],
        prompt.instruction,
    )
