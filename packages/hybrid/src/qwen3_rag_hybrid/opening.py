"""`open_store`: opens a collection by its address, with a client of its own."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from importlib import import_module

from qwen3_rag.errors import InputError, Qwen3RagError, StoreError
from qwen3_rag_hybrid.stores.address import KEY_VARIABLES, StoreAddress
from qwen3_rag_hybrid.stores.base import Store

__all__ = ["open_store"]


def open_store(
    address: str | os.PathLike[str] | StoreAddress, *, api_key: str | None = None
) -> Store:
    """Open a collection by its address. `close` also closes the client that is made for it.

    Args:
        address: A folder of `QdrantEdgeStore`; `qdrant://HOST:6333/COLLECTION`,
            `weaviate://HOST:8080/COLLECTION` or `milvus://HOST:19530/COLLECTION`, with TLS
            `qdrant+https://` and so on; `milvus:FILE.db/COLLECTION` for Milvus Lite, or
            `qdrant:FOLDER/COLLECTION` for Qdrant's local mode. Options follow after a `?`:
            `grpc_port` (Qdrant then uses gRPC, and Weaviate's is 50051 otherwise), `grpc_host`
            (Weaviate), and the string arguments of the store's class, as in
            `?text_key=page_content`.
        api_key: The server's key; when omitted, that of the environment variable `QDRANT_API_KEY`,
            `WEAVIATE_API_KEY` or `MILVUS_TOKEN`.

    Raises:
        InputError: The address is none of these, or has a key or password in it.
        MissingExtraError: The store's client is not installed.
        StoreError: The server does not answer or refuses the key, or the folder is in use.

    Example:
        ```python
        with HybridSearcher(open_store("qdrant://localhost/documents"), embedder) as searcher:
            searcher.search("What is the capital of France?")
        ```
    """
    place = address if isinstance(address, StoreAddress) else StoreAddress.parse(address)
    if place.kind == "edge":
        from qwen3_rag_hybrid.stores.qdrant.edge import QdrantEdgeStore

        assert place.path is not None
        return QdrantEdgeStore(place.path)
    # The store's module first: it names the extra, if the client is missing.
    module, name = _CLASSES[place.kind]
    kind = getattr(import_module(f"{__package__}.stores.{module}"), name)
    _check_names(place, kind)
    connecting = import_module(f"{__package__}.stores.{place.kind}.connecting")
    variable = KEY_VARIABLES[place.kind]
    key = api_key or os.environ.get(variable) or None
    try:
        client = connecting.connect(place, key)
    except Qwen3RagError:
        raise
    except Exception as error:
        raise StoreError(_failure(place, error, key)) from error
    store: Store = kind(client, place.collection, **place.names)
    return store.owning(client.close)


_CLASSES: Mapping[str, tuple[str, str]] = {
    "qdrant": ("qdrant.server", "QdrantStore"),
    "weaviate": ("weaviate.store", "WeaviateStore"),
    "milvus": ("milvus.store", "MilvusStore"),
}


def _check_names(place: StoreAddress, kind: type[Store]) -> None:
    """Reject options that the store's class does not take as strings."""
    allowed = [
        name
        for name, one in inspect.signature(kind).parameters.items()
        if one.kind is one.KEYWORD_ONLY and "str" in str(one.annotation)
    ]
    for name in place.names:
        if name not in allowed:
            raise InputError(
                f"The address of the collection {place.collection!r} has the option {name!r}. A "
                f"{kind.__name__} takes {', '.join(allowed) or 'none'}."
            )


def _failure(place: StoreAddress, error: Exception, key: str | None) -> str:
    told = " ".join(str(error).split())
    if key:
        told = told.replace(key, "***")
    if place.path is not None:
        return (
            f"{str(place)!r} cannot be opened: {told} Only one process at a time can use it, and "
            "its folder must exist and be writable."
        )
    state = "is set" if key else "is not set"
    return (
        f"{place.server} cannot be used: {told} Check that {place.kind.capitalize()} runs there, "
        f"and the host and ports of {str(place)!r}. The server's key is read from "
        f"{KEY_VARIABLES[place.kind]}, which {state}."
    )
