"""Many concurrent callers, and the latency of a query during a bulk job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

from benchmarks.engine.apart import apart
from benchmarks.engine.models import Model
from benchmarks.engine.sides import Setup, sentence_transformers
from benchmarks.engine.texts import Texts
from benchmarks.engine.timing import QWEN3_RAG, Row, note, seconds
from qwen3_rag import DEFAULT_INSTRUCTION, Qwen3Embedder
from qwen3_rag.backends import EmbedPrompt

__all__ = ["concurrency"]

CALLERS = 32
IN_TURN = f"{CALLERS} queries one after the other"
QUERY = 12
"""Tokens of a query, without the instruction."""

DOCUMENT = 128
BATCH = 1_024
"""Tokens per batch of the bulk job; fixed, so that the time of one batch can be measured."""

BATCHES = 6


def concurrency(model: Model, setup: Setup, repeats: int) -> Iterator[Row]:
    """Time concurrent calls, sequential calls, and a query during a bulk job.

    Yields:
        Rows of the table.
    """
    note(f"{model.name}: concurrency")
    texts = Texts(model.embedding)
    queries = [texts.text(QUERY) for _ in range(CALLERS)]
    bulk = texts.texts([DOCUMENT] * (BATCHES * BATCH // DOCUMENT))
    about = {"section": "concurrency", "model": model.name, "who": QWEN3_RAG}
    with (
        ExitStack() as stack,
        Qwen3Embedder(str(model.embedding), batch_tokens=BATCH, **setup.options) as embedder,
        ThreadPoolExecutor(CALLERS) as callers,
    ):

        def ask(query: str) -> object:
            return embedder.embed_queries([query])

        peer = apart(stack, sentence_transformers, model.embedding, setup)
        prompts = [EmbedPrompt(query, DEFAULT_INSTRUCTION).rendered for query in queries]
        list(callers.map(ask, queries))
        peer.run(prompts, 1)
        in_turn, at_once, alone, batch, waits, peer_runs = [], [], [], [], [], []
        for _ in range(repeats):
            peer_runs.append(seconds(lambda: [peer.run([prompt], 1) for prompt in prompts]))
            in_turn.append(seconds(lambda: [ask(query) for query in queries]))
            at_once.append(seconds(lambda: list(callers.map(ask, queries))))
            alone.append(seconds(ask, queries[0]))
            batch.append(seconds(embedder.embed_documents, bulk[: BATCH // DOCUMENT]))
            job = callers.submit(embedder.embed_documents, bulk)
            time.sleep(median(batch) / 2)  # the job is now in its first batch
            longest = 0.0
            while not job.done():
                start = time.perf_counter()
                ask(queries[0])
                longest = max(longest, time.perf_counter() - start)
            job.result()
            waits.append(longest)
    yield {**about, "case": IN_TURN, "runs": in_turn}
    yield {**about, "case": f"{CALLERS} callers at once", "runs": at_once}
    yield {**about, "case": IN_TURN, "who": peer.who, "runs": peer_runs}
    yield {**about, "case": "one query alone", "runs": alone}
    yield {**about, "case": f"one batch of {BATCH:,} tokens", "runs": batch}
    yield {**about, "case": "longest answer to one query during a bulk job", "runs": waits}
