"""Runs a command, and reports each error as one message on stderr and an exit code."""

from __future__ import annotations

import io
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from qwen3_rag_cli import terminal

__all__ = [
    "CLOSED",
    "EXIT_CODES",
    "INTERRUPTED",
    "WHILE_WATCHING",
    "Commands",
    "State",
    "report",
]

#: Exit code by error class, including subclasses. The code of any other error is 1.
EXIT_CODES = {
    "InputError": 2,
    "StoreError": 3,
    "ModelError": 4,
    "MissingExtraError": 5,
    "BackendError": 6,
}
INTERRUPTED = 130

#: What the libraries' messages advise, and the command line has other words or no options for.
_IN_CODE = {
    ", or raise `timeout` or `max_retries`": "",
    "; what was published there can be opened with `read_only=True`": "; it can be searched",
}

#: The same for a command that tries again by itself.
WHILE_WATCHING = {
    **_IN_CODE,
    ", and run it again:": ", and it goes on by itself:",
    ", and run the same command again.": ", and it goes on by itself.",
}

#: As if killed by SIGPIPE, which is how most programs end when nobody reads on.
CLOSED = 141

#: Commands that go on where an interrupted run stopped.
CONTINUED = frozenset({"index", "reindex", "train"})


class State:
    """The options that concern all commands.

    Attributes:
        debug: Whether to print tracebacks.
        json: Whether to print errors as JSON.
    """

    debug = False
    json = False


class Commands(TyperGroup):
    """The console command: its commands, and what becomes of their errors."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command, and end the process with its exit code."""
        if not standalone_mode:  # errors are the caller's
            return super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        terminal.prepare()
        given = list(sys.argv[1:] if args is None else args)
        State.debug = False
        # Read here, because an error can be in the options themselves.
        State.json = "--json" in given[: given.index("--") if "--" in given else None]
        try:
            with _closing_when_ended():
                code = super().main(
                    args, prog_name, complete_var, False, windows_expand_args, **extra
                )
            terminal.finish()
        except Exception as error:
            code = report(error)
        sys.exit(code or 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # which typer takes for an error
            terminal.give_up()
            raise typer.Exit(CLOSED) from None
        except KeyboardInterrupt:
            said = "Interrupted."
            if ctx.invoked_subcommand in CONTINUED:
                said += " What was done is kept: run the same command again to continue."
            raise typer.Exit(_say("Interrupted", said, INTERRUPTED)) from None


@contextmanager
def _closing_when_ended() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as an exception does, which closes what is open.

    Otherwise temporary folders would stay behind. The exit code is that of the signal, 143 or 129.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signals = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    # A signal that is ignored, as below nohup, stays so; and only the main thread can decide.
    is_main = threading.current_thread() is threading.main_thread()
    changed = [
        number
        for number in signals
        if number is not None and is_main and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in changed:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def report(error: Exception, words: Mapping[str, str] = _IN_CODE) -> int:
    """Print an error, and return its exit code.

    Args:
        error: The error.
        words: What its message says, and what to say instead.
    """
    if isinstance(error, BrokenPipeError):
        terminal.give_up()
        return CLOSED
    if isinstance(error, terminal.OutputError):
        terminal.give_up()
        return _say("OutputError", f"Error: The results cannot be written ({error.strerror}).", 1)
    if State.debug:
        terminal.complain(traceback.format_exc().rstrip(), is_prose=False)
    # Compared by name: importing the classes would load the core for every usage error.
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "qwen3_rag.errors"]
    if names:
        code = next((EXIT_CODES[name] for name in names if name in EXIT_CODES), 1)
        message = f"Error: {error}"
        for advice, instead in words.items():
            message = message.replace(advice, instead)
        return _say(names[0], message, code)
    if hasattr(error, "format_message") and hasattr(error, "show"):  # the parser's
        page = io.StringIO()
        error.show(page)
        message = error.format_message() if State.json else page.getvalue().rstrip()
        return _say("UsageError", message, EXIT_CODES["InputError"])
    if isinstance(error, typer.Abort):
        return _say("Abort", "Aborted.", 1)
    if isinstance(error, ModuleNotFoundError):
        message = (
            f"Error: The package {error.name!r} is not installed. Reinstall the command line: "
            'pip install "qwen3-rag-cli"'
        )
        return _say("MissingExtraError", message, EXIT_CODES["MissingExtraError"])
    if isinstance(error, OSError):  # of the machine, and not of this program
        where = "" if error.filename is None else f": {str(error.filename)[:200]!r}"
        return _say("OSError", f"Error: {error.strerror or error}{where}.", 1)
    message = (
        f"Unexpected error: {type(error).__name__}: {error}\n"
        "This is a bug. `qwen3-rag --debug COMMAND ...` shows the traceback."
    )
    return _say(type(error).__name__, message, 1)


def _say(kind: str, message: str, code: int) -> int:
    """Print a message, as JSON if that was asked for, and return the exit code."""
    if State.json:
        error = {"type": kind, "message": message.removeprefix("Error: "), "code": code}
        message = terminal.to_json({"error": error}, sys.stderr, indent=None)
    terminal.complain(message, is_prose=not State.json)
    return code
