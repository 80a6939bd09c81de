"""One flow for blocking and async callers: results, errors, interrupts and cancelling."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future

import pytest

from qwen3_rag.integration import Call, Flow, run, run_async


def _future(value: object = None, error: Exception | None = None) -> Future[object]:
    future: Future[object] = Future()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
    return future


def _sum() -> Flow[object]:
    left = yield _future(2)
    right = yield _future(3)
    return left + right


def _recover() -> Flow[str]:
    try:
        yield _future(error=ValueError("x"))
    except ValueError:
        return "recovered"
    return "not reached"


def test_both_drivers_send_results_and_errors_into_the_flow() -> None:
    assert run(_sum()) == 5
    assert asyncio.run(run_async(_sum())) == 5
    assert run(_recover()) == "recovered"
    assert asyncio.run(run_async(_recover())) == "recovered"


def test_cancelling_the_task_cancels_the_future() -> None:
    waiting: Future[object] = Future()

    def flow() -> Flow[object]:
        return (yield waiting)

    async def cancel() -> None:
        task = asyncio.create_task(run_async(flow()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())

    assert waiting.cancelled()


def test_an_interrupt_gives_up_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: Future[object] = Future()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting, "result", interrupt)

    def flow() -> Flow[object]:
        return (yield waiting)

    with pytest.raises(KeyboardInterrupt):
        run(flow())
    assert waiting.cancelled()


def test_a_dropped_coroutine_gives_up_the_place() -> None:
    waiting: Future[object] = Future()

    def flow() -> Flow[object]:
        return (yield waiting)

    async def drop() -> None:
        coroutine = run_async(flow())
        coroutine.send(None)
        coroutine.close()

    asyncio.run(drop())

    assert waiting.cancelled()


def test_a_cancelled_future_ends_a_blocking_call() -> None:
    waiting: Future[object] = Future()
    waiting.cancel()

    def flow() -> Flow[object]:
        return (yield waiting)

    with pytest.raises(CancelledError):
        run(flow())


def test_a_call_runs_blocking_here_and_awaited_on_the_loop() -> None:
    def blocking() -> str:
        return f"blocking on {threading.current_thread().name}"

    async def awaited() -> str:
        await asyncio.sleep(0)
        return "awaited"

    def flow() -> Flow[object]:
        return (yield Call(blocking, awaited))

    assert run(flow()) == f"blocking on {threading.current_thread().name}"
    assert asyncio.run(run_async(flow())) == "awaited"


def test_an_error_of_a_call_is_raised_in_the_flow() -> None:
    def blocking() -> None:
        raise ValueError("x")

    async def awaited() -> None:
        raise ValueError("x")

    def flow() -> Flow[str]:
        try:
            yield Call(blocking, awaited)
        except ValueError:
            return "recovered"
        return "not reached"

    assert run(flow()) == "recovered"
    assert asyncio.run(run_async(flow())) == "recovered"
