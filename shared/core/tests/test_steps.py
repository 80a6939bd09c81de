from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import termios
from concurrent.futures import CancelledError, Future

import pytest

from qwen3_rag._flow import Steps, run, run_async
from qwen3_rag._progress import progress_bar


def _future(value: object = None, error: Exception | None = None) -> Future[object]:
    future: Future[object] = Future()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
    return future


def _sum() -> Steps[object]:
    left = yield _future(2)
    right = yield _future(3)
    return left + right


def _recover() -> Steps[str]:
    try:
        yield _future(error=ValueError("x"))
    except ValueError:
        return "recovered"
    return "not reached"


def test_both_drivers_send_results_and_errors_into_the_steps() -> None:
    assert run(_sum()) == 5
    assert asyncio.run(run_async(_sum())) == 5
    assert run(_recover()) == "recovered"
    assert asyncio.run(run_async(_recover())) == "recovered"


def test_cancelling_the_task_cancels_the_future() -> None:
    waiting: Future[object] = Future()

    def steps() -> Steps[object]:
        return (yield waiting)

    async def cancel() -> None:
        task = asyncio.create_task(run_async(steps()))
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

    def steps() -> Steps[object]:
        return (yield waiting)

    with pytest.raises(KeyboardInterrupt):
        run(steps())
    assert waiting.cancelled()


def test_a_dropped_coroutine_gives_up_the_place() -> None:
    waiting: Future[object] = Future()

    def steps() -> Steps[object]:
        return (yield waiting)

    async def drop() -> None:
        coroutine = run_async(steps())
        coroutine.send(None)
        coroutine.close()

    asyncio.run(drop())

    assert waiting.cancelled()


def test_a_cancelled_future_ends_a_blocking_call() -> None:
    waiting: Future[object] = Future()
    waiting.cancel()

    def steps() -> Steps[object]:
        return (yield waiting)

    with pytest.raises(CancelledError):
        run(steps())


def test_progress_is_silent_in_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar(True, 3, "Embedding", "text") as advance:
        assert advance is not None
        advance(3)

    assert capfd.readouterr() == ("", "")


def test_progress_shows_a_bar_on_a_terminal() -> None:
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 80))  # tqdm shows nothing in a window without columns
    code = (
        "from qwen3_rag._progress import progress_bar\n"
        "with progress_bar(True, 3, 'Embedding', 'text') as advance: advance(3)\n"
    )
    subprocess.run([sys.executable, "-c", code], stderr=child, check=True)
    os.set_blocking(parent, False)
    said = os.read(parent, 4096).decode()
    os.close(child)
    os.close(parent)

    assert "Embedding" in said
    assert "0/3" in said


def test_no_progress_gives_no_callback() -> None:
    with progress_bar(False, 3, "Embedding", "text") as advance:
        assert advance is None
