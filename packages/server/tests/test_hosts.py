"""The addresses that a server listens on, and the names that it answers to."""

from __future__ import annotations

import socket

import httpx
import pytest

from qwen3_rag import InputError, Qwen3Embedder
from qwen3_rag_server import RunningServer, Served


def _status(server: RunningServer, host: str | None = None) -> int:
    headers = {} if host is None else {"host": host}
    return httpx.get(f"{server.url}/health", headers=headers, timeout=60).status_code


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "0:0:0:0:0:0:0:1"])
def test_an_address_of_this_machine_alone_answers_to_its_own_names_in_any_form(
    embedder: Qwen3Embedder, host: str
) -> None:
    try:
        server = RunningServer(Served(embedder), host=host, port=0)
    except InputError as error:
        pytest.skip(f"not an address of this machine: {error}")
    with server:
        for own in (None, "localhost", "LocalHost:80", "localhost.", "[::1]:80", host.upper()):
            name = f"[{own}]" if own and own.count(":") > 1 and "]" not in own else own
            assert _status(server, name) == 200, name
        for other in ("evil.example", "localhost.evil.example", "10.0.0.1:80"):
            assert _status(server, other) == 400, other


def test_an_address_for_all_machines_answers_to_every_name(embedder: Qwen3Embedder) -> None:
    with RunningServer(Served(embedder), host="0.0.0.0", port=0) as server:
        answer = httpx.get(
            f"http://127.0.0.1:{server.port}/health", headers={"host": "models.example"}, timeout=60
        )

    assert answer.status_code == 200


def test_what_is_no_name_of_a_host_is_refused_with_what_to_do(
    embedder: Qwen3Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoded_as_python_does(host: str, *_: object, **__: object) -> object:
        return host.encode("idna")  # tests may look up loopback names only

    monkeypatch.setattr(socket, "getaddrinfo", encoded_as_python_does)
    with pytest.raises(InputError, match=r"it is no name of a host\. Choose another"):
        RunningServer(Served(embedder), host="x" * 80, port=0)


def test_a_port_in_use_is_refused_with_what_to_do(embedder: Qwen3Embedder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port}: .* Choose another"):
            RunningServer(Served(embedder), port=port)
