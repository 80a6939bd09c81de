"""What the stand-in answers with an error."""

from __future__ import annotations

__all__ = ["Refused"]


class Refused(Exception):
    """A request that a server refuses, too."""
