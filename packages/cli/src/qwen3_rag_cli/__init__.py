"""The console command `qwen3-rag`: index a folder, search it, and look after both.

Importing this loads nothing but the standard library.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
