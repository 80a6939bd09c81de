"""Runs an implementation in a separate process.

Every thread that multiplies matrices has its own pool of OpenMP threads. Two implementations in one
process would have more threads than cores. libgomp then lets them sleep between products, which
slows both down, and no user would run them that way.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from benchmarks.engine.timing import Row, Side

__all__ = ["alone", "apart"]


def alone(measure: Callable[..., Iterable[Row]], *arguments: Any) -> list[Row]:
    """Run a measurement in a new process."""
    context = multiprocessing.get_context("spawn")
    threads = (torch.get_num_threads(),)
    with ProcessPoolExecutor(1, context, initializer=_prepare, initargs=threads) as process:
        return process.submit(_listed, measure, arguments).result()


def _listed(measure: Callable[..., Iterable[Row]], arguments: tuple[Any, ...]) -> list[Row]:
    return list(measure(*arguments))


def apart(stack: ExitStack, make: Callable[..., Side], *arguments: Any) -> Side:
    """Make an implementation in a new process.

    Args:
        stack: Ends the process when it is closed.
        make: A module-level function that makes the implementation.
        arguments: Arguments of `make`.

    Returns:
        The implementation; its `run` returns arrays.
    """
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    work = (there, torch.get_num_threads(), make, arguments)
    child = context.Process(target=_serve, args=work, daemon=True)
    child.start()
    there.close()
    stack.callback(child.join)
    stack.callback(here.close)  # tells the child to end
    shallow = False

    def answer() -> Any:
        try:
            return here.recv()
        except EOFError:
            raise RuntimeError("A benchmark process ended; its output is above.") from None

    def run(items: Sequence[Any], size: int) -> object:
        here.send((items, size, shallow))
        return answer()

    @contextmanager
    def cut() -> Iterator[None]:
        nonlocal shallow
        shallow = True
        try:
            yield
        finally:
            shallow = False

    return Side(run=run, cut=cut, **answer())


def _serve(connection: Connection, threads: int, make: Callable[..., Side], arguments: Any) -> None:
    _prepare(threads)
    side = make(*arguments)
    connection.send({name: getattr(side, name) for name in ("who", "sweep", "default", "rounds")})
    with suppress(EOFError):
        while True:
            items, size, shallow = connection.recv()
            with side.cut() if shallow else nullcontext():
                connection.send(np.asarray(side.run(items, size)))


def _prepare(threads: int) -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(threads)
