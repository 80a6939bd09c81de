"""Work in a process of its own.

Every thread that multiplies keeps a pool of OpenMP threads. Where two sides do so in one process,
there are more threads than cores, and libgomp lets them all sleep between any two products: that
slows everybody, small products most, and is not how anybody would run.
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
    """Measure something in a process of its own."""
    context = multiprocessing.get_context("spawn")
    threads = (torch.get_num_threads(),)
    with ProcessPoolExecutor(1, context, initializer=_prepare, initargs=threads) as process:
        return process.submit(_listed, measure, arguments).result()


def _listed(measure: Callable[..., Iterable[Row]], arguments: tuple[Any, ...]) -> list[Row]:
    return list(measure(*arguments))


def apart(stack: ExitStack, make: Callable[..., Side], *arguments: Any) -> Side:
    """Make a side in a process that lives as long as the stack.

    Args:
        stack: Ends the process.
        make: A function of a module.
        arguments: Its arguments.

    Returns:
        The side; what it answers are arrays.
    """
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    work = (there, torch.get_num_threads(), make, arguments)
    child = context.Process(target=_serve, args=work, daemon=True)
    child.start()
    there.close()
    stack.callback(child.join)
    stack.callback(here.close)  # which the child takes for the end
    shallow = False

    def answer() -> Any:
        try:
            return here.recv()
        except EOFError:
            raise RuntimeError("A side's process ended; what it said is above.") from None

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
