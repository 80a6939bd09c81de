"""`within`: limits of a request beside those of the served model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qwen3_rag.errors import InputError

__all__ = ["within"]


def within(own: Mapping[str, Any], asked: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return the limits that a request asks for, and the model's own where it asks for none.

    Args:
        own: The arguments of the served model.
        asked: The request's limits by their names.

    Raises:
        InputError: The request has a larger one.
    """
    chosen = {}
    for name, limit in asked.items():
        most = own[name]
        if limit is not None and most is not None and limit > most:
            raise InputError(f"`{name}` can be {most:,} at most on this server, got {limit:,}.")
        chosen[name] = most if limit is None else limit
    return chosen
