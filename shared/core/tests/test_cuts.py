"""A cut text is told of, also to callers that do not ask for details."""

from __future__ import annotations

import logging

import pytest

from qwen3_rag import Qwen3Embedder, Qwen3Reranker

pytest.importorskip("torch")

LONG = "word " * 5_000  # "tiny" reads 4,096 tokens


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    found = [(one.levelno, one.getMessage()) for one in caplog.records if one.name == "qwen3_rag"]
    caplog.clear()
    return [one for one in found if "were cut" in one[1]]


def test_an_embedder_logs_once_that_texts_were_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "qwen3_rag")
    with Qwen3Embedder("tiny") as embedder:
        embedder.embed_documents(["short", "also short"])
        assert told(caplog) == []

        embedder.embed_documents(["short", LONG, LONG])
        [(level, message)] = told(caplog)
        assert level == logging.WARNING
        assert "2 of 3 texts" in message
        assert "number 1," in message

        assert embedder.embed_documents([LONG], details=True).cut_at[0]
        assert told(caplog) == []

        embedder.embed_queries([LONG])
        assert len(told(caplog)) == 1


def test_who_sets_a_limit_is_not_warned(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "qwen3_rag")
    with Qwen3Embedder("tiny", max_length=64) as embedder:
        embedder.embed_documents(["word " * 100])

    [(level, _)] = told(caplog)
    assert level == logging.INFO


def test_a_reranker_logs_once_that_pairs_were_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "qwen3_rag")
    with Qwen3Reranker("tiny", max_document_tokens=20, max_query_tokens=20) as reranker:
        reranker.score([("query", "document")])
        assert told(caplog) == []

        reranker.rank("query", ["short", "word " * 100])
        reranker.score([("word " * 100, "document")])

    first, second = told(caplog)
    assert "1 of 2 pairs" in first[1]
    assert "1 of 1 pairs" in second[1]
