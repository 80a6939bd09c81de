"""Programs forked from a process that has imported everything, so that they start in milliseconds.

Importing torch takes seconds, and is all that most programs in tests would do.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import IO, TypeAlias

__all__ = ["CLI", "Forked", "Program", "start"]

#: The code of the command line.
CLI = "from qwen3_rag_cli.app import main; main()"

#: What is imported before the first fork; those that are not installed are left out.
PRELOADED = [
    *("torch", "transformers.models.qwen3.modeling_qwen3", "tokenizers", "pydantic", "markdown_it"),
    *("qwen3_rag.integration", "qwen3_rag_hybrid", "qwen3_rag_tiny", "qdrant_edge", "watchfiles"),
    *("qwen3_rag_cli.app", "qwen3_rag_cli.indexing", "qwen3_rag_cli.files", "qwen3_rag_cli.output"),
    *("qwen3_rag_cli.searching", "qwen3_rag_cli.updating", "qwen3_rag_cli.reading.texts"),
    "pytest",  # the main module of the tests, which each child imports
]


class Forked:
    """A running program, with the methods of `subprocess.Popen` that tests use.

    Attributes:
        stdout: What it prints, line by line.
        stderr: The same of its errors.
    """

    stdout: IO[str]
    stderr: IO[str]

    def __init__(
        self, code: str, *arguments: str, cwd: Path | None, env: Mapping[str, str] | None
    ) -> None:
        """Start it; the arguments are those of `start`."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        ours, theirs = zip(*(context.Pipe(duplex=False) for _ in range(2)), strict=True)
        environment = dict(os.environ if env is None else env)
        place = str(cwd or Path.cwd())
        self._process = context.Process(
            target=_run, args=(code, arguments, place, environment, *theirs)
        )
        self._process.start()
        for connection in theirs:
            connection.close()
        self.stdout, self.stderr = map(_opened, ours)

    @property
    def pid(self) -> int:
        """Its number in the system."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Tell whether it has ended, by its exit code."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutError: It takes longer.
        """
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise TimeoutError(f"process {self.pid} runs for more than {timeout} seconds")
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Tell it to end."""
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read all that it prints, and wait for its end.

        Raises:
            TimeoutError: It takes longer to end after it has closed its output.
        """
        with self.stdout, self.stderr, ThreadPoolExecutor(2) as pool:
            out, err = pool.map(lambda file: file.read(), (self.stdout, self.stderr))
        self.wait(timeout)
        return out, err

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stdout.close()
        self.stderr.close()
        self._process.join()


#: A running program.
Program: TypeAlias = "Forked | subprocess.Popen[str]"


def start(
    code: str, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Program:
    """Run a program's code in a process of its own, as `python -c` does.

    Elsewhere than on Linux it is not forked: torch's libraries do not allow that everywhere.

    Args:
        code: Its code.
        arguments: Its arguments.
        cwd: Where to run it.
        env: Its environment. Libraries that read it when they are imported see that of the tests.
    """
    if platform.system() == "Linux":
        return Forked(code, *arguments, cwd=cwd, env=env)
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=env,
    )


def _opened(connection: Connection) -> IO[str]:
    handle = os.dup(connection.fileno())
    connection.close()
    return os.fdopen(handle, encoding="utf-8")


def _run(
    code: str,
    arguments: tuple[str, ...],
    folder: str,
    environment: Mapping[str, str],
    *outputs: Connection,
) -> None:
    for handle, output in enumerate(outputs, 1):
        os.dup2(output.fileno(), handle)
        output.close()
    # Those that were there before may know the place in a file that they wrote to.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # Tests that run in the background ignore Ctrl-C, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
