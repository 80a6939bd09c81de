"""`Order`: whose batch is computed next."""

from __future__ import annotations

from collections.abc import Sequence

from qwen3_rag.backends._local.serving.request import Request

__all__ = ["Order"]

#: A request is small up to this part of the tokens of a batch.
SMALL_SHARE = 4


class Order:
    """Lets small and large requests begin a batch by turns, if there are both.

    Else a query would wait for a batch of each bulk job, and a bulk job for all queries.
    """

    def __init__(self) -> None:
        self._small_before: set[str] = set()  # devices whose last batch a small request began

    def first(self, ready: Sequence[Request], device: str) -> tuple[Request, list[Request]]:
        """Choose the request that begins a batch, and return it and the others.

        Args:
            ready: Requests with something to compute, the longest-waiting first.
            device: Where it is computed.
        """
        small = next((request for request in ready if _is_small(request)), None)
        large = next((request for request in ready if not _is_small(request)), None)
        first = ready[0]
        if small is not None and large is not None:
            first = large if device in self._small_before else small
        (self._small_before.add if first is small else self._small_before.discard)(device)
        return first, [request for request in ready if request is not first]


def _is_small(request: Request) -> bool:
    """Whether a request can be computed whole, and takes little of a batch."""
    assert request.model is not None
    whole = len(request.ready) == len(request.prompts)
    return whole and request.ready_tokens() <= request.model.budget // SMALL_SHARE
