"""One caller's prompts on their way through the scheduler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any

import numpy as np

from qwen3_rag._prompts import Prompt
from qwen3_rag._results import FloatArray
from qwen3_rag.backends._base import WHOLE, Limits, Output
from qwen3_rag.backends._local.serving.batching import TokenSequence
from qwen3_rag.backends._local.serving.loaded import LoadedModel

__all__ = ["Request", "settle"]


class Request:
    """Prompts to compute, those that are encoded, and the results so far.

    Equal prompts are computed once, because the last bit of a result can depend on where in the
    batch it is computed. Places count the distinct prompts; only `output` has the caller's order.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        limits: Limits,
        on_done: Callable[[int], None] | None = None,
    ) -> None:
        self.future: Future[Output] = Future()
    """Prompts to compute, those that are encoded, and the results so far.

    Equal prompts are computed once, because the last bit of a result can depend on where in the
    batch it is computed. Places count the distinct prompts; only `output` has the caller's order.
    """
        self.limits = limits
        self.on_done = on_done
        self.read = 0  # prompts taken for encoding
        self.encoded = 0
        self.ready: dict[int, TokenSequence] = {}  # encoded, by place, not yet computed
        self._own_tokens = 0  # in `ready`, prefixes left out
        self._prefixes: Counter[tuple[int, ...]] = Counter()
        self.left = len(self.prompts)
        self.turn = 0
        self.values: FloatArray | None = None
        self.tokens = np.zeros(len(self.prompts), dtype=np.int64)
        self.cut_at = np.full(len(self.prompts), WHOLE, dtype=np.int64)
        self.query_cut_at = np.full(len(self.prompts), WHOLE, dtype=np.int64)

    def put(self, place: int, sequence: TokenSequence) -> None:
        """Have a prompt ready for the device."""
        self.encoded += 1
        self.ready[place] = sequence
        self._own_tokens += len(sequence.ids)
        self._prefixes[sequence.prefix] += 1

    def take(self, places: Sequence[int]) -> dict[int, TokenSequence]:
        """Hand prompts that are ready to the device."""
        taken = {place: self.ready.pop(place) for place in places}
        self._own_tokens -= sum(len(sequence.ids) for sequence in taken.values())
        self._prefixes -= Counter(sequence.prefix for sequence in taken.values())
        return taken

    def tokens_ahead(self, beside: Collection[tuple[int, ...]] = ()) -> int:
        """Count what is ready, each prefix once, and those that are there already not at all."""
        return self._own_tokens + sum(len(p) for p in self._prefixes if p not in beside)

    def given(self, places: list[int]) -> int:
        """Count the caller's prompts at some places."""
        return int(self._given[places].sum())

    def given_at(self, place: int) -> int:
        """Where the caller gave a prompt first."""
        return int((self._places == place).argmax())

    def output(self) -> Output:
        """The result in the caller's order, once nothing is left."""
        values = np.zeros(0, dtype=np.float32) if self.values is None else self.values
        if len(self.prompts) == len(self._places):
            return Output(values, self.tokens, self.cut_at, self.query_cut_at)
        at = self._places
        return Output(values[at], self.tokens[at], self.cut_at[at], self.query_cut_at[at])


def settle(future: Future[Any], result: object = None, error: BaseException | None = None) -> None:
    """End a future that its owner may have cancelled, or that another thread may have ended."""
    try:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
    except InvalidStateError:
        pass
