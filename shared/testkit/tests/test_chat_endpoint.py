"""The chat endpoint works with OpenAI's client."""

from __future__ import annotations

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from qwen3_rag_testkit.chat_endpoint import ChatEndpoint, Failure

QUESTION: ChatCompletionUserMessageParam = {"role": "user", "content": "first line\nsecond: 你好"}


def client_of(endpoint: ChatEndpoint, timeout: float = 30) -> OpenAI:
    return OpenAI(base_url=endpoint.url, api_key="any", timeout=timeout, max_retries=0)


def test_default_reply_repeats_the_last_message() -> None:
    with ChatEndpoint() as endpoint, client_of(endpoint) as client:
        reply = client.chat.completions.create(model="small", messages=[QUESTION])

    assert reply.choices[0].message.content == QUESTION["content"]
    assert endpoint.requests[0]["model"] == "small"
    assert endpoint.requests[0]["messages"] == [QUESTION]


def test_streams_word_by_word() -> None:
    with ChatEndpoint() as endpoint, client_of(endpoint) as client:
        stream = client.chat.completions.create(model="small", messages=[QUESTION], stream=True)
        choices = [chunk.choices[0] for chunk in stream]

    parts = [choice.delta.content for choice in choices]
    assert parts == ["", "first", " line", "\nsecond:", " 你好", None]
    assert choices[0].delta.role == "assistant"
    assert [choice.finish_reason for choice in choices] == [None] * 5 + ["stop"]


def test_reply_and_its_end_can_be_chosen() -> None:
    answer = ChatEndpoint(lambda messages: f"{len(messages)} messages", finish_reason="length")
    with answer as endpoint, client_of(endpoint) as client:
        reply = client.chat.completions.create(model="small", messages=[QUESTION, QUESTION])

    assert reply.choices[0].message.content == "2 messages"
    assert reply.choices[0].finish_reason == "length"


def test_failures_come_first_and_are_those_of_an_openai_server() -> None:
    failures = [Failure(429, "Too many.", {"Retry-After": "7"}), Failure(500)]
    with ChatEndpoint(failures=failures) as endpoint, client_of(endpoint) as client:
        with pytest.raises(openai.RateLimitError, match=r"Too many\.") as limited:
            client.chat.completions.create(model="small", messages=[QUESTION])
        with pytest.raises(openai.InternalServerError, match="had an error"):
            client.chat.completions.create(model="small", messages=[QUESTION])
        client.chat.completions.create(model="small", messages=[QUESTION])

    assert limited.value.type == "rate_limit_exceeded"
    assert limited.value.response.headers["Retry-After"] == "7"
    assert len(endpoint.requests) == 3


def test_streams_fail_after_some_parts() -> None:
    failures = [Failure(500, "Out of memory.", after=1), Failure(after=2)]
    with ChatEndpoint(failures=failures) as endpoint, client_of(endpoint) as client:
        parts: list[str | None] = []

        def read() -> None:
            for chunk in client.chat.completions.create(
                model="small", messages=[QUESTION], stream=True
            ):
                parts.append(chunk.choices[0].delta.content)

        with pytest.raises(openai.APIError, match=r"Out of memory\."):
            read()
        with pytest.raises(Exception, match="incomplete chunked read"):
            read()

    assert parts == ["", "first", "", "first", " line"]


def test_a_silent_endpoint_closes_at_once() -> None:
    silent, slow = ChatEndpoint(failures=[Failure()]), pytest.raises(openai.APITimeoutError)
    with silent as endpoint, client_of(endpoint, timeout=0.2) as client, slow:
        client.chat.completions.create(model="small", messages=[QUESTION])


def test_a_wrong_key_is_refused() -> None:
    with ChatEndpoint(api_key="secret") as endpoint, client_of(endpoint) as client:
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            client.chat.completions.create(model="small", messages=[QUESTION])
        right = client.with_options(api_key="secret")
        assert right.chat.completions.create(model="small", messages=[QUESTION]).choices
