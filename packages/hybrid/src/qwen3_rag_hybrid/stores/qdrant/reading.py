"""Makes a generation ready to be loaded by the engine, which wants to write whatever it opens."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from qwen3_rag_hybrid.stores.qdrant.checksums import copy_checked, verify
from qwen3_rag_hybrid.stores.qdrant.generations import LOG_ASIDE, SHARD
from qwen3_rag_hybrid.stores.qdrant.space import (
    check_space,
    has_space,
    space_to_copy,
    space_to_load,
)

__all__ = ["ready_to_load"]

# For the engine's two files of settings, which it writes anew with the same content.
_SETTINGS = 1 << 20


def ready_to_load(place: Path) -> tuple[Path, tempfile.TemporaryDirectory[str] | None]:
    """Check a generation, and copy it where the engine can load it if it cannot where it is.

    Args:
        place: The generation.

    Returns:
        The shard to load, and the folder of the copy, to be removed when it is no longer used.

    Raises:
        DamagedFilesError: The generation is damaged.
        OSError: It cannot be read or copied.
        StoreError: There is no space for the copy.
    """
    shard = place / SHARD
    if _can_write(shard) and has_space(shard, space_to_load(shard), _SETTINGS):
        verify(place, without=LOG_ASIDE)
        return shard, None
    copy = tempfile.TemporaryDirectory(prefix="qwen3-rag-", ignore_cleanup_errors=True)
    try:
        folder = Path(copy.name)
        check_space(folder, space_to_copy(shard, folder), "copying an index that is read-only")
        copy_checked(place, folder / "copy", without=LOG_ASIDE)
    except BaseException:
        copy.cleanup()
        raise
    return folder / "copy" / SHARD, copy


def _can_write(shard: Path) -> bool:
    return all(
        os.access(path, os.W_OK) or not os.path.exists(path)  # another reader's temporary file
        for parent, _, names in os.walk(shard)
        for path in (parent, *(os.path.join(parent, name) for name in names))
    )
