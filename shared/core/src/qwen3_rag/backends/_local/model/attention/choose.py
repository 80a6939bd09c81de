"""Chooses how a model's attention is computed, by device and number format.

All implementations give the same numbers: each row attends causally to its own sequence and its
shared prefix. Queries and results are `[rows, key heads, heads per key head, size]`; keys and
values are `[rows, key heads, size]`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

import torch

from qwen3_rag.backends._local.model.attention.packed import PackedAttention
from qwen3_rag.backends._local.model.attention.varlen import VarlenAttention, varlen_kernel
from qwen3_rag.backends._local.serving.batching import Packing

__all__ = ["Attention", "MakeAttention", "choose_attention"]


class Attention(Protocol):
    """Attention within the sequences of one batch."""

    def all(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend from every wanted row; other rows of the result are undefined.

        The result may be stored in `query`.
        """
        ...

    def last(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend from the last row of each sequence; `query` contains only these rows."""
        ...


#: Creates the attention for a batch, given the first row whose result is wanted.
MakeAttention: TypeAlias = Callable[[Packing, int], Attention]


def choose_attention(device: torch.device, dtype: torch.dtype, *, eager: bool) -> MakeAttention:
    """Choose an implementation.

    Args:
        device: Where the model is.
        dtype: Number format of queries, keys and values.
        eager: Whether to use plain products instead of fused kernels.
    """
    half = dtype in (torch.bfloat16, torch.float16)
    if device.type == "cuda" and half and not eager:
        kernel = varlen_kernel(device, dtype)
        if kernel is not None:
            return lambda packing, start: VarlenAttention(packing, kernel, device)
    # On MPS the fused kernel masks wrongly in half precision before torch 2.13 (pytorch#195910),
    # and may hold the scores of all heads at once, beyond what Metal can address.
    eager = eager or device.type == "mps"
    return partial(PackedAttention, device=device, dtype=dtype, eager=eager)
