"""The chat endpoint works with OpenAI's client."""

from openai import OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from qwen3_rag_testkit.chat_endpoint import ChatEndpoint

QUESTION: ChatCompletionUserMessageParam = {"role": "user", "content": "first line\nsecond: 你好"}


def test_default_reply_repeats_the_last_message() -> None:
    with ChatEndpoint() as endpoint, OpenAI(base_url=endpoint.url, api_key="any") as client:
        reply = client.chat.completions.create(model="small", messages=[QUESTION])

    assert reply.choices[0].message.content == QUESTION["content"]
    assert endpoint.requests[0]["model"] == "small"
    assert endpoint.requests[0]["messages"] == [QUESTION]


def test_streams_line_by_line() -> None:
    with ChatEndpoint() as endpoint, OpenAI(base_url=endpoint.url, api_key="any") as client:
        stream = client.chat.completions.create(model="small", messages=[QUESTION], stream=True)
        parts = [chunk.choices[0].delta.content for chunk in stream]

    assert parts == ["first line\n", "second: 你好", None]


def test_reply_can_be_chosen() -> None:
    answer = ChatEndpoint(lambda messages: f"{len(messages)} messages")
    with answer as endpoint, OpenAI(base_url=endpoint.url, api_key="any") as client:
        reply = client.chat.completions.create(model="small", messages=[QUESTION, QUESTION])

    assert reply.choices[0].message.content == "2 messages"
