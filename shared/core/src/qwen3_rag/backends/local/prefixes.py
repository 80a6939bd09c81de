"""Keys and values of shared prefixes, kept from one batch to the next.

Knows prefixes by their ids; how their states come about is the layers' matter.
"""

from __future__ import annotations

import torch

from qwen3_rag.backends.local.batching import Packing, TokenSequence, pack
from qwen3_rag.backends.local.layers import Layers

__all__ = ["Prefixes"]

# Tokens in all: a dozen queries of a reranker, 117 MB for the 0.6B in bfloat16.
KEPT = 1_024


class Prefixes:
    """The states of the prefixes used last.

    They are computed apart from their batch, so that a score does not depend on whether they were
    known.
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
        if missing := [ids for ids in prefixes if ids.tobytes() not in self._kept]:
            apart = pack([TokenSequence((), tuple(ids.tolist())) for ids in missing])
            states = self._layers.states(apart, eager=eager)
            for ids, span in zip(missing, apart.spans, strict=True):
                self._kept[ids.tobytes()] = states[:, :, span.start : span.stop].clone()
        used = {ids.tobytes(): self._kept.pop(ids.tobytes()) for ids in prefixes}
        self._kept |= used
        while sum(states.shape[2] for states in self._kept.values()) > KEPT:
            del self._kept[next(iter(self._kept))]
        return torch.cat(list(used.values()), dim=2)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
