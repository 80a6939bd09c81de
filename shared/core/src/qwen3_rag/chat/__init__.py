"""Answers from search hits by a chat model, over any OpenAI-compatible endpoint.

`Chat` is the client, and `answer` asks it a question about hits and returns the text with numbered
sources. This module needs the extra `chat`.
"""

from qwen3_rag._key import SecretString
from qwen3_rag.chat._answer import (
    NOT_FOUND,
    Answer,
    AnswerStream,
    Source,
    aanswer,
    answer,
    stream_answer,
)
from qwen3_rag.chat._client import Chat, CompletionStream, Message
from qwen3_rag.chat._reply import Completion

__all__ = [
    "NOT_FOUND",
    "Answer",
    "AnswerStream",
    "Chat",
    "Completion",
    "CompletionStream",
    "Message",
    "SecretString",
    "Source",
    "aanswer",
    "answer",
    "stream_answer",
]
