"""The threads that models compute with in this process."""

from __future__ import annotations

import os
import sys

__all__ = ["idle_threads", "spare_neighbours", "use_threads"]

#: Read once, when torch is imported.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def use_threads(count: int | None) -> None:
    """Let models compute with this many threads, or as many as there are CPUs.

    Raises:
        InputError: There are not so many CPUs.
    """
    if count is None:
        return
    from qwen3_rag.errors import InputError
    from qwen3_rag.integration import allowed_threads

    if not 1 <= count <= allowed_threads():
        raise InputError(
            f"`--threads` must be from 1 to {allowed_threads()}, the CPUs that this process may "
            f"use, got {count}."
        )
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


def spare_neighbours() -> None:
    """Let idle threads sleep soon; call it before torch is imported.

    GNU's OpenMP lets them spin for milliseconds, in which they take the CPUs from each other
    wherever another program is busy, too.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def idle_threads() -> str:
    """Tell what threads do that have nothing to compute, as far as the environment decides it."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        if name in os.environ:
            return f"{name}={os.environ[name]}"
    return "as the system's OpenMP has it"
