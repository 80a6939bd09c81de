"""Prompts as token ids."""

from __future__ import annotations

from dataclasses import dataclass

from qwen3_rag.backends._base import WHOLE

__all__ = ["Encoded", "TokenSequence"]


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """The ids of one prompt.

    Attributes:
        prefix: Leading ids that other sequences may share; may be empty.
        ids: The remaining ids, at least one.
    """

    prefix: tuple[int, ...]
    ids: tuple[int, ...]

    @property
    def length(self) -> int:
        """Number of tokens, prefix included."""
        return len(self.prefix) + len(self.ids)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One prompt as token ids, and where its texts were cut.

    Attributes:
        sequence: The ids.
        cut_at: Number of characters kept of the text or document, `WHOLE` if it was not cut.
        query_cut_at: The same for the query of a pair.
    """

    sequence: TokenSequence
    cut_at: int = WHOLE
    query_cut_at: int = WHOLE
