"""The version of this package: what a collection records."""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.1.0"
