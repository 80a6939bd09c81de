"""Counts the CPUs that this process may use. Imports no torch."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

__all__ = ["allowed_threads", "container_quota"]


def allowed_threads() -> int:
    """Count the CPUs that this process may use, given its affinity and its container's quota."""
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, container_quota() or cores))


def container_quota(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Read how many CPUs the container may use, `None` without a quota (cgroup v2, then v1)."""
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    if not quota.isdigit():  # "max", or -1 for none
        return None
    return max(1, math.ceil(int(quota) / int(period)))
