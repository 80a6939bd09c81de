"""What an adapter's fields say of how its model is run: here, on a server, with a cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Annotated, Any, TypedDict, TypeVar

from qwen3_rag._options import (
    LoadingOptions,
    Option,
    check_names,
    declared_options,
    given_options,
    local_options,
    with_options,
)
from qwen3_rag.backends._remote.spec import Remote
from qwen3_rag.errors import InputError

__all__ = [
    "KEY_VARIABLE",
    "AdapterOptions",
    "adapter_options",
    "check_adapter_options",
    "running_arguments",
    "with_adapter_options",
]

F = TypeVar("F", bound=Callable[..., Any])

#: The environment variable that adapters take a server's key from unless they are given one.
KEY_VARIABLE = "QWEN3_RAG_API_KEY"


#: What the messages of `Remote` name, and how adapters call it.
_NAMES = {"`model` must": "`served_model` must", "`api_key` or `api_key_env`": "`api_key`"}


class ServerOptions(TypedDict, total=False):
    """Options of a model on a server whose values are the same in every framework."""

    api: Annotated[
        str | None,
        "What the server speaks, such as 'vllm', 'tei', 'llama.cpp' or 'openai'; found out when "
        "omitted.",
    ]
    served_model: Annotated[
        str | None,
        "The model's name on a server that has several, where it is another one than `model`.",
    ]
    timeout: Annotated[float, "Seconds that one request to the server may take."]
    max_retries: Annotated[
        int, "How often a request to the server is sent again after an error that may pass."
    ]
    concurrency: Annotated[int, "Requests to the server that are under way at the same time."]
    headers: Annotated[
        Mapping[str, str] | None,
        "Further headers of every request to the server. Those whose name speaks of a secret are "
        "left out of files and pickles.",
    ]


class AdapterOptions(LoadingOptions, ServerOptions, total=False):
    """The options of an adapter whose values are the same in every framework.

    Frameworks have their own names for a server's address, and their own types for devices and
    secrets.
    """


@cache
def server_options() -> Mapping[str, Option]:
    """List the options of a model on a server, with the defaults of `Remote`."""
    defaults = {one.name: one.default for one in fields(Remote)}
    return declared_options(ServerOptions, {**defaults, "headers": None})


@cache
def adapter_options() -> Mapping[str, Option]:
    """List the options of the local engine and of a model on a server."""
    return {**local_options(), **server_options()}


def with_adapter_options(constructor: F) -> F:
    """Show the options in the signature and docstring of a constructor that takes `**options`."""
    return with_options(constructor, adapter_options())


def check_adapter_options(names: Iterable[str]) -> None:
    """Check that options of an adapter exist.

    Raises:
        InputTypeError: One does not.
    """
    check_names(names, adapter_options())


def running_arguments(adapter: Any, address: str, *, default_key: object = None) -> dict[str, Any]:
    """Read from an adapter's attributes how its model is run.

    These are the options of `adapter_options`, `backend`, `cache`, `api_key`, and the address of a
    server, which every framework calls differently.

    Args:
        adapter: The adapter.
        address: The name of its attribute for the address.
        default_key: Its `api_key` if the caller gave none.

    Returns:
        The arguments for the core's class: options of the local engine, or a `backend`; and
        `cache`. Defaults are left out.

    Raises:
        InputError: A value is out of range, an option has no use, or two things run the model.
        InputTypeError: A value has the wrong type.
    """
    arguments = given_options(adapter)
    url = getattr(adapter, address)
    given = {
        name: value
        for name, option in server_options().items()
        if (value := getattr(adapter, name)) != option.default
    }
    backend = adapter.backend
    if url is not None:
        if backend is not None:
            raise InputError(
                f"`{address}` and `backend` both say what runs the model. Leave one of them out."
            )
        given["revision"] = arguments.pop("revision", None)
        try:
            backend = _server(url, adapter.api_key, given)
        except InputError as error:
            text = str(error)
            for name, own in {**_NAMES, "`base_url`": f"`{address}`"}.items():
                text = text.replace(name, own)
            raise type(error)(text) from None
    elif adapter.api_key not in (None, default_key):
        remedy = f"Give `{address}` too." if backend is None else "Give it to `backend`."
        raise InputError(f"`api_key`: this is for a model on a server. {remedy}")
    elif given:
        names = ", ".join(f"`{name}`" for name in given)
        raise InputError(f"{names}: this is for a model on a server. Give `{address}` too.")
    if backend is not None:
        arguments["backend"] = backend
    if adapter.cache is not None:
        arguments["cache"] = adapter.cache
    return arguments


def _server(url: str, key: object, options: dict[str, Any]) -> Remote:
    # An empty variable is none, as in the files of containers.
    is_set = bool(os.environ.get(KEY_VARIABLE, "").strip())
    variable = KEY_VARIABLE if key is None and is_set else None
    name = options.pop("served_model", None)
    return Remote(url, model=name, api_key=key, api_key_env=variable, **options)
