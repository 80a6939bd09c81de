"""A query and its filters to hits, in the index they are asked of.

Knows the index and the searcher; knows nothing of how hits are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, get_args

from qwen3_rag import Hit, InputError
from qwen3_rag_cli.files import Kind
from qwen3_rag_cli.models import Models
from qwen3_rag_cli.store import FIELDS, Store
from qwen3_rag_hybrid import HybridSearcher

__all__ = ["Depths", "close", "open_searcher", "parse_filters", "search"]


@dataclass(frozen=True)
class Depths:
    """How deep each step of a search goes.

    Attributes:
        limit: Hits to show.
        candidates: Hits of each leg that are fused.
        rerank: Fused hits that are reranked, 0 for none.
    """

    limit: int = 10
    candidates: int = 100
    rerank: int = 20


def open_searcher(store: Store, models: Models, depths: Depths) -> HybridSearcher:
    """Make a searcher on an index.

    Raises:
        InputError: A depth out of its range.
        StoreError: The index is empty, or was made with other models.
    """
    for name, value, least in (
        ("limit", depths.limit, 1),
        ("candidates", depths.candidates, 1),
        ("rerank", depths.rerank, 0),
    ):
        if value < least:
            raise InputError(f"`--{name}` must be at least {least}, got {value}.")
    if depths.limit > depths.candidates:
        raise InputError(
            f"`--limit` {depths.limit} is more than the {depths.candidates} candidates there are "
            "to choose from. Raise --candidates."
        )
    store.check(models, models.source().fingerprint)
    return HybridSearcher(
        store.legs,
        models.embedder(),
        models.reranker() if depths.rerank else None,
        candidates=depths.candidates,
        rerank_depth=depths.rerank,
    )


def close(searcher: HybridSearcher) -> None:
    """Close a searcher with its models, and with it the index's collection."""
    searcher.close()
    searcher.embedder.close()
    if searcher.reranker is not None:
        searcher.reranker.close()


def search(
    store: Store,
    models: Models,
    query: str,
    depths: Depths,
    *,
    filters: Sequence[str] = (),
    instruction: str | None = None,
) -> list[Hit]:
    """Search an index.

    Args:
        store: The index.
        models: Those it was made with, and the reranker.
        query: The question.
        depths: How deep to go.
        filters: `FIELD=VALUE`, as on the command line.
        instruction: What the query is for.
    """
    native = parse_filters(filters, store)
    searcher = open_searcher(store, models, depths)
    try:
        return searcher.search(query, limit=depths.limit, filter=native, instruction=instruction)
    finally:
        close(searcher)


def parse_filters(filters: Sequence[str], store: Store) -> Any:
    """Turn `FIELD=VALUE` into the store's filter: values of one field are alternatives.

    Raises:
        InputError: Not of that form, an unknown field, or a value nothing has.
    """
    wanted: dict[str, list[str]] = {}
    for given in filters:
        name, equals, value = given.partition("=")
        if not equals or not value:
            raise InputError(f"`--filter` must be FIELD=VALUE, got {given!r}.")
        if name not in FIELDS:
            raise InputError(
                f"`--filter` knows the fields {', '.join(sorted(FIELDS))}, got {name!r}."
            )
        wanted.setdefault(name, []).append(value)
    if not wanted:
        return None
    from qwen3_rag_cli.conditions import all_of

    if "path" in wanted:
        wanted["path"] = _paths(wanted["path"], store.manifest.paths())
    for value in wanted.get("kind", ()):
        if value not in get_args(Kind):
            raise InputError(
                f"`--filter kind=` must be one of {', '.join(get_args(Kind))}, got {value!r}."
            )
    return all_of(wanted)


def _paths(patterns: Sequence[str], indexed: Sequence[str]) -> list[str]:
    """Files that a pattern means: a glob, the file itself, or the folder it is in."""
    found: dict[str, None] = {}
    for pattern in patterns:
        folder = pattern.removeprefix("./").rstrip("/")
        matching = [
            path
            for path in indexed
            if path == folder or path.startswith(f"{folder}/") or fnmatchcase(path, pattern)
        ]
        if not matching:
            raise InputError(
                f"No indexed file matches path={pattern!r}. Indexed are {len(indexed)} files"
                + (f", the first of them {indexed[0]!r}." if indexed else ".")
                + " Give a file, a folder, or a pattern such as '*.md'."
            )
        found.update(dict.fromkeys(matching))
    return list(found)
