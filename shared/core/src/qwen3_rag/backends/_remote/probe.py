"""Finds out whether a server computes what is asked, before its numbers are trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qwen3_rag._prompts import EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag._results import FloatArray
from qwen3_rag.backends._base import Limits
from qwen3_rag.backends._checkpoint.description import Description
from qwen3_rag.errors import BackendError

__all__ = ["INSTRUCTED", "PAIR", "TEXTS", "check_pairs", "check_vectors", "expected_tokens"]

#: Two short texts, a short pair, and the same pair with a longer instruction.
TEXTS = (EmbedPrompt("Paris is the capital of France."), EmbedPrompt("Where is data stored?"))
PAIR = RerankPrompt("What is the capital of France?", "Paris is the capital of France.")
INSTRUCTED = RerankPrompt(
    PAIR.query, PAIR.document, "Given a question about one of the world's cities, find its answer"
)


def expected_tokens(description: Description, prompts: Sequence[Prompt]) -> int:
    """Count the tokens that a server reads if it makes the right prompts."""
    encoded = description.tokenizer.encode(prompts, Limits(), description.context)
    return sum(one.sequence.length for one in encoded)


def check_vectors(
    server: str, vectors: FloatArray, tokens: int | None, description: Description | None
) -> None:
    """Check the vectors of `TEXTS`.

    Args:
        server: The server's name in messages.
        vectors: What it answered.
        tokens: How many tokens it says it read.
        description: The checkpoint, if its files are at hand.

    Raises:
        BackendError: The server embeds in another way.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    if (description is not None and vectors.shape[1] != description.dim) or not lengths.all():
        raise BackendError(
            f"{server} answers with vectors of {vectors.shape[1]} numbers"
            + ("" if lengths.all() else ", all of them zero")
            + (f", and {description.name!r} has {description.dim}" if description else "")
            + ". It runs another model, a reranker, or returns shortened vectors."
        )
    if float(vectors[0] @ vectors[1]) > 0.9999 * float(lengths[0] * lengths[1]):
        raise BackendError(
            f"{server} answers with the same vector for two different texts, so it does not embed "
            "with this model. Look at how it was started."
        )
    if description is None or tokens is None:
        return
    expected = expected_tokens(description, TEXTS)
    if tokens == expected - len(TEXTS):
        raise BackendError(
            f"{server} does not append the end token {description.tokenizer.end_text!r}, which the "
            "vector is read from, so its vectors are of something else. Serve the checkpoint with "
            "the tokenizer files it was published with; for a GGUF file, convert it anew or set "
            "`tokenizer.ggml.add_eos_token` to true."
        )
    if tokens != expected:
        raise BackendError(
            f"{server} read {tokens} tokens of two texts that have {expected}: it adds a prompt of "
            "its own, or has another tokenizer. Serve the model without a default prompt."
        )


def check_pairs(
    server: str,
    tokens: tuple[int | None, int | None],
    scores: tuple[float, float],
    description: Description | None,
    *,
    instructions: bool,
    remedy: str,
) -> None:
    """Check what a reranker made of `PAIR` and of `INSTRUCTED`.

    Args:
        server: The server's name in messages.
        tokens: How many tokens it says it read of each.
        scores: Their log-odds.
        description: The checkpoint, if its files are at hand.
        instructions: Whether the instruction of `INSTRUCTED` was sent.
        remedy: What mends a server that makes another prompt.

    Raises:
        BackendError: The server makes another prompt.
    """
    plain, instructed = tokens
    if description is not None and plain is not None:
        expected = expected_tokens(description, [PAIR])
        if plain != expected:
            raise BackendError(
                f"{server} read {plain} tokens of a prompt that has {expected}, so its scores mean "
                "something else: it has no chat template of Qwen3-Reranker, or runs an embedding "
                f"model. {remedy}"
            )
    counted = plain is not None and instructed is not None
    same = instructed <= plain if counted else scores[0] == scores[1]  # type: ignore[operator]
    if instructions and same:
        raise BackendError(
            f"{server} gives the same with another, longer instruction, so it ignores "
            f"instructions. {remedy}"
        )
