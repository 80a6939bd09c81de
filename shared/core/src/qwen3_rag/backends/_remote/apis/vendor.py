"""What the APIs of vendors have in common."""

from __future__ import annotations

from qwen3_rag.backends._remote.apis.base import Api

__all__ = ["Vendor"]


class Vendor(Api):
    """A vendor is known by its host's name alone, and counts the tokens of its own prompts."""

    counts = False

    async def answers(self) -> bool:
        return False

    async def connect(self) -> None:
        """Nothing is asked before the first request."""
