"""Gaps are seen wherever they lie, and work that leaves the loop alone passes."""

from __future__ import annotations

import asyncio
import time

import pytest

from qwen3_rag import Qwen3Embedder
from qwen3_rag_testkit.backends import TextBackend
from qwen3_rag_testkit.loops import SlowBackend, keeps_ticking, longest_gap


async def once_then_blocks() -> None:
    await asyncio.sleep(0)
    time.sleep(2)


async def blocks_in_the_middle() -> None:
    await asyncio.sleep(0.01)
    time.sleep(0.5)
    await asyncio.sleep(0.01)


async def never_awaits() -> None:
    time.sleep(0.5)


async def leaves_the_loop_alone() -> str:
    await asyncio.to_thread(time.sleep, 0.5)
    return "done"


async def test_work_that_awaits_once_and_then_blocks_fails() -> None:
    with pytest.raises(AssertionError, match=r"stood still for [2-9]\.\d+ s"):
        await keeps_ticking(once_then_blocks())


async def test_gaps_count_wherever_they_lie() -> None:
    for work in (blocks_in_the_middle, never_awaits):
        async with longest_gap() as gap:
            await work()
        assert gap.seconds > 0.4, work.__name__


async def test_work_that_leaves_the_loop_alone_passes_with_its_result() -> None:
    assert await keeps_ticking(leaves_the_loop_alone()) == "done"


async def test_errors_of_the_work_come_through_and_nothing_ticks_on() -> None:
    async def fails() -> None:
        raise RuntimeError("the work's own")

    with pytest.raises(RuntimeError, match="the work's own"):
        await keeps_ticking(fails())
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_call_that_waits_for_a_slow_backend_on_the_loop_fails() -> None:
    async def blocks(embedder: Qwen3Embedder) -> None:
        embedder.embed_queries(["a"])

    with Qwen3Embedder("any", backend=SlowBackend()) as embedder:
        slow = await keeps_ticking(embedder.aembed_queries(["a"]))
        with pytest.raises(AssertionError, match="stood still"):
            await keeps_ticking(blocks(embedder))
    with Qwen3Embedder("any", backend=TextBackend()) as embedder:
        assert embedder.embed_queries(["a"]).tolist() == slow.tolist()
