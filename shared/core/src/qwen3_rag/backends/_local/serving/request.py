"""The prompts and results of one call while the scheduler processes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future

import numpy as np

from qwen3_rag._prompts import Prompt
from qwen3_rag._results import FloatArray
from qwen3_rag.backends._base import WHOLE, Limits, Output
from qwen3_rag.backends._checkpoint.encoded import Encoded, TokenSequence
from qwen3_rag.backends._local.serving.loaded import LoadedModel

__all__ = ["Request"]


class Request:
    """The prompts of one call, with the encoded prompts and results so far.

    Equal prompts are computed once: the last bit of a result can depend on where in the batch it
    is computed. An index counts distinct prompts; only `output` is in the caller's order.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> None:
        self.future: Future[Output] = Future()
        self.model: LoadedModel | None = None
        indices: dict[Prompt, int] = {}
        #: For each prompt of the caller, the index of its distinct prompt.
        self._index_of = np.asarray(
            [indices.setdefault(prompt, len(indices)) for prompt in prompts], dtype=np.int64
        )
        self._times_given = np.bincount(self._index_of)
        self.prompts = list(indices)
        self.limits = limits
        self.on_done = on_done
        self.read = 0  # prompts taken for encoding
        self.encoded = 0
        self.ready: dict[int, TokenSequence] = {}  # encoded but not yet computed, by index
        self._ready_tokens = 0  # tokens in `ready`, without prefixes
        self._ready_prefixes: Counter[tuple[int, ...]] = Counter()
        self.left = len(self.prompts)
        self.turn = 0
        self.values: FloatArray | None = None
        self.tokens = np.zeros(len(self.prompts), dtype=np.int64)
        self.cut_at = np.full(len(self.prompts), WHOLE, dtype=np.int64)
        self.query_cut_at = np.full(len(self.prompts), WHOLE, dtype=np.int64)

    def put(self, index: int, item: Encoded) -> None:
        """Add an encoded prompt."""
        sequence = item.sequence
        self.encoded += 1
        self.ready[index] = sequence
        self._ready_tokens += len(sequence.ids)
        self._ready_prefixes[sequence.prefix] += 1
        self.tokens[index] = sequence.length
        self.cut_at[index] = item.cut_at
        self.query_cut_at[index] = item.query_cut_at

    def take(self, indices: Sequence[int]) -> dict[int, TokenSequence]:
        """Remove encoded prompts, to be computed."""
        taken = {}
        for index in indices:
            sequence = taken[index] = self.ready.pop(index)
            self._ready_tokens -= len(sequence.ids)
            self._ready_prefixes[sequence.prefix] -= 1
            if not self._ready_prefixes[sequence.prefix]:
                del self._ready_prefixes[sequence.prefix]
        return taken

    def ready_tokens(self, known: Collection[tuple[int, ...]] = ()) -> int:
        """Count the tokens in `ready`, with each prefix once and without prefixes in `known`."""
        tokens = self._ready_tokens
        for prefix in self._ready_prefixes:
            if prefix not in known:
                tokens += len(prefix)
        return tokens

    def times_given(self, indices: list[int]) -> int:
        """Count how many of the caller's prompts these distinct prompts represent."""
        return int(self._times_given[indices].sum())

    def first_given(self, index: int) -> int:
        """Find a distinct prompt's first position in the caller's order."""
        return int((self._index_of == index).argmax())

    def output(self) -> Output:
        """Return the results in the caller's order, once all are computed."""
        values = np.zeros(0, dtype=np.float32) if self.values is None else self.values
        if len(self.prompts) == len(self._index_of):
            return Output(values, self.tokens, self.cut_at, self.query_cut_at)
        order = self._index_of
        return Output(
            values[order], self.tokens[order], self.cut_at[order], self.query_cut_at[order]
        )
