"""Fills a store through `HybridSearcher`, searches it, and sends the same requests without it."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.hybrid.stores import STORES, Asked, Opened, Request
from benchmarks.hybrid.texts import Texts
from qwen3_rag_hybrid import Document, HybridSearcher

__all__ = ["CALLERS", "measure"]

CALLERS = (1, 8, 64)


@dataclass(frozen=True)
class Times:
    """Times of searches.

    Attributes:
        p50: The median in milliseconds.
        p95: Milliseconds that 95 % take at most.
        per_second: Searches per second.
    """

    p50: float
    p95: float
    per_second: float


def measure(name: str, texts: Texts) -> dict[str, Any]:
    """Measure a store in this process, which should be new.

    Args:
        name: A name of `STORES`.
        texts: What to add and to search for.
    """
    with tempfile.TemporaryDirectory() as folder, STORES[name](Path(folder)) as opened:
        before = _megabytes(os.getpid())
        with HybridSearcher(opened.store, texts.embedder) as searcher:
            row = {"store": name, **_filled(opened, searcher, texts)}
            asked = [_asked(searcher, query) for query in texts.queries]
            own: list[list[Request]] = [
                [partial(searcher.embedder.embed_queries, [query]), *opened.own(one)]
                for query, one in zip(texts.queries, asked, strict=True)
            ]
            row["second_searches"] = sum(len(one.searches) > 1 for one in asked) / len(asked)
            row |= _added(searcher, texts.queries, own)
            row["callers"] = [
                _at_once(opened, searcher, texts, own, callers) for callers in CALLERS
            ]
            row["client_mb"] = _megabytes(os.getpid()) - before
            row["server_mb"] = None if opened.pid is None else _megabytes(opened.pid)
            row["disk_mb"] = _size(opened.folder)
    return row


def _filled(opened: Opened, searcher: HybridSearcher, texts: Texts) -> dict[str, Any]:
    """Add everything; `settle_s` is how long indexing goes on after that."""
    documents = [Document(f"document {n}", text) for n, text in enumerate(texts.documents)]
    searcher.create()
    start = time.perf_counter()
    searcher.add(documents)
    added = time.perf_counter()
    opened.settle()
    return {
        "documents_per_s": len(documents) / (added - start),
        "settle_s": time.perf_counter() - added,
    }


def _asked(searcher: HybridSearcher, query: str) -> Asked:
    """Record what a search asks its store for."""
    store = searcher.store
    with (
        patch.object(store, "search", wraps=store.search) as search,
        patch.object(store, "retrieve", wraps=store.retrieve) as retrieve,
    ):
        searcher.search(query)
    [[ids]] = [call.args for call in retrieve.call_args_list]
    return Asked([(call.args[0], call.kwargs["limit"]) for call in search.call_args_list], ids)


def _added(
    searcher: HybridSearcher, queries: Sequence[str], own: Sequence[Sequence[Request]]
) -> dict[str, float]:
    """Compare each search with its requests alone, one right after the other.

    Which of the two comes first alternates, because the second finds the store's caches filled. The
    processor time of the calling thread is compared too, which other programs hardly change.
    """
    took: dict[str, list[tuple[float, float]]] = {"search": [], "requests": []}
    for number, (query, sent) in enumerate(zip(queries, own, strict=True)):
        kinds: list[tuple[str, Request]] = [
            ("search", partial(searcher.search, query)),
            ("requests", partial(_send, sent)),
        ]
        for kind, call in kinds if number % 2 else reversed(kinds):
            start, cpu = time.perf_counter(), time.thread_time()
            call()
            took[kind].append((time.perf_counter() - start, time.thread_time() - cpu))
    added, cpu_added = 1e3 * np.median(np.subtract(took["search"], took["requests"]), axis=0)
    return {
        **{f"{kind}_ms": 1e3 * float(np.median([each for each, _ in took[kind]])) for kind in took},
        "added_ms": float(added),
        "cpu_added_ms": float(cpu_added),
    }


def _at_once(
    opened: Opened,
    searcher: HybridSearcher,
    texts: Texts,
    own: Sequence[Sequence[Request]],
    callers: int,
) -> dict[str, Any]:
    """Measure a number of callers, each with one search at a time."""
    row: dict[str, Any] = {
        "callers": callers,
        "requests": asdict(_in_threads(_send, own, callers)),
        "search": asdict(_in_threads(searcher.search, texts.queries, callers)),
    }
    if opened.awaited is not None:
        row["asearch"] = asdict(asyncio.run(_in_tasks(opened, texts, callers)))
    return row


def _send(requests: Sequence[Request]) -> None:
    for request in requests:
        request()


def _in_threads(call: Callable[[Any], object], work: Sequence[Any], callers: int) -> Times:
    def timed(one: Any) -> float:
        start = time.perf_counter()
        call(one)
        return time.perf_counter() - start

    with ThreadPoolExecutor(callers) as pool:
        start = time.perf_counter()
        took = list(pool.map(timed, work))
        return _times(took, time.perf_counter() - start)


async def _in_tasks(opened: Opened, texts: Texts, callers: int) -> Times:
    assert opened.awaited is not None
    took: list[float] = []

    async def caller(searcher: HybridSearcher, queries: Iterator[str]) -> None:
        for query in queries:
            start = time.perf_counter()
            await searcher.asearch(query)
            took.append(time.perf_counter() - start)

    async with opened.awaited() as store:
        searcher = HybridSearcher(store, texts.embedder)
        await searcher.asearch(texts.queries[0])  # checks the collection
        queries = iter(texts.queries)  # shared: each caller takes the next one
        start = time.perf_counter()
        await asyncio.gather(*(caller(searcher, queries) for _ in range(callers)))
        return _times(took, time.perf_counter() - start)


def _times(seconds: Sequence[float], total: float) -> Times:
    p50, p95 = np.percentile(seconds, [50, 95]).tolist()
    return Times(1e3 * p50, 1e3 * p95, len(seconds) / total)


def _megabytes(pid: int) -> float:
    """Return the memory of a process, with what it has read of mapped files. Linux only."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024 / 1e6


def _size(folder: Path) -> float:
    """Return the space that a folder takes on disk, which is less than the length of its files."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e6
