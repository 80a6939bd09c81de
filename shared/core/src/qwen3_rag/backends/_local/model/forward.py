"""One batch of token sequences through the model, without padding.

Loaded checkpoints run packed, through `layers`; a caller's own model runs padded, as it is. Knows
ids and tensors; knows no text and no queue.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from qwen3_rag._results import FloatArray
from qwen3_rag.backends._local.device import empty_cache
from qwen3_rag.backends._local.model.layers import Layers
from qwen3_rag.backends._local.model.prefix_cache import Prefixes
from qwen3_rag.backends._local.serving.batching import TokenSequence, pack
from qwen3_rag.backends._local.serving.loaded import OutOfMemory

__all__ = ["Head", "PackedForward", "PaddedForward", "ProjectionHead", "RowsHead"]

# What memory errors without a class of their own say: the CPU's allocator, MPS, CUDA's libraries.
OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "Invalid buffer size", "ALLOC_FAILED")

# From so many tokens on, what earlier batches left is given back before a text is computed: it
# would lie beside what that takes itself, up to half a GB.
LONG = 8_192


@dataclass(frozen=True, eq=False)
class RowsHead:
    """A reranker's head cut down to its answers.

    Attributes:
        rows: float32, over the last hidden state: `[2, hidden]` for "no" and "yes", or
            `[1, hidden]` where only their difference was published.
    """

    rows: torch.Tensor

    def __call__(self, last: torch.Tensor) -> torch.Tensor:
        """Compute logits `[sequences]`."""
        answers = last.float() @ self.rows.T
        return answers[:, -1] - answers[:, 0] if answers.shape[1] == 2 else answers[:, 0]


@dataclass(frozen=True, eq=False)
class ProjectionHead:
    """A caller's own language-model head, for weights that cannot be sliced.

    Attributes:
        projection: The module.
        no: Where the answer "no" is in its output.
        yes: Where the answer "yes" is.
    """

    projection: Any
    no: int
    yes: int

    def __call__(self, last: torch.Tensor) -> torch.Tensor:
        """Compute logits `[sequences]`."""
        logits: torch.Tensor = self.projection(last).float()
        return logits[:, self.yes] - logits[:, self.no]


Head: TypeAlias = RowsHead | ProjectionHead


class _Forward(ABC):
    """Both ways to run a batch: what they share is the head, and telling memory errors."""

    def __init__(self, trunk: Any, head: Head | None, device: str) -> None:
        self._trunk = trunk
        self._head = head
        self._device = device

    def run(self, sequences: Sequence[TokenSequence]) -> FloatArray:
        """Compute; see `Forward.run`."""
        try:
            return self._compute(sequences)
        except (torch.OutOfMemoryError, MemoryError) as error:
            message = str(error)
        except RuntimeError as error:
            message = str(error)
            if not any(sign in message for sign in OUT_OF_MEMORY):
                raise
        # Outside the handlers: a chained error would keep the batch's tensors.
        self._make_room()
        raise OutOfMemory(message)

    def _compute(self, sequences: Sequence[TokenSequence]) -> FloatArray:
        with torch.inference_mode():
            last = self._last(sequences)
            answers = last.float() if self._head is None else self._head(last)
            values: FloatArray = answers.cpu().numpy()
        return values

    def _make_room(self) -> None:
        """Give back what memory can be given back."""
        empty_cache(self._device)

    @abstractmethod
    def _last(self, sequences: Sequence[TokenSequence]) -> torch.Tensor:
        """Hidden state of each sequence's last token, `[sequences, hidden]`."""


class PackedForward(_Forward):
    """Runs a loaded checkpoint over flat streams."""

    pads = False

    def __init__(
        self,
        trunk: Any,
        head: Head | None,
        device: str,
        *,
        eager: bool = False,
        compiled: bool = False,
        share_prefix: bool = True,
    ) -> None:
        """Take over a model.

        Args:
            trunk: The transformer; its layers' weights may be moved into other layouts.
            head: A reranker's, `None` for an embedder.
            device: Where it is.
            eager: Whether attention does without fused kernels.
            compiled: Whether torch compiles what it can.
            share_prefix: Whether sequences of one prefix compute it once; on a CPU also those of
                later batches.
        """
        super().__init__(trunk, head, device)
        self._layers = Layers(trunk, compiled=compiled)
        self._eager = eager
        self._prefixes: Prefixes | None = None
        self._share_from = 2 if share_prefix else sys.maxsize
        # On other devices a batch is large, and a pass over a prefix alone would cost more.
        if share_prefix and device == "cpu":
            self._prefixes = Prefixes(self._layers)

    def _last(self, sequences: Sequence[TokenSequence]) -> torch.Tensor:
        if self._device == "cpu" and max(sequence.length for sequence in sequences) >= LONG:
            empty_cache(self._device)
        known = None
        if self._prefixes is not None:
            packing = pack(sequences, share_from=1)
            known = self._prefixes.states(packing, eager=self._eager)
        if known is None:
            packing = pack(sequences, share_from=self._share_from)
        return self._layers.last_hidden(packing, known, eager=self._eager)

    def _make_room(self) -> None:
        self._forget()
        super()._make_room()

    def _forget(self) -> None:
        if self._prefixes is not None:
            self._prefixes.clear()

    def _compute(self, sequences: Sequence[TokenSequence]) -> FloatArray:
        values = super()._compute(sequences)
        if sys.platform == "darwin" and not self._eager and not np.isfinite(values).all():
            # Fused attention on macOS sometimes gives NaN where the plain one does not
            # (sentence-transformers#3498, pytorch#182726).
            self._eager = True
            self._forget()
            values = super()._compute(sequences)
        return values


class PaddedForward(_Forward):
    """Runs a model the caller loaded, through its public interface alone.

    Rows are filled on the right: attention is causal, so no token sees the filling and no mask is
    needed.
    """

    pads = True

    def _last(self, sequences: Sequence[TokenSequence]) -> torch.Tensor:
        rows = torch.zeros(
            (len(sequences), max(sequence.length for sequence in sequences)), dtype=torch.long
        )
        for row, sequence in zip(rows, sequences, strict=True):
            row[: sequence.length] = torch.tensor((*sequence.prefix, *sequence.ids))
        hidden: torch.Tensor = self._trunk(
            input_ids=rows.to(self._device), use_cache=False
        ).last_hidden_state
        last = torch.tensor([sequence.length - 1 for sequence in sequences])
        return hidden[torch.arange(len(sequences)), last.to(hidden.device)]
