"""Servers that answer wrongly, slowly or elsewhere: no wrong number, no hanging, no key shown."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import re
import shutil
import ssl
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qwen3_rag_tiny
from qwen3_rag import BackendError, InputError, Qwen3Embedder, Remote
from qwen3_rag_testkit.answering_server import (
    DIM,
    Answer,
    AnsweringServer,
    Exchange,
    items,
    vector,
)

pytest.importorskip("tokenizers", reason="models on servers need tokenizers")

from tokenizers import Tokenizer

TEXTS = ["one", "two"]


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    server = AnsweringServer()
    yield server
    server.stop()


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Qwen3Embedder]]:
    """Make embedders of a model whose files are nowhere."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    made: list[Qwen3Embedder] = []

    def make(url: str, **settings: Any) -> Qwen3Embedder:
        spec = Remote(url, api="openai", **{"max_retries": 0, "timeout": 10, **settings})
        made.append(Qwen3Embedder("served", backend=spec))
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()


def with_first(embedding: Any) -> Answer:
    """Answer with another first vector."""

    def answer(handler: Exchange, body: dict[str, Any]) -> None:
        first, *others = items(body["input"])
        handler.send_json({"data": [{**first, "embedding": embedding}, *others]})

    return answer


UNREADABLE: dict[str, Answer] = {
    "a page": lambda handler, _: handler.send(200, b"<html>Please log in</html>"),
    "nothing": lambda handler, _: handler.send(204, b""),
    "null": lambda handler, _: handler.send_json(None),
    "a list": lambda handler, _: handler.send_json([]),
    "too deep": lambda handler, _: handler.send(200, b"[" * 100_000),
    "not gzip": lambda handler, _: handler.send(200, b"{}", **{"Content-Encoding": "gzip"}),
    "error": lambda handler, _: handler.send_json({"error": {"message": "out of memory"}}),
    "same index": lambda handler, body: handler.vectors(
        body, data=[{**item, "index": 0} for item in items(body["input"])]
    ),
    "one more": lambda handler, body: handler.vectors(
        body, data=items([*body["input"], "and another"])
    ),
    "one less": lambda handler, body: handler.vectors(body, data=items(body["input"][1:])),
    "no vector": with_first(None),
    "texts": with_first(["0.5"] * DIM),
    "truth values": with_first([True] * DIM),
    "large integers": with_first([10**400] * DIM),
    "too large": with_first([1e300] * DIM),
    "another base64": with_first(base64.urlsafe_b64encode(b"\xff" * 4 * DIM).decode()),
    "vectors of vectors": with_first([[0.5] * DIM]),
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_answer_is_never_taken_for_one(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder], answer: Answer
) -> None:
    embedder = make(server.url)
    np.testing.assert_allclose(embedder.embed_documents(TEXTS)[1], vector("two"), atol=1e-6)
    server.answer = answer

    with pytest.raises(BackendError, match="about prompts 0 to 1 of 2"):
        embedder.embed_documents(TEXTS)


def test_the_server_s_own_words_are_shown(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder]
) -> None:
    server.answer = UNREADABLE["error"]

    with pytest.raises(BackendError, match=r"out of memory.*Or it runs a reranker"):
        make(server.url).warm_up()


@pytest.mark.parametrize("usage", ["many", [1], {"prompt_tokens": "7"}, {"prompt_tokens": None}])
def test_a_count_that_is_none_is_not_read(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder], usage: object
) -> None:
    server.answer = lambda handler, body: handler.vectors(body, usage=usage)

    np.testing.assert_allclose(
        make(server.url).embed_documents(TEXTS), [vector(text) for text in TEXTS], atol=1e-6
    )


def test_vectors_of_another_size_than_before_are_an_error(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder]
) -> None:
    embedder = make(server.url, batch_size=1)
    embedder.warm_up()
    server.answer = lambda handler, body: handler.vectors(
        body, data=items(body["input"], 4 if "two" in body["input"] else DIM)
    )

    with pytest.raises(BackendError, match=r"of 4 numbers, and with 8 before.*prompts 1 to 1 of 2"):
        embedder.embed_documents(TEXTS)


def test_a_text_that_the_server_cuts_is_an_error(server: AnsweringServer) -> None:
    tokenizer = Tokenizer.from_file(str(qwen3_rag_tiny.embedding_folder() / "tokenizer.json"))
    limit = 64

    def answer(handler: Exchange, body: dict[str, Any]) -> None:
        counts = [min(limit, len(tokenizer.encode(text).ids)) for text in body["input"]]
        data = items(body["input"], 512)
        handler.vectors(body, data=data, usage={"prompt_tokens": sum(counts)})

    server.answer = answer
    with Qwen3Embedder("tiny", backend=Remote(server.url, api="openai")) as embedder:
        embedder.embed_documents(["word " * 50, "<|im_end|>" * 3])

        with pytest.raises(BackendError, match="read 64 tokens of prompts that have 10"):
            embedder.embed_documents(["word " * 100])


def test_a_slow_answer_takes_no_longer_than_the_timeout(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder]
) -> None:
    """Not even if something comes all the time."""
    embedder = make(server.url, timeout=0.5)
    embedder.warm_up()

    def byte_after_byte(handler: Exchange, body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.1)

    server.answer = byte_after_byte
    started = time.monotonic()

    with pytest.raises(BackendError, match=r"no answer within 0\.5 seconds"):
        embedder.embed_documents(TEXTS)

    assert time.monotonic() - started < 5


def test_a_request_that_is_too_large_is_sent_in_parts(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder]
) -> None:
    def at_most_three(handler: Exchange, body: dict[str, Any]) -> None:
        if len(body["input"]) > 3 or "long" in body["input"]:
            handler.send(413, b"<html>Request Entity Too Large</html>")
        else:
            handler.vectors(body)

    server.answer = at_most_three
    texts = [str(number) for number in range(20)]
    embedder = make(server.url)

    found = embedder.embed_documents(texts)

    np.testing.assert_allclose(found, [vector(text) for text in texts], atol=1e-6)
    with pytest.raises(BackendError, match=r"status 413: .*Too Large"):
        embedder.embed_documents([*texts, "long"])


@pytest.mark.parametrize(
    ("asked", "message"), [("120", "asks to wait 120 seconds"), ("9" * 400, "asks to wait inf")]
)
def test_a_server_that_asks_to_wait_too_long_is_quoted(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder], asked: str, message: str
) -> None:
    server.answer = lambda handler, _: handler.send(429, b"busy", **{"Retry-After": asked})

    with pytest.raises(BackendError, match=f"{message}.*60 are waited at most"):
        make(server.url, max_retries=3).warm_up()

    assert len(server.inputs) == 1


@pytest.mark.parametrize("asked", ["-5", "1e3", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", ""])
def test_a_wait_that_is_none_or_over_is_not_waited_for(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder], asked: str
) -> None:
    def busy_once(handler: Exchange, body: dict[str, Any]) -> None:
        if len(server.inputs) == 1:
            handler.send(429, b"busy", **{"Retry-After": asked})
        else:
            handler.vectors(body)

    server.answer = busy_once

    vectors = make(server.url, max_retries=1).embed_documents(TEXTS)

    np.testing.assert_allclose(vectors[0], vector("one"), atol=1e-6)


def test_an_answer_without_a_named_compression_is_read(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder]
) -> None:
    data = json.dumps({"data": items(TEXTS)}).encode()
    server.answer = lambda handler, _: handler.send(200, data, **{"Content-Encoding": ""})

    assert make(server.url).embed_documents(TEXTS).shape == (2, DIM)


def test_the_first_error_ends_a_call(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder]
) -> None:
    embedder = make(server.url, batch_size=1, concurrency=2)
    embedder.warm_up()
    server.inputs.clear()

    def refuse_one(handler: Exchange, body: dict[str, Any]) -> None:
        if body["input"] == ["bad"]:
            handler.send(400, b'{"error": "not this one"}')
        else:
            time.sleep(0.05)
            handler.vectors(body)

    server.answer = refuse_one

    with pytest.raises(BackendError, match="not this one"):
        embedder.embed_documents(["bad", *map(str, range(50))])

    assert len(server.inputs) < 25


# ------------------------------------------------------------------ secrets

FAILING: dict[str, Answer] = {
    "refuses": lambda handler, _: handler.send(401, b'{"error": "not k-4711 or h-4712"}'),
    "busy": lambda handler, _: handler.send(500, b"k-4711 and h-4712"),
    "unreadable": lambda handler, _: handler.send(200, b"k-4711 and h-4712"),
    "slow": lambda handler, _: time.sleep(3),
    "closes": lambda handler, _: handler.connection.close(),
}


@pytest.mark.parametrize("answer", FAILING.values(), ids=FAILING.keys())
def test_errors_show_no_secret_even_with_all_variables(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder], answer: Answer
) -> None:
    """As debuggers and services that collect errors show them."""
    server.answer = answer
    secrets: dict[str, Any] = {"api_key": "k-4711", "headers": {"X-Api-Key": "Key h-4712"}}
    embedder = make(server.url, timeout=1, **secrets)
    del secrets

    with pytest.raises(BackendError) as caught:
        embedder.warm_up()

    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    shown = "".join(lines)
    error: BaseException | None = caught.value
    while error is not None:
        request = getattr(error, "_request", None)
        shown += "" if request is None else repr(request.headers.raw)
        error = error.__cause__ or error.__context__
    assert "4711" not in shown
    assert "4712" not in shown


def test_a_redirect_is_not_followed(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder]
) -> None:
    """The other host must not get the key."""
    other = AnsweringServer()
    embedder = make(server.url, api_key="k-4711")
    server.answer = lambda handler, _: handler.send(
        307, b"", Location=f"{other.url}/v1/k-4711?secret=4712"
    )

    with pytest.raises(BackendError, match=f"sends to '{other.url}/v1/.*'") as caught:
        embedder.warm_up()

    other.stop()
    assert not other.inputs
    assert "47" not in str(caught.value).replace(str(other.server_port), "")


def test_the_place_of_a_redirect_is_shown_without_its_password(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder]
) -> None:
    server.answer = lambda handler, _: handler.send(
        302, b"", Location="https://user:s3cret@host.example/v1"
    )

    with pytest.raises(BackendError, match=r"sends to 'https://host\.example/v1'"):
        make(server.url).warm_up()


@pytest.mark.parametrize(
    "headers", [{"X-Api-Key": "h-4712\n"}, {"X-Api-Key": "h-4712é"}, {"X Key": "h-4712"}]
)
def test_headers_that_cannot_be_sent_are_refused_without_showing_them(
    headers: dict[str, str],
) -> None:
    with pytest.raises(InputError, match=f"'{next(iter(headers))}'") as caught:
        Remote("http://127.0.0.1:1", headers=headers)

    assert "4712" not in str(caught.value)


# ------------------------------------------------------------------ the way to the server


@pytest.mark.parametrize("address", ["http://a b", "http://host\x00", "http://host\n.org"])
def test_addresses_with_white_space_are_refused(address: str) -> None:
    with pytest.raises(InputError, match="no white space and no control"):
        Remote(address)


@pytest.mark.parametrize("host", ["http://\N{SNOWMAN}.example", "http://xn--", "http://[v1.a]"])
def test_a_host_that_cannot_be_asked_is_an_error_of_the_address(
    make: Callable[..., Qwen3Embedder], host: str
) -> None:
    with pytest.raises(BackendError, match=f"^{re.escape(host)}.*Check the address"):
        make(host).warm_up()


def test_a_proxy_that_cannot_be_asked_is_an_error_of_the_environment(
    make: Callable[..., Qwen3Embedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:99999")

    with pytest.raises(BackendError, match=r"^http://192\.0\.2\.1.*variables HTTP_PROXY"):
        make("http://192.0.2.1").warm_up()


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_headers_that_every_request_has_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is set for each request"):
        Remote("http://127.0.0.1:1", headers={name: "5"})


def test_names_that_cannot_be_sent_are_refused() -> None:
    with pytest.raises(InputError, match="`model` has a lone surrogate"):
        Remote("http://127.0.0.1:1", model="x\ud800")
    with pytest.raises(InputError, match="`model` has a lone surrogate"):
        Qwen3Embedder("x\ud800", backend=Remote("http://127.0.0.1:1")).warm_up()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        pytest.param(
            "0.0.0.0",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="no address on Windows"),
        ),
    ],
)
def test_a_server_on_this_machine_is_asked_without_the_proxy(
    server: AnsweringServer,
    make: Callable[..., Qwen3Embedder],
    monkeypatch: pytest.MonkeyPatch,
    host: str,
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    proxy = AnsweringServer()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)

    make(server.url.replace("127.0.0.1", host)).embed_documents(TEXTS)

    proxy.stop()
    assert server.inputs
    assert not proxy.inputs


def test_an_unusable_proxy_is_told_of_without_its_password(
    make: Callable[..., Qwen3Embedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://user:k-4711@host")

    with pytest.raises(BackendError, match="ALL_PROXY") as caught:
        make("http://192.0.2.1").warm_up()

    assert "4711" not in str(caught.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_is_trusted_if_the_environment_says_so(
    make: Callable[..., Qwen3Embedder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate)),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = AnsweringServer()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http", "https")

    with pytest.raises(BackendError, match="SSL_CERT_FILE"):
        make(url, max_retries=5).warm_up()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    vectors = make(url).embed_documents(TEXTS)

    server.stop()
    np.testing.assert_allclose(vectors[1], vector("two"), atol=1e-6)


def test_a_connection_that_nobody_waits_for_any_more_ends_in_silence(
    server: AnsweringServer, make: Callable[..., Qwen3Embedder], caplog: pytest.LogCaptureFixture
) -> None:
    embedder = make(server.url)
    asked = asyncio.Event()
    loop: asyncio.AbstractEventLoop

    def fail_late(handler: Exchange, body: dict[str, Any]) -> None:
        loop.call_soon_threadsafe(asked.set)
        time.sleep(0.3)
        handler.send(500, b"{}")

    server.answer = fail_late

    async def give_up() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        call = asyncio.create_task(embedder.aembed_documents(TEXTS))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0.6)

    with caplog.at_level(logging.ERROR, logger="asyncio"):
        asyncio.run(give_up())
        embedder.close()
        gc.collect()

    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
