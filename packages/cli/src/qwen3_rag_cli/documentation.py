"""Where this project's documentation is: in the wheel, or in the repository it is run from.

Knows both places; knows nothing of what is in it.
"""

from __future__ import annotations

from pathlib import Path

from qwen3_rag.errors import InputError

__all__ = ["documentation"]


def documentation() -> Path:
    """Give the folder of the documentation.

    Raises:
        InputError: It is in neither place.
    """
    here = Path(__file__).resolve()
    # A wheel carries it (hatch_build.py); an editable installation reads the repository's own.
    for folder in (here.parent / "docs", *(parent / "docs" for parent in here.parents[4:5])):
        if (folder / "getting-started.md").is_file():
            return folder
    raise InputError(
        "The documentation is not part of this installation. Install the package "
        "qwen3-rag-cli from a wheel, or run it from the repository."
    )
