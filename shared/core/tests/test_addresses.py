"""Addresses of servers: what is refused, and that no message shows a password or a key."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from qwen3_rag import BackendError, InputError, InputTypeError, Remote
from qwen3_rag.chat import Chat

KINDS = pytest.mark.parametrize("kind", [Remote, partial(Chat, model="m")], ids=["Remote", "Chat"])


@KINDS
@pytest.mark.parametrize(
    "address",
    [
        "http://u:pw4711@host/v1",
        "u:pw4711@host/v1",
        "pw4711@host",
        "//u:pw4711@host",
        "ftp://u:pw4711@host",
        "http://u:pw4711/@host",
        "http://u:pw4711#@host",
        "http://u:pw4711?@host",
        "http://host:pw4711",
        "http://[u:pw4711@host",
        "http://u:pw4711\N{ACCOUNT OF}@host",
        "http://u:pw4711 @host",
        "http://u:pw4711\n@host",
        "http:u:pw4711@host",
        "http:///u:pw4711@host",
        "https//u:pw4711@host",
        "http://host/v1?key=pw4711",
        "host/v1?key=pw4711",
        "host/v1#pw4711",
    ],
)
def test_no_message_shows_a_secret_in_an_address(kind: Callable[[Any], Any], address: str) -> None:
    with pytest.raises(InputError, match="`base_url`") as caught:
        kind(address)

    assert "4711" not in "".join(traceback.format_exception(caught.value)).replace(address, "")
    assert "4711" not in str(caught.value)


@KINDS
@pytest.mark.parametrize("address", ["localhost:8000", "gpu/v1", "ftp://host", ""])
def test_an_address_without_a_secret_is_shown(kind: Callable[[Any], Any], address: str) -> None:
    with pytest.raises(InputError, match="must be like 'http://localhost:8000'") as caught:
        kind(address)

    assert f"got {address!r}." in str(caught.value)


@KINDS
@pytest.mark.parametrize("address", [None, 5, b"http://host"])
def test_an_address_is_a_string(kind: Callable[[Any], Any], address: Any) -> None:
    with pytest.raises(InputTypeError, match="`base_url` must be a string"):
        kind(address)


@KINDS
@pytest.mark.parametrize("port", ["0", "65536", "8o"])
def test_a_port_is_a_number_in_range(kind: Callable[[Any], Any], port: str) -> None:
    with pytest.raises(InputError, match="must be like"):
        kind(f"http://localhost:{port}")


@pytest.mark.parametrize("host", ["a_ä", "xn--", "[v1.a]"])
def test_a_host_without_an_ascii_form_is_refused_by_the_chat_client(host: str) -> None:
    with pytest.raises(InputError, match="`base_url` cannot be used: "):
        Chat(f"http://{host}", "m")


def test_a_proxy_that_cannot_be_asked_is_an_error_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:99999")
    chat = Chat("http://192.0.2.1", "m", retries=0)

    with pytest.raises(BackendError, match=r"^http://192\.0\.2\.1.*variables HTTP_PROXY"):
        asyncio.run(chat.acomplete([{"role": "user", "content": "?"}]))


@pytest.mark.parametrize(
    "given", [{"model": 5}, {"model": ""}, {"revision": " "}, {"batch_size": "8"}, {"api": 5}]
)
def test_values_of_the_wrong_type_are_refused(given: dict[str, Any]) -> None:
    [name] = given
    with pytest.raises(InputError, match=f"`{name}` must be"):
        Remote("http://localhost", **given)
