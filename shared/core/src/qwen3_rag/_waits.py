"""Which failed requests are sent again, and how long to wait before."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

__all__ = ["MAX_WAIT", "asked_wait", "may_repeat", "wait_before"]

#: Seconds. A server that asks for more gets no second request.
MAX_WAIT = 60.0

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0


def may_repeat(status: int) -> bool:
    """Whether a request with this HTTP status may succeed later: busy, or the server's fault."""
    return status in (408, 429) or (status >= 500 and status != 501)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the header `Retry-After` asks for; `None` without a valid one."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def wait_before(repeat: int, asked: float | None) -> float:
    """Return the seconds to wait before a repeated request.

    Args:
        repeat: 1 for the first repetition.
        asked: What the server asked for, which is the least to wait.
    """
    wait = min(_FIRST_WAIT * 2.0 ** (repeat - 1), _LONGEST_WAIT)
    # Clients that were refused together must not come back together.
    jitter = wait * random.uniform(0.5, 1)
    return jitter if asked is None else asked + jitter / 2
