"""Models on servers: the options of the command line, and what an index remembers of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from qwen3_rag import Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.errors import InputError, Qwen3RagError, StoreError
from qwen3_rag_cli.console import waiting
from qwen3_rag_cli.runtime import HERE, ServerOptions

__all__ = ["chosen_server", "connected", "recorded_server", "server_record"]

#: Fields of `Remote` that an index remembers. An index may come from somebody else, so the name of
#: a variable with a key is none of them: a key is sent only where the user says.
REMEMBERED = ("base_url", "api", "model", "revision")

#: What the messages of `Remote` name, and the options; `{}` stands for how their names begin.
NAMES = {
    "`api_key` or `api_key_env`": "`--{}api-key-env NAME`",
    "`Remote(..., revision=...)`": "`--{}served-revision`",
    "; a key given as a value is not kept in pickles and files": "",
    ", or None; got": "; got",
    "`base_url`": "`--{}base-url`",
    "`api_key_env`": "`--{}api-key-env`",
    "`api`": "`--{}api`",
    "`Remote(model=...)`, which adapters call `served_model`": "`--{}served-model`",
    "`model` must be a name or None": "`--{}served-model` must be a name",
    "`revision` must be a name or None": "`--{}served-revision` must be a name",
}

M = TypeVar("M", Qwen3Embedder, Qwen3Reranker)


def chosen_server(
    options: ServerOptions, recorded: Remote | None, prefix: str = ""
) -> Remote | None:
    """Choose a model's server.

    Args:
        options: The options of the command line.
        recorded: The one that the index remembers.
        prefix: How the names of the options begin.

    Returns:
        The server; `None` to run the model in this process.

    Raises:
        InputError: The options cannot be used.
    """
    if options.base_url is None:
        others = {
            "api": options.api,
            "api-key-env": options.api_key_env,
            "served-model": options.model,
            "served-revision": options.revision,
        }
        for name, value in others.items():
            if value is not None:
                raise InputError(
                    f"`--{prefix}{name}` is for a model on a server. Give the server's address "
                    f"with `--{prefix}base-url`, also if the index remembers it."
                )
        return recorded
    if options.base_url == HERE:
        return None
    try:
        return Remote(
            options.base_url,
            options.api,
            options.model,
            api_key_env=options.api_key_env,
            revision=options.revision,
        )
    except InputError as error:
        raise InputError(_in_options(str(error), prefix)) from error


def server_record(server: Remote | None) -> dict[str, Any] | None:
    """Return what an index remembers of a server."""
    return None if server is None else {name: getattr(server, name) for name in REMEMBERED}


def recorded_server(record: Mapping[str, Any] | None) -> Remote | None:
    """Read what `server_record` returned.

    Raises:
        StoreError: It is damaged.
    """
    if record is None:
        return None
    try:
        fields: dict[str, Any] = {name: record.get(name) for name in REMEMBERED}
        return Remote(**fields)
    except (AttributeError, InputError) as error:
        raise StoreError(
            f"The index remembers a server that cannot be used: {error} Name one with "
            f"`--base-url`, or index into another --store."
        ) from error


def connected(model: M, server: Remote | None, options: ServerOptions, prefix: str = "") -> M:
    """Connect a model to its server, if it has one, and return it.

    Raises:
        BackendError: The server does not answer, or does not run this model.
    """
    if server is None:
        return model
    try:
        # A server that is not there is tried for a quarter of a minute.
        with waiting(f"Connecting to {server.base_url}"):
            model.warm_up()
    except Qwen3RagError as error:
        model.close()
        text = _in_options(str(error), prefix)
        if options.base_url is None:
            text += (
                f" The index remembers this address; `--{prefix}base-url` names another one, and "
                f"`--{prefix}base-url {HERE}` runs the model here."
            )
        raise type(error)(text) from error
    return model


def _in_options(message: str, prefix: str) -> str:
    for name, option in NAMES.items():
        message = message.replace(name, option.format(prefix))
    return message
