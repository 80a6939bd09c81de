"""What shells complete as the value of an option. Where nothing fits, they complete paths.

Each press of the tabulator starts the command anew, so nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["EMBEDDERS", "RERANKERS", "one_of"]

#: The published models; a test compares them with the core's records, which take long to import.
EMBEDDERS = ("tiny", *(f"Qwen/Qwen3-Embedding-{size}" for size in ("0.6B", "4B", "8B")))
RERANKERS = ("tiny", *(f"Qwen/Qwen3-Reranker-{size}" for size in ("0.6B", "4B", "8B")))


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Make a function that completes the beginning of one of some values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete
