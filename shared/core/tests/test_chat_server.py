"""Answers by a chat server of your own, which CHAT_URL and CHAT_MODEL name."""

from __future__ import annotations

import asyncio
import os

import pytest

from qwen3_rag import BackendError, Hit
from qwen3_rag.chat import Answer, Chat, aanswer, answer, stream_answer

QUESTION = "What is the capital of France?"
HITS = [Hit("france", "Paris is the capital of France.", 1.0)]


@pytest.fixture
def server() -> tuple[str, str]:
    url = os.environ.get("CHAT_URL")
    if not url:
        pytest.skip("CHAT_URL names no OpenAI-compatible chat endpoint on this machine")
    return url, os.environ.get("CHAT_MODEL", "any")


def check(found: Answer) -> None:
    """The model may be a poor one, but its text is there, and its end is known."""
    assert found.text.strip()
    assert all(source.hit in HITS for source in found.sources)


def test_a_server_answers_whole_and_in_parts(server: tuple[str, str]) -> None:
    chat = Chat(*server, options={"max_tokens": 200, "temperature": 0})

    check(answer(QUESTION, HITS, chat))
    check(asyncio.run(aanswer(QUESTION, HITS, chat)))
    parts = stream_answer(QUESTION, HITS, chat)
    text = list(parts)
    assert len(text) > 1
    check(parts.answer)

    async def read() -> list[str]:
        return [part async for part in parts]

    assert len(asyncio.run(read())) > 1
    check(parts.answer)


def test_a_server_says_what_it_cannot_do(server: tuple[str, str]) -> None:
    with pytest.raises(BackendError, match=r"answered with status [45]\d\d: \w+"):
        answer(QUESTION, HITS, Chat(*server, retries=0, options={"max_tokens": "many"}))


def test_a_server_says_when_a_text_was_cut(server: tuple[str, str]) -> None:
    assert answer(QUESTION, HITS, Chat(*server, options={"max_tokens": 1})).cut
