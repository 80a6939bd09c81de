"""What `Chat` accepts, and that keys are in no message, representation or pickle."""

from __future__ import annotations

import copy
import pickle
import re
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from qwen3_rag import BackendError, InputError
from qwen3_rag.chat import Chat, Completion
from qwen3_rag_testkit.chat_endpoint import ChatEndpoint, Failure

KEY = "sk-a-secret-of-mine"
QUESTION = [{"role": "user", "content": "How high is Mont Blanc?"}]

Ask = Callable[[Chat], Completion]


class Secret:
    """What pydantic's `SecretStr` has."""

    def get_secret_value(self) -> str:
        return KEY


@pytest.mark.parametrize("given", [{"api_key": KEY}, {"api_key": Secret()}, {"api_key_env": "K"}])
def test_key_is_sent(ask: Ask, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Chat("http://localhost/v1", "small", **given)
    monkeypatch.setenv("K", f"{KEY}\n")  # read when it is used, as from a file
    with ChatEndpoint(api_key=KEY) as endpoint:
        ask(Chat(endpoint.url, "small", **given))

    assert KEY not in repr(chat)
    assert KEY not in repr(vars(chat))


def test_key_is_in_no_message(ask: Ask) -> None:
    said = f"The key {KEY} has no access."
    shown = "The key *** has no access."
    failures = [Failure(401, said), Failure(500, said), Failure(500, said, after=0)]
    with ChatEndpoint(failures=failures, api_key=KEY) as endpoint:
        chat = Chat(endpoint.url, "small", api_key=KEY, retries=0)
        for _ in failures:
            with pytest.raises(BackendError, match=re.escape(shown)) as raised:
                ask(chat)
            assert KEY not in "".join(traceback.format_exception(raised.value))


def test_key_is_in_no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (KEY, Secret()):
        chat = Chat("http://localhost/v1", "small", api_key=key)
        data = pickle.dumps(chat)
        assert KEY.encode() not in data
        assert pickle.loads(data) == Chat("http://localhost/v1", "small")
        assert copy.deepcopy(chat) == copy.copy(chat) == chat

    monkeypatch.setenv("K", KEY)
    chat = Chat("http://localhost/v1", "small", api_key_env="K", options={"seed": 1})
    data = pickle.dumps(chat)
    assert KEY.encode() not in data
    assert pickle.loads(data) == chat


@pytest.mark.parametrize("value", ["", " ", "sk a", "ключ", "sk\x00"])
def test_what_cannot_be_a_key_is_refused_without_showing_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"`api_key` is empty, or") as raised:
        Chat("http://localhost/v1", "small", api_key=value)
    assert value.strip() == "" or value not in str(raised.value)

    if "\x00" not in value:
        monkeypatch.setenv("K", value)
        with pytest.raises(InputError, match="variable 'K' is empty, or"):
            Chat("http://localhost/v1", "small", api_key_env="K").complete(QUESTION)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("K", raising=False)
    with pytest.raises(InputError, match="variable 'K', which `api_key_env` names, is not set"):
        Chat("http://localhost/v1", "small", api_key_env="K").complete(QUESTION)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"base_url": "localhost:8000/v1"}, "must be like 'http://localhost"),
        ({"base_url": "ftp://host/v1"}, "must be like 'http://localhost"),
        ({"base_url": "http://"}, "must be like 'http://localhost"),
        ({"base_url": None}, "must be a string"),
        ({"base_url": "http://me:pw-4711@host/v1"}, "holds a user or a password"),
        ({"base_url": "http://host/v1?key=pw-4711"}, "must have no `[?]`"),
        ({"model": " "}, "name of a model"),
        ({"api_key": 5}, "got int"),
        ({"api_key": KEY, "api_key_env": "K"}, "both given"),
        ({"timeout": 0}, "above 0"),
        ({"timeout": float("nan")}, "above 0"),
        ({"timeout": "1"}, "number of seconds"),
        ({"retries": -1}, "at least 0"),
        ({"options": None}, "must be a dictionary of further fields, got NoneType"),
        ({"options": {"stream": True, "n": 2}}, "'n', 'stream'"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, Any], said: str) -> None:
    settings: dict[str, Any] = {"base_url": "http://localhost/v1", "model": "small", **given}
    with pytest.raises(InputError, match=said) as raised:
        Chat(**settings)
    assert "4711" not in str(raised.value)


def test_settings_do_not_change_with_the_callers_objects() -> None:
    options = {"stop": ["\n"]}
    chat = Chat("http://localhost/v1/", "small", options=options)
    options["stop"].append("x")

    assert chat.options == {"stop": ["\n"]}
    assert chat.base_url == "http://localhost/v1"
    assert hash(chat) == hash(copy.deepcopy(chat))
