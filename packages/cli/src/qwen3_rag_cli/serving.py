"""Opens the models and indexes that `serve` serves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from qwen3_rag.chat import Chat
from qwen3_rag.errors import InputError
from qwen3_rag_cli.index import Depths, Index
from qwen3_rag_cli.models import Models
from qwen3_rag_cli.places import STORE, Place
from qwen3_rag_cli.runtime import Runtime
from qwen3_rag_cli.searching import DEFAULT_RERANK
from qwen3_rag_hybrid import HybridSearcher
from qwen3_rag_server import Served

__all__ = ["opened", "server_keys"]


def server_keys(variables: Sequence[str]) -> list[str]:
    """Read the keys that requests must have.

    Raises:
        InputError: A variable is not set.
    """
    keys = []
    for name in variables:
        key = os.environ.get(name)
        if not key:
            raise InputError(
                f"`--server-key-env` names the variable {name!r}, which is not set. Set it to the "
                "key that requests must have, or leave the option out."
            )
        keys.append(key)
    return keys


@contextmanager
def opened(
    indexes: Sequence[str],
    model: str | None,
    reranker: str | None,
    runtime: Runtime,
    *,
    candidates: int,
    rerank: int | None,
    chat: Chat | None = None,
) -> Iterator[Served]:
    """Open what is to be served; the models are not loaded yet.

    Args:
        indexes: Folders and addresses of indexes.
        model: The embedding model; the first index's when omitted.
        reranker: The reranker, in the same way.
        runtime: Where the models run.
        candidates: Number of hits to take from each retriever.
        rerank: Number of fused hits to rerank; `None` for the default.
        chat: The chat model that answers questions.

    Raises:
        InputError: Two indexes have the same name, or one has none.
        StoreError: An index cannot be opened, or was made with another model.
    """
    searchers: dict[str, HybridSearcher] = {}
    with ExitStack() as closing:
        for place in map(_place, indexes):
            name = _name(place)
            if name in searchers:
                raise InputError(
                    f"Two of the indexes are named {name!r}, so no request could tell them apart. "
                    "Serve one of them on another --port, or rename its folder."
                )
            index = closing.enter_context(Index(place))
            models = index.models(model, reranker, runtime)
            depth = DEFAULT_RERANK if rerank is None else rerank
            depths = Depths(1, candidates, depth if models.reranking else 0)
            searchers[name] = closing.enter_context(index.searcher(models, depths))
        if searchers:
            first = next(iter(searchers.values()))
            served = Served(first.embedder, first.reranker, searchers, chat)
        else:
            models = Models.chosen(model, reranker, runtime=runtime)
            embedder = closing.enter_context(models.embedder())
            ranks = models.reranking is not None
            ranker = closing.enter_context(models.reranker()) if ranks else None
            served = Served(embedder, ranker, chat=chat)
        yield closing.enter_context(served)


def _place(given: str) -> Place:
    """Read a value of `--index`: an index, or the folder that an index was made for."""
    if not given:
        raise InputError(
            "`--index` is empty, as with a variable that is not set. Name an index, or leave the "
            "option out."
        )
    inside = Path(given) / STORE
    return Place.of(inside if inside.is_dir() else given)


def _name(place: Place) -> str:
    """Return a collection's name, or an index folder's: that of the folder it was made for."""
    if place.folder is None:
        return place.address.collection
    folder = place.folder.parent if place.folder.name == STORE else place.folder
    return folder.name or "index"
