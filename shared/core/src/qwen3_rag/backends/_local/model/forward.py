"""Runs one batch of token sequences through a model.

Loaded checkpoints run without padding, through `Layers`; a caller's model, and one whose layers
round their inputs, runs with padding and unchanged.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from qwen3_rag._results import FloatArray
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._local.device import empty_cache
from qwen3_rag.backends._local.model.layers import Layers
from qwen3_rag.backends._local.serving.batching import Packing, pack
from qwen3_rag.backends._local.serving.loaded import OutOfMemory

__all__ = ["Head", "PackedForward", "PaddedForward", "PrefixCache", "ProjectionHead", "RowsHead"]

# Messages of memory errors that have no class of their own: the CPU's allocator, MPS and CUDA's
# libraries.
OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "Invalid buffer size", "ALLOC_FAILED")

# For inputs this long, release cached memory first; it would add up to 0.5 GB.
LONG = 8_192

# Tokens of prefixes kept between batches: a dozen queries of a reranker, 117 MB for the 0.6B in
# bfloat16.
CACHED_TOKENS = 1_024


@dataclass(frozen=True, eq=False)
class RowsHead:
    """The rows of a reranker's head for the answers "no" and "yes".

    Attributes:
        rows: float32, `[2, hidden]` for "no" and "yes", or `[1, hidden]` if the checkpoint has only
            their difference.
    """

    rows: torch.Tensor

    def __call__(self, last: torch.Tensor) -> torch.Tensor:
        """Compute logits `[sequences]`."""
        return _log_odds(last.float() @ self.rows.T)


@dataclass(frozen=True, eq=False)
class ProjectionHead:
    """A reranker's whole head, for one whose rows alone would give other numbers.

    Attributes:
        projection: The module.
        answers: The outputs for "no" and "yes", or the only one if it is their difference.
    """

    projection: Any
    answers: tuple[int, ...]

    def __call__(self, last: torch.Tensor) -> torch.Tensor:
        """Compute logits `[sequences]`."""
        return _log_odds(self.projection(last)[:, list(self.answers)].float())


def _log_odds(answers: torch.Tensor) -> torch.Tensor:
    """Return the logits `[sequences]` for the outputs of "no" and "yes", or of one for both."""
    return answers[:, -1] - answers[:, 0] if answers.shape[1] == 2 else answers[:, 0]


Head: TypeAlias = RowsHead | ProjectionHead


class _BaseForward(ABC):
    """Applies the head and recognises memory errors."""

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
        self._free_memory()
        raise OutOfMemory(message)

    def _compute(self, sequences: Sequence[TokenSequence]) -> FloatArray:
        with torch.inference_mode():
            last = self._last_hidden(sequences)
            result = last.float() if self._head is None else self._head(last)
            values: FloatArray = result.cpu().numpy()
        return values

    def _free_memory(self) -> None:
        empty_cache(self._device)

    @abstractmethod
    def _last_hidden(self, sequences: Sequence[TokenSequence]) -> torch.Tensor:
        """Compute the hidden state of each sequence's last token, `[sequences, hidden]`."""


class PackedForward(_BaseForward):
    """Runs a loaded checkpoint without padding, computing shared prefixes once."""

    pads = False

    def __init__(
        self,
        trunk: Any,
        head: Head | None,
        device: str,
        *,
        eager: bool = False,
        compiled: bool = False,
    ) -> None:
        """Set up a model.

        Args:
            trunk: The transformer; see `Layers` for what happens to its weights.
            head: A reranker's head, `None` for an embedder.
            device: The model's device.
            eager: Whether attention uses plain products instead of fused kernels.
            compiled: Whether torch compiles the element-wise operations.
        """
        super().__init__(trunk, head, device)
        self._eager = eager
        self._layers = Layers(trunk, eager=eager, compiled=compiled)
        # On other devices batches are large, and a separate pass over prefixes would cost more.
        self._prefix_cache = PrefixCache(self._layers) if device == "cpu" else None

    def _compute(self, sequences: Sequence[TokenSequence]) -> FloatArray:
        values = super()._compute(sequences)
        if sys.platform == "darwin" and not self._eager and not np.isfinite(values).all():
            # Fused attention on macOS sometimes gives NaN where plain products do not
            # (sentence-transformers#3498, pytorch#182726).
            self._eager = True
            self._layers.set_attention(eager=True)
            if self._prefix_cache is not None:
                self._prefix_cache.clear()
            values = super()._compute(sequences)
        return values

    def _last_hidden(self, sequences: Sequence[TokenSequence]) -> torch.Tensor:
        if self._prefix_cache is None:
            return self._layers.last_hidden(pack(sequences))
        if max([sequence.length for sequence in sequences]) >= LONG:
            empty_cache(self._device)
        packing = pack(sequences, share_from=1)
        known = self._prefix_cache.get(packing)
        if known is None:
            packing = pack(sequences)
        return self._layers.last_hidden(packing, known)

    def _free_memory(self) -> None:
        if self._prefix_cache is not None:
            self._prefix_cache.clear()
        super()._free_memory()


class PrefixCache:
    """Keys and values of the most recently used prefixes.

    Prefixes are always computed separately from what follows, so that a score does not depend on
    whether its prefix was cached.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._cached: dict[bytes, torch.Tensor] = {}  # by ids, least recently used first

    def get(self, packing: Packing) -> torch.Tensor | None:
        """Find or compute the keys and values of a batch's prefixes; see `Layers.last_hidden`.

        Returns:
            `None` if there are no prefixes, or more than fit into the cache.
        """
        if not packing.prefixes:
            return None
        last = packing.prefixes[-1]
        tokens = last.start + last.length
        if tokens > CACHED_TOKENS:
            return None
        keys = []
        missing: dict[bytes, NDArray[np.int64]] = {}
        for span in packing.prefixes:
            ids = packing.ids[span.start : span.start + span.length]
            key = ids.tobytes()
            keys.append(key)
            if key in self._cached:
                self._cached[key] = self._cached.pop(key)  # now the most recently used
            else:
                missing[key] = ids
        if missing:
            self._add(missing)
        states = [self._cached[key] for key in keys]
        return states[0] if len(states) == 1 else torch.cat(states, dim=2)

    def _add(self, missing: dict[bytes, NDArray[np.int64]]) -> None:
        """Compute prefixes in one pass; they replace the least recently used ones."""
        tokens = sum(map(len, missing.values()))
        while tokens + sum(states.shape[2] for states in self._cached.values()) > CACHED_TOKENS:
            del self._cached[next(iter(self._cached))]
        packing = pack([TokenSequence((), tuple(ids.tolist())) for ids in missing.values()])
        states = self._layers.keys_and_values(packing)
        for key, span in zip(missing, packing.spans, strict=True):
            rows = slice(span.start, span.start + span.length)
            self._cached[key] = states[:, :, rows].clone()

    def clear(self) -> None:
        """Empty the cache."""
        self._cached.clear()


class PaddedForward(_BaseForward):
    """Runs a model through its public interface, unchanged.

    Rows are padded on the right. Attention is causal, so no token sees the padding, and no mask is
    needed.
    """

    pads = True

    def __init__(self, trunk: Any, head: Head | None, device: str, *, alone: bool = False) -> None:
        """Set up a model.

        Args:
            trunk: The transformer.
            head: A reranker's head, `None` for an embedder.
            device: The model's device.
            alone: Whether each sequence runs by itself, for a model whose results depend on the
                shape of the batch.
        """
        super().__init__(trunk, head, device)
        self._alone = alone

    def _compute(self, sequences: Sequence[TokenSequence]) -> FloatArray:
        if not self._alone:
            return super()._compute(sequences)
        compute = super()._compute
        return np.concatenate([compute([sequence]) for sequence in sequences])

    def _last_hidden(self, sequences: Sequence[TokenSequence]) -> torch.Tensor:
        longest = max(sequence.length for sequence in sequences)
        rows = torch.zeros((len(sequences), longest), dtype=torch.long)
        for row, sequence in zip(rows, sequences, strict=True):
            row[: sequence.length] = torch.tensor((*sequence.prefix, *sequence.ids))
        hidden: torch.Tensor = self._trunk(
            input_ids=rows.to(self._device), use_cache=False
        ).last_hidden_state
        last = torch.tensor([sequence.length - 1 for sequence in sequences])
        return hidden[torch.arange(len(sequences)), last.to(hidden.device)]
