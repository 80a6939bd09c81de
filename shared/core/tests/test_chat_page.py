"""The examples of the page on answers run against a local endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag_testkit.chat_endpoint import ChatEndpoint
from qwen3_rag_testkit.guides import run_examples

PAGE = Path(__file__).parents[3] / "docs" / "chat.md"


def test_the_examples_run_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-any")
    reply = ChatEndpoint(lambda messages: "Paris is the capital of France [1].")
    with reply as endpoint:
        run_examples(PAGE, {"http://localhost:8000/v1": endpoint.url})

    assert capsys.readouterr().out.splitlines() == [
        "Paris is the capital of France [1].",
        "1 europe.md",
        "Paris is the capital of France [1].[1]",
        "Paris is the capital of France [1]. False",
    ]
    asked, streamed, other = endpoint.requests
    assert asked["messages"] == streamed["messages"] != other["messages"]
    assert other["max_tokens"] == 500
