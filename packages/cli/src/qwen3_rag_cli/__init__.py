"""The console command `qwen3-rag`, which indexes and searches folders.

Importing this package loads only the standard library.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Reading the metadata takes 10 ms, which would delay every start of the command.
    from importlib.metadata import version

    return version("qwen3-rag-cli")
