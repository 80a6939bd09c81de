"""Puts the documentation into the wheel, for `qwen3-rag demo`; hatchling calls it.

Knows that the documentation lies in the repository's docs/, or in a source distribution's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DocumentationHook(BuildHookInterface[Any]):
    """Adds the pages to what is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add them; an editable installation reads them where they are."""
        if version == "editable":
            return
        root = Path(self.root)
        folder = next(
            (place for place in (root / "docs", root.parents[1] / "docs") if place.is_dir()), None
        )
        if folder is None:
            raise FileNotFoundError("No docs folder in the package or the repository.")
        target = "docs" if self.target_name == "sdist" else "qwen3_rag_cli/docs"
        for page in sorted(folder.rglob("*.md")):
            place = f"{target}/{page.relative_to(folder).as_posix()}"
            build_data["force_include"][str(page)] = place
