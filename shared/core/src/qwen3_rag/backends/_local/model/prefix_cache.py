"""Keys and values of shared prefixes, kept from one batch to the next.

Knows prefixes by their ids; how their states come about is the layers' matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from qwen3_rag.backends._local.model.layers import Layers
from qwen3_rag.backends._local.serving.batching import Packing, TokenSequence, pack

__all__ = ["Prefixes"]

# Tokens in all: a dozen queries of a reranker, 117 MB for the 0.6B in bfloat16.
KEPT = 1_024


class Prefixes:
    """The states of the prefixes used last.

    They are computed apart from what follows them, so that a score is the same whether its prefix
    was known or not.
    """

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._kept: dict[bytes, torch.Tensor] = {}  # by ids, least recently used first

    def states(self, packing: Packing, *, eager: bool) -> torch.Tensor | None:
        """Find or compute the states of a batch's prefixes; see `Layers.last_hidden`.

        Returns:
            `None` if there are no prefixes, or more of them than are kept.
        """
        if not packing.prefixes or packing.prefixes[-1][1] > KEPT:
            return None
        prefixes = [packing.ids[start:stop] for start, stop in packing.prefixes]
        used = {ids.tobytes(): self._kept.pop(ids.tobytes(), None) for ids in prefixes}
        room = KEPT - packing.prefixes[-1][1]
        while sum(states.shape[2] for states in self._kept.values()) > room:
            del self._kept[next(iter(self._kept))]
        if missing := [ids for ids in prefixes if used[ids.tobytes()] is None]:
            used |= self._compute(missing, eager=eager)
        states = [part for part in used.values() if part is not None]
        self._kept |= zip(used, states, strict=True)
        return states[0] if len(states) == 1 else torch.cat(states, dim=2)

    def _compute(
        self, prefixes: Sequence[NDArray[np.int64]], *, eager: bool
    ) -> dict[bytes, torch.Tensor]:
        """Compute several in one pass."""
        packing = pack([TokenSequence((), tuple(ids.tolist())) for ids in prefixes])
        states = self._layers.states(packing, eager=eager)
        return {
            ids.tobytes(): states[:, :, span.start : span.stop].clone()
            for ids, span in zip(prefixes, packing.spans, strict=True)
        }

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
