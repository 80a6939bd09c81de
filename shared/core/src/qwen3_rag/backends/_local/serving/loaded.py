"""A model in memory, as the pool keeps it and the scheduler runs it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from qwen3_rag._prompts import Prompt
from qwen3_rag._results import FloatArray
from qwen3_rag.backends._base import Capabilities, Limits
from qwen3_rag.backends._checkpoint.encoded import Encoded, TokenSequence

__all__ = ["Forward", "LoadedModel", "OutOfMemory", "Tokenizer"]


class OutOfMemory(Exception):
    """A batch did not fit in the device's memory."""


class Tokenizer(Protocol):
    """Encodes prompts of one role."""

    def encode(self, prompts: Sequence[Prompt], limits: Limits, context: int) -> list[Encoded]:
        """Encode prompts, cutting what does not fit."""
        ...


class Forward(Protocol):
    """Runs batches on one device's copy of a model."""

    pads: bool  # whether it pads all rows of a batch to the longest

    def run(self, sequences: Sequence[TokenSequence]) -> FloatArray:
        """Compute vectors `[sequences, dim]` or logits `[sequences]`, float32.

        Raises:
            OutOfMemory: The batch does not fit.
        """
        ...


@dataclass(eq=False)
class LoadedModel:
    """A model that is in memory or being loaded.

    Attributes:
        key: Requests with equal keys share the model.
        name: The model's name, for error messages.
        devices: The devices that it runs on.
        budget: Maximum tokens per batch; halved when a batch does not fit in memory.
        tokenizer: Encodes its prompts; set before the weights are loaded.
        context: Longest input in tokens; set once loaded.
        forwards: One per device; set once loaded.
        capabilities: Set once loaded.
        users: Number of backends that use the model.
        loaded: Completes when every device has the weights, or with the error.
        gone: Whether loading failed or the last user left.
    """

    key: object
    name: str
    devices: tuple[str, ...]
    budget: int
    tokenizer: Tokenizer | None = None
    context: int = 0
    forwards: dict[str, Forward] = field(default_factory=dict)
    capabilities: Capabilities | None = None
    users: int = 0
    loaded: Future[None] = field(default_factory=Future)
    gone: bool = False
