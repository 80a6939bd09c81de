"""One batch of token sequences through the model, without padding.

The flat stream goes through transformers' own layers; only the attention is ours, registered under
a name, and keeps each sequence to itself. Knows ids and tensors; knows no text and no queue.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import AttentionInterface

from qwen3_rag.backends.local.batching import Packing, Span, TokenSequence, pack
from qwen3_rag.backends.local.loading import Loaded
from qwen3_rag.backends.local.request import OutOfMemory
from qwen3_rag.results import FloatArray

__all__ = ["ATTENTION", "PackedForward", "PaddedForward"]

#: Names under which transformers finds the packed attention.
ATTENTION = {"sdpa": "qwen3_rag_sdpa", "eager": "qwen3_rag_eager"}

# What memory errors without a class of their own say: the CPU's allocator, MPS, CUDA's libraries.
OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED")


class _Forward(ABC):
    """What both ways share: the head, and telling memory errors from others."""

    def __init__(self, loaded: Loaded, device: str) -> None:
        self._loaded = loaded
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
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()
        raise OutOfMemory(message)

    def _compute(self, sequences: Sequence[TokenSequence]) -> FloatArray:
        with torch.inference_mode():
            values: FloatArray = self._answer(self._last(sequences)).cpu().numpy()
        return values

    @abstractmethod
    def _last(self, sequences: Sequence[TokenSequence]) -> torch.Tensor:
        """Hidden state of each sequence's last token, `[sequences, hidden]`."""

    def _answer(self, last: torch.Tensor) -> torch.Tensor:
        if self._loaded.projection is not None and self._loaded.answers is not None:
            logits = self._loaded.projection(last).float()
            no, yes = self._loaded.answers
            difference: torch.Tensor = logits[:, yes] - logits[:, no]
            return difference
        if self._loaded.head is None:
            return last.float()
        rows = last.float() @ self._loaded.head.T
        return rows[:, -1] - rows[:, 0] if rows.shape[1] == 2 else rows[:, 0]


class PackedForward(_Forward):
    """Runs a model loaded with one of the attention functions below."""

    pads = False

    def __init__(self, loaded: Loaded, device: str, *, share_prefix: bool = True) -> None:
        """Hold a model.

        Args:
            loaded: A model whose attention is one of `ATTENTION`.
            device: Where it is.
            share_prefix: Whether sequences of one prefix compute it once.
        """
        super().__init__(loaded, device)
        self._share_prefix = share_prefix
        self._eager = False

    def _last(self, sequences: Sequence[TokenSequence]) -> torch.Tensor:
        packing = pack(sequences, share_prefix=self._share_prefix)
        hidden: torch.Tensor = self._loaded.trunk(
            input_ids=torch.from_numpy(packing.ids).to(self._device)[None],
            position_ids=torch.from_numpy(packing.positions).to(self._device)[None],
            # A mapping tells the model that its masks have been made: there are none.
            attention_mask={"full_attention": None},
            use_cache=False,
            packing=packing,
            eager=self._eager,
        ).last_hidden_state
        return hidden[0, torch.from_numpy(packing.last).to(self._device)]

    def _compute(self, sequences: Sequence[TokenSequence]) -> FloatArray:
        values = super()._compute(sequences)
        if sys.platform == "darwin" and not self._eager and not np.isfinite(values).all():
            # Fused attention on macOS sometimes gives NaN where the plain one does not
            # (sentence-transformers#3498, pytorch#182726).
            self._eager = True
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
        hidden: torch.Tensor = self._loaded.trunk(
            input_ids=rows.to(self._device), use_cache=False
        ).last_hidden_state
        last = torch.tensor([sequence.length - 1 for sequence in sequences])
        return hidden[torch.arange(len(sequences)), last.to(hidden.device)]


def _packed(
    module: Any,  # the attention layer; unused, but transformers passes it first
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    packing: Packing,
    scaling: float,
    eager: bool = False,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each sequence of a flat stream.

    Args:
        module: The layer.
        query: `[1, heads, tokens, size]`.
        key: `[1, key-value heads, tokens, size]`.
        value: As `key`.
        attention_mask: Always `None`.
        packing: Where the sequences are.
        scaling: Factor on the products.
        eager: Whether to use plain matrix products instead of the fused kernel.

    Returns:
        `[1, tokens, heads, size]`, and no weights.
    """
    attend = _eager if eager else _fused
    output = torch.empty_like(query)
    for span in packing.spans:
        # The rows of a shared prefix come along as queries too: that keeps the causal kernel,
        # where a mask would be needed without them, and costs a small part of the attention.
        q, k, v = (_rows(states, span) for states in (query, key, value))
        attended = attend(q, k, v, scaling)
        length = span.prefix_stop - span.prefix_start
        if length:
            output[:, :, span.prefix_start : span.prefix_stop] = attended[:, :, :length]
        output[:, :, span.start : span.stop] = attended[:, :, length:]
    return output.transpose(1, 2), None


def _rows(states: torch.Tensor, span: Span) -> torch.Tensor:
    own = states[:, :, span.start : span.stop]
    if span.prefix_start == span.prefix_stop:
        return own
    return torch.cat((states[:, :, span.prefix_start : span.prefix_stop], own), dim=2)


def _fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> torch.Tensor:
    return functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=True
    )


def _eager(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> torch.Tensor:
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    weights = (query @ key.transpose(2, 3)).float() * scaling
    hidden = torch.ones(weights.shape[-2:], dtype=torch.bool, device=weights.device).triu(1)
    weights = weights.masked_fill(hidden, float("-inf")).softmax(-1)
    return weights.to(value.dtype) @ value


def _packed_eager(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
    return _packed(*args, **{**kwargs, "eager": True})


AttentionInterface.register(ATTENTION["sdpa"], _packed)
AttentionInterface.register(ATTENTION["eager"], _packed_eager)
