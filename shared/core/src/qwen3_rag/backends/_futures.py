"""Completing futures that callers of any thread wait for."""

from __future__ import annotations

import traceback
from concurrent.futures import Future, InvalidStateError
from typing import Any

from qwen3_rag.errors import BackendError, Qwen3RagError

__all__ = ["settle", "typed_error"]


def settle(future: Future[Any], result: object = None, error: BaseException | None = None) -> None:
    """Complete a future that another thread may cancel or complete at the same time."""
    try:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
    except InvalidStateError:
        pass


def typed_error(error: BaseException, message: str) -> Qwen3RagError:
    """Wrap an error that is not one of this project's in a `BackendError`."""
    if isinstance(error, Qwen3RagError):
        return error
    # The caller may keep the error; its traceback must not keep weights and tensors alive.
    traceback.clear_frames(error.__traceback__)
    wrapped = BackendError(f"{message}: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
