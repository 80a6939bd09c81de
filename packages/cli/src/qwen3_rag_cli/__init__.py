"""The console command `qwen3-rag`: index a folder, search it, and look after both.

Importing this loads nothing but the standard library.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Reading metadata takes 10 ms, which every start of the command would pay.
    from importlib.metadata import version

    return version("qwen3-rag-cli")
