"""The encoder without one of its rules, to measure what the rule does.

The encoder has no options for this. Each variant replaces one of its functions, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pkgutil import resolve_name
from typing import Any, TypeVar
from unittest.mock import patch

_ENCODER = "qwen3_rag.lexical._encoder"

Result = TypeVar("Result")


def stop_words_kept() -> AbstractContextManager[Any]:
    """Keep the stop words of queries."""
    return patch(f"{_ENCODER}._is_stop_word", lambda *_: False)


def repeats_once() -> AbstractContextManager[Any]:
    """Count a query's words once."""
    add_up: Callable[[Sequence[str]], dict[str, float]] = resolve_name(f"{_ENCODER}._sum")

    def once(segments: Sequence[str]) -> dict[str, float]:
        return add_up([*{segment.casefold(): segment for segment in segments}.values()])

    return patch(f"{_ENCODER}._sum", once)


def repeats_in_full() -> AbstractContextManager[Any]:
    """Count a query's words as often as they occur, without saturation."""
    return patch(f"{_ENCODER}._K3", 1e9)


def stems_alone() -> AbstractContextManager[Any]:
    """Use the stems of words without their beginnings.

    Documents' terms are cached, so a process has to begin with this, and stay with it.
    """
    stem: Callable[[str], tuple[str, str]] = resolve_name("qwen3_rag.lexical._stems.stem")
    return patch("qwen3_rag.lexical._tokenizer.stem", lambda word: (stem(word)[0],) * 2)


QUERY_VARIANTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "stop words kept": stop_words_kept,
    "repeats once": repeats_once,
    "repeats in full": repeats_in_full,
}
"""Variants of the query vectors alone."""


def in_new_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in a process that has seen no word."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
