"""`serve`: the models and indexes over HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from qwen3_rag_testkit.chat_endpoint import ChatEndpoint


@contextmanager
def _serving(cli: Any, *arguments: str | Path, **variables: str) -> Iterator[tuple[Any, str]]:
    """Run the command, and give the process and the address that it tells."""
    command = cli.command("serve", "--port", "0", *arguments)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=cli.environment(**variables)
    ) as process:
        assert process.stderr is not None
        killer = threading.Timer(120, process.kill)
        killer.start()
        try:
            told = ""
            while "http://" not in told:
                line = process.stderr.readline()
                assert line, told
                told += line
            yield process, re.findall(r"http://\S+", told)[0]
        finally:
            killer.cancel()
            process.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cli: Any) -> Path:
    made: Path = tmp_path_factory.mktemp("facts")
    (made / "france.md").write_text("# France\n\nParis is the capital of France.\n")
    (made / "fruit.md").write_text("# Fruit\n\nBananas are yellow.\n")
    cli.index(made, "--store", made / ".qwen3-rag", *cli.models)
    return made


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_an_index_is_served_until_sigterm(cli: Any, folder: Path) -> None:
    with _serving(cli, "--index", folder) as (process, url):
        body = {"query": "What is the capital of France?", "limit": 1}
        answer = httpx.post(f"{url}/v1/search", json=body, timeout=60).json()
        models = httpx.get(f"{url}/meta").json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in (0, 143, -signal.SIGTERM)

    assert answer["index"] == folder.name
    assert answer["hits"][0]["payload"]["path"] == "france.md"
    assert (models["embedding"], models["reranking"]) == ("embedding", "reranking")


def test_models_are_served_without_an_index_with_the_key_of_a_variable(cli: Any) -> None:
    arguments = ("--model", "tiny", "--server-key-env", "SERVED_KEY")
    chat = ("--chat-url", "http://127.0.0.1:9", "--chat-model", "writer")
    with _serving(cli, *arguments, *chat, SERVED_KEY="k-4711") as (process, url):
        body = {"model": "tiny", "input": "a"}
        refused = httpx.post(f"{url}/v1/embeddings", json=body)
        allowed = httpx.post(
            f"{url}/v1/embeddings", json=body, headers={"authorization": "Bearer k-4711"}
        )
        asked = httpx.post(
            f"{url}/v1/ask", json={"question": "a"}, headers={"authorization": "Bearer k-4711"}
        )
        if os.name == "posix":  # its terminal is closed
            process.send_signal(signal.SIGHUP)
            assert process.wait(timeout=60) == 129
            assert process.stderr.read() == ""

    assert (refused.status_code, allowed.status_code) == (401, 200)
    assert "Start it with --index" in asked.json()["message"]  # there is a chat model


def test_questions_are_answered_by_the_chat_model_of_the_options(cli: Any, folder: Path) -> None:
    with ChatEndpoint(lambda messages: "Paris [1].", api_key="k3y") as endpoint:
        arguments = ("--index", folder, "--chat-url", endpoint.url, "--chat-key-env", "CHAT_KEY")
        with _serving(
            cli,
            *arguments,
            *("--chat-option", "temperature=0"),
            CHAT_KEY="k3y",
            QWEN3_RAG_CHAT_MODEL="writer",
        ) as (_, url):
            body = {"question": "What is the capital of France?", "limit": 1}
            answer = httpx.post(f"{url}/v1/ask", json=body, timeout=60).json()

    assert answer["text"] == "Paris [1]."
    assert answer["sources"][0]["payload"]["path"] == "france.md"
    [request] = endpoint.requests
    assert (request["model"], request["temperature"]) == ("writer", 0)


def test_what_cannot_be_served_ends_with_an_error(cli: Any, folder: Path, tmp_path: Path) -> None:
    for arguments, code, told in (
        (["--model", "tiny", "--server-key-env", "NOT_SET_HERE"], 2, "NOT_SET_HERE"),
        (["--index", tmp_path], 3, "There is no index"),
        (["--index", ""], 2, "`--index` is empty"),
        (["--index", folder, "--index", folder], 2, "Two of the indexes are named"),
        (["--model", "tiny", "--port", "70000"], 2, "`port` must be"),
        (["--model", "tiny", "--chat-url", "http://localhost"], 2, "--chat-model NAME"),
        (["--model", "tiny", "--chat-option", "a=1"], 2, "--chat-url URL"),
        (["--model", "tiny", "--host", "192.0.2.1"], 2, "192.0.2.1"),
    ):
        result = cli.run("serve", *arguments)
        assert result.code == code, result.err
        assert told in result.err
