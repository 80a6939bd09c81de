"""Answers from an index, by an endpoint in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_testkit.chat_endpoint import ChatEndpoint, Failure

FAQ = Path(__file__).resolve().parents[3] / "examples" / "milvus_faq"
QUESTION = "How is data stored in milvus?"
ANSWER = "In object storage, as incremental logs [1].\nMetadata is in etcd [2]. \x1b[31m"


@pytest.fixture(scope="module")
def faq(cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of four pages of questions and answers about Milvus."""
    store: Path = tmp_path_factory.mktemp("faq") / "index"
    cli.index(FAQ, "--store", store, "--model", "tiny")
    return store


@pytest.fixture
def endpoint() -> Iterator[ChatEndpoint]:
    with ChatEndpoint(lambda messages: ANSWER, api_key="k3y") as endpoint:
        yield endpoint


@pytest.fixture
def asked(
    cli: Any, faq: Path, endpoint: ChatEndpoint, monkeypatch: pytest.MonkeyPatch
) -> list[str | Path]:
    """A command that has all it needs but its last options."""
    monkeypatch.setenv("QWEN3_RAG_CHAT_URL", endpoint.url)
    monkeypatch.setenv("QWEN3_RAG_CHAT_MODEL", "writer")
    monkeypatch.setenv("CHAT_KEY", "k3y")
    return ["ask", QUESTION, "--store", faq, "--chat-key-env", "CHAT_KEY"]


def test_an_answer_has_numbered_sources_with_file_and_line(
    cli: Any, asked: list[str], endpoint: ChatEndpoint
) -> None:
    said = cli.run(*asked, "--limit", "3", "--chat-option", "temperature=0")

    assert said.code == 0, said.err
    text, _, sources = said.out.partition("\n\n")
    assert text == ANSWER.replace("\x1b", r"\x1b")
    first, second = sources.splitlines()
    assert first.startswith("[1] ")
    assert "product_faq.md:37-43  Product FAQ > Where does Milvus store data?" in first
    assert second.startswith("[2] ")
    [request] = endpoint.requests
    assert (request["model"], request["temperature"]) == ("writer", 0)
    read = request["messages"][-1]["content"]
    assert read.count("<document number=") == 3
    assert "object storage" in read


def test_the_json_has_the_answer_and_its_sources(cli: Any, asked: list[str]) -> None:
    found = cli.run(*asked, "--json").json

    assert (found["text"], found["found"], found["documents"]) == (ANSWER, True, 5)
    assert [source["number"] for source in found["sources"]] == [1, 2]
    assert found["sources"][0]["line"] == 37
    assert found["sources"][0]["ranks"]["rerank"]["rank"] == 1


def test_below_the_score_nobody_is_asked(
    cli: Any, asked: list[str], endpoint: ChatEndpoint
) -> None:
    said = cli.run(*asked, "--min-score", "0.999999")
    found = cli.run(*asked, "--min-score", "0.999999", "--json").json

    assert said.code == 0
    assert said.out.startswith("Not found in the documents.")
    assert "was not asked" in said.out
    assert (found["found"], found["documents"], found["sources"]) == (False, 0, [])
    assert endpoint.requests == []


def test_what_the_model_makes_up_is_told(cli: Any, asked: list[str]) -> None:
    answers = ["Yes.", "Yes [7]."]
    with ChatEndpoint(lambda messages: answers.pop()) as other:
        invented = cli.run(*asked, "--chat-url", other.url)
        unfounded = cli.run(*asked, "--chat-url", other.url)

    assert "made up the source [7]" in invented.out
    assert "cites no source" in unfounded.out


@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX systems")
def test_a_terminal_shows_the_text_while_it_is_written(
    cli: Any, asked: list[str], endpoint: ChatEndpoint
) -> None:
    said = cli.on_terminal(*asked, NO_COLOR="1", COLUMNS="200")

    assert "Asking writer" in said
    assert r"In object storage, as incremental logs [1]." in said
    assert r"in etcd [2]. \x1b[31m" in said
    assert "[1] " in said.rpartition(r"\x1b[31m")[2]
    assert said.count("object storage") == 1
    assert endpoint.requests[0]["stream"] is True


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--chat-url", ""], 2, "--chat-url URL"),
        (["--chat-model", ""], 2, "QWEN3_RAG_CHAT_MODEL"),
        (["--chat-url", "localhost:8000"], 2, "`--chat-url` must be"),
        (["--chat-key-env", "UNSET_KEY"], 2, "`--chat-key-env`"),
        (["--chat-option", "temperature"], 2, "NAME=VALUE"),
        (["--chat-option", "model=x"], 2, "`--chat-option` must not have 'model'"),
        (["--chat-url", "http://127.0.0.1:9/v1"], 6, "Check `--chat-url`"),
        (["--rerank", "0", "--min-score", "0.5"], 2, "`--min-score`"),
    ],
)
def test_wrong_options_are_told_in_the_commands_words(
    cli: Any, asked: list[str], options: list[str], code: int, word: str
) -> None:
    said = cli.run(*asked, *options, "--json")

    error = json.loads(said.err)["error"]
    assert (said.code, error["code"]) == (code, code)
    assert word in error["message"]
    assert "k3y" not in said.err


def test_an_endpoint_that_fails_is_a_backend_error(cli: Any, asked: list[str]) -> None:
    with ChatEndpoint(failures=[Failure(401, "Incorrect API key provided.")]) as other:
        said = cli.run(*asked, "--chat-url", other.url)

    assert said.code == 6
    assert "`--chat-key-env`" in said.err
