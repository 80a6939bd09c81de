"""Keeps forks away from imports.

A child forked while a thread imports a module would wait for the module's lock forever, as the
thread does not exist there.
"""

from __future__ import annotations

import os
import threading

__all__ = ["imports"]

#: Held while a package is imported in a thread. Forks wait for it.
imports = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=imports.acquire, after_in_parent=imports.release, after_in_child=imports.release
    )
