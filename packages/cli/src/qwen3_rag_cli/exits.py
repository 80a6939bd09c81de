"""Errors to one message and one exit code.

Knows the error classes, by name until one is raised; knows nothing of commands.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

__all__ = ["EXIT_CODES", "INTERRUPTED", "reported"]

#: Exit code by error class; a subclass has its parent's. Anything else is 1.
EXIT_CODES = {
    "InputError": 2,
    "StoreError": 3,
    "ModelError": 4,
    "MissingExtraError": 5,
    "BackendError": 6,
}
INTERRUPTED = 130


@contextmanager
def reported(*, debug: bool = False) -> Iterator[None]:
    """Turn whatever a command raises into a message on stderr and an exit code.

    Args:
        debug: Whether to show where it was raised.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201  # a command's own output
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, code = _explain(error)
        print(message, file=sys.stderr)  # noqa: T201  # a command's own output
        raise typer.Exit(code) from None


def _explain(error: Exception) -> tuple[str, int]:
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "qwen3_rag.errors"]
    if names:
        return f"Error: {error}", next((EXIT_CODES[n] for n in names if n in EXIT_CODES), 1)
    if isinstance(error, ModuleNotFoundError):
        return (
            f"Error: the package {error.name!r} is not installed. Install the command line anew: "
            'pip install "qwen3-rag-cli"',
            EXIT_CODES["MissingExtraError"],
        )
    return (
        f"Unexpected error: {type(error).__name__}: {error}\n"
        "This is a bug. `qwen3-rag --debug COMMAND ...` shows where.",
        1,
    )
