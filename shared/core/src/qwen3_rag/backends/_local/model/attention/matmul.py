"""Attention as plain products, in the number format at hand.

Knows neither sequences nor layers.
"""

from __future__ import annotations

import torch

__all__ = ["attended"]


def attended(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    *,
    exact: bool,
) -> torch.Tensor:
    """Compute `softmax(query @ key.T / sqrt(size) + mask) @ value`, item by item.

    Args:
        query: `[items, rows * sharing, size]`, where `sharing` neighbours are of one row.
        key: `[items, keys, size]`.
        value: `[items, keys, size]`.
        mask: `[rows, 1, masked]`, for the last `masked` keys; the others all rows see.
        exact: Whether the scores are float32, whatever the number format.

    Returns:
        As `query`.
    """
    items, _, size = query.shape
    keys = key.shape[1]
    if exact:
        scores = torch.bmm(query, key.transpose(1, 2)).float().mul_(size**-0.5)
    else:
        # For its factor, which costs nothing here; nothing is added.
        scores = torch.baddbmm(
            query.new_zeros(1), query, key.transpose(1, 2), beta=0, alpha=size**-0.5
        )
    rows, _, masked = mask.shape
    scores.view(items, rows, -1, keys)[..., keys - masked :] += mask
    return torch.bmm(scores.softmax(-1).to(value.dtype), value)
