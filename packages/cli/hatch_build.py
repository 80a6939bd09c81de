"""A hatchling build hook that adds the documentation to the wheel, for `qwen3-rag demo`.

The documentation is in docs/ of the repository or of the source distribution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DocumentationHook(BuildHookInterface[Any]):
    """Adds the documentation pages to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the pages; an editable installation reads them from the repository."""
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
