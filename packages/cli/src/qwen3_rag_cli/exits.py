"""Reports each error as one message on stderr and an exit code."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

__all__ = ["EXIT_CODES", "INTERRUPTED", "State", "reported"]

#: Exit code by error class, including subclasses. The code of any other error is 1.
EXIT_CODES = {
    "InputError": 2,
    "StoreError": 3,
    "ModelError": 4,
    "MissingExtraError": 5,
    "BackendError": 6,
}
INTERRUPTED = 130

#: What the core's messages advise and the command line has no options for.
_NO_OPTIONS = ", or raise `timeout` or `max_retries`"

P = ParamSpec("P")


class State:
    """The options before the command's name."""

    debug = False


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command report any exception as a message and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if State.debug:
                traceback.print_exc()
            message, code = _explain(error)
            typer.echo(message, err=True)
            raise typer.Exit(code) from None

    return wrapper


def _explain(error: Exception) -> tuple[str, int]:
    # Compared by name: importing the classes would load the core for every usage error.
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "qwen3_rag.errors"]
    if names:
        code = next((EXIT_CODES[name] for name in names if name in EXIT_CODES), 1)
        return f"Error: {error}".replace(_NO_OPTIONS, ""), code
    if isinstance(error, ModuleNotFoundError):
        return (
            f"Error: the package {error.name!r} is not installed. Reinstall the command line: "
            'pip install "qwen3-rag-cli"',
            EXIT_CODES["MissingExtraError"],
        )
    return (
        f"Unexpected error: {type(error).__name__}: {error}\n"
        "This is a bug. `qwen3-rag --debug COMMAND ...` shows the traceback.",
        1,
    )
