"""Published results of the real models, each with its source (model card, issue or test)."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

__all__ = ["golden"]


def golden(name: str) -> dict[str, Any]:
    """Look up a published result by its name in `golden.json`."""
    text = files("qwen3_rag_testkit").joinpath("golden.json").read_text(encoding="utf-8")
    entry: dict[str, Any] = json.loads(text)[name]
    return entry
