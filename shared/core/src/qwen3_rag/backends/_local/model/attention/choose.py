"""Attention over a flat stream: each row sees its own sequence and its shared prefix, causally.

Chooses a way to the same numbers by device and number format. Queries and answers are
`[rows, key heads, sharing, size]`, where `sharing` query heads share a key head; keys and values
are `[rows, key heads, size]`.
"""

from __future__ import annotations

from typing import Protocol

import torch

from qwen3_rag.backends._local.model.attention.packed import PackedAttention
from qwen3_rag.backends._local.model.attention.varlen import VarlenAttention, varlen_kernel
from qwen3_rag.backends._local.serving.batching import Packing

__all__ = ["Attention", "choose"]


class Attention(Protocol):
    """Which rows attend to which in one batch."""

    def all(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend from every row that is wanted; other rows of the answer hold anything.

        The answer may take the place of `query`.
        """
        ...

    def last(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend from the last row of each sequence, the only ones in `query`; see `all`."""
        ...


def choose(packing: Packing, like: torch.Tensor, start: int = 0, *, eager: bool) -> Attention:
    """Choose how to attend.

    Args:
        packing: Where the sequences are.
        like: A tensor of the states' device and number format.
        start: The first row whose answer is wanted; those before it may be computed as well.
        eager: Whether to do without fused kernels.
    """
    half = like.dtype in (torch.bfloat16, torch.float16)
    if like.is_cuda and half and not eager:
        kernel = varlen_kernel(like.device, like.dtype)
        if kernel is not None:
            return VarlenAttention(packing, kernel, like.device)
    # On MPS the fused kernel masks wrongly in half precision before torch 2.13 (pytorch#195910),
    # and may hold the scores of all heads at once, beyond what Metal can address.
    return PackedAttention(packing, like, start, eager=eager or like.device.type == "mps")
