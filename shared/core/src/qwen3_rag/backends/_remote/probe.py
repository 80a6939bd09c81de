"""Finds out whether a server computes what is asked, before its numbers are trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qwen3_rag._prompts import DEFAULT_INSTRUCTION, EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag._results import FloatArray
from qwen3_rag.backends._base import Limits
from qwen3_rag.backends._checkpoint.description import Description
from qwen3_rag.backends._remote.apis.base import Answer
from qwen3_rag.errors import BackendError

__all__ = [
    *("INSTRUCTED", "PAIR", "PAIRS", "QUERIES", "SWAPPED", "TEXTS"),
    *("check_pairs", "check_sides", "check_swapped", "check_vectors"),
    *("expected_tokens", "takes_instructions"),
]

#: Two short texts.
TEXTS = (EmbedPrompt("Paris is the capital of France."), EmbedPrompt("Where is data stored?"))
#: A short pair.
PAIR = RerankPrompt("What is the capital of France?", "Paris is the capital of France.")
#: One query with a document that answers it, one that hardly does, and one that does not.
PAIRS = (
    PAIR,
    RerankPrompt(PAIR.query, "France is a country in Europe, and Lyon is one of its cities."),
    RerankPrompt(PAIR.query, "Bananas are yellow when they are ripe."),
)
TASK = "Given a question about one of the world's cities, retrieve texts of the same meaning"
#: The same with a longer instruction.
INSTRUCTED = tuple(RerankPrompt(one.query, one.document, TASK) for one in PAIRS)
#: The pair with query and document exchanged.
SWAPPED = RerankPrompt(PAIR.document, PAIR.query)
#: The second text as a query, with two instructions.
QUERIES = tuple(EmbedPrompt(TEXTS[1].text, task) for task in (DEFAULT_INSTRUCTION, TASK))

#: Tokens that a short pair has at least if it is in the reranker's prompt.
TEMPLATE_TOKENS = 48
#: Log-odds and coordinates that differ by less are the same: servers are not exact.
SAME = 1e-3


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
            "vector is read from: it runs a reranker, or its vectors are of something else. Serve "
            "the embedding checkpoint with the tokenizer files it was published with; for a GGUF "
            "file, convert it anew or set `tokenizer.ggml.add_eos_token` to true."
        )
    if tokens != expected:
        raise BackendError(
            f"{server} read {tokens} tokens of two texts that have {expected}: it adds a prompt of "
            "its own, or has another tokenizer. Serve the model without a default prompt."
        )


def check_sides(
    server: str, document: FloatArray, query: FloatArray, instructed: FloatArray
) -> bool:
    """Check a server that makes the prompts itself.

    Args:
        server: The server's name in messages.
        document: The vector of a text as a document.
        query: Its vector as a query.
        instructed: Its vector as a query with another instruction.

    Returns:
        Whether the instruction matters.

    Raises:
        BackendError: Queries are embedded as documents.
    """
    if np.abs(query - document).max() < SAME:
        raise BackendError(
            f"{server} embeds queries as documents: it ignores `text_type`. Give an address of "
            "DashScope's own protocol and a model such as text-embedding-v4."
        )
    return bool(np.abs(query - instructed).max() >= SAME)


def check_pairs(
    server: str,
    plain: Answer,
    description: Description | None,
    remedy: str,
) -> None:
    """Check what a reranker made of `PAIRS`.

    Args:
        server: The server's name in messages.
        plain: Its log-odds, and how many tokens it says it read.
        description: The checkpoint, if its files are at hand.
        remedy: What mends a server that makes another prompt.

    Raises:
        BackendError: The server makes another prompt.
    """
    tokens = plain.tokens
    expected = expected_tokens(description, PAIRS) if description is not None else None
    wrong = tokens is not None and (
        tokens < TEMPLATE_TOKENS * len(PAIRS) if expected is None else tokens != expected
    )
    if wrong:
        right = f"{expected}" if expected is not None else f"{TEMPLATE_TOKENS * len(PAIRS)} or more"
        raise BackendError(
            f"{server} read {tokens} tokens of prompts that have {right}, so its scores mean "
            "something else: it has no chat template of Qwen3-Reranker, or runs an embedding "
            f"model. {remedy}"
        )
    if plain.values[0] <= plain.values[-1]:
        raise BackendError(
            f"{server} says that {PAIRS[-1].document!r} answers {PAIR.query!r} better than "
            f"{PAIR.document!r}, so it does not rerank with Qwen3-Reranker in its prompt. {remedy}"
        )


def check_swapped(server: str, plain: float, swapped: float, remedy: str) -> None:
    """Check that a score is that of a reranker, where its tokens are not counted.

    Args:
        server: The server's name in messages.
        plain: The log-odds of `PAIR`.
        swapped: Those of `SWAPPED`.
        remedy: What mends a server that makes another prompt.

    Raises:
        BackendError: The server compares vectors.
    """
    if abs(plain - swapped) < SAME:
        raise BackendError(
            f"{server} gives the same score when query and document are exchanged, so it compares "
            "vectors of an embedding model. Name a reranker in `Remote(model=...)`, which adapters "
            f"call `served_model`. {remedy}"
        )


def takes_instructions(plain: Answer, instructed: Answer) -> bool:
    """Whether a reranker gave other results for `INSTRUCTED` than for `PAIRS`."""
    if plain.tokens is not None and instructed.tokens is not None:
        return instructed.tokens > plain.tokens
    return bool(np.abs(plain.values - instructed.values).max() >= SAME)
