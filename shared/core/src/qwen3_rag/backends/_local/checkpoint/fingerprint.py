"""A digest of what decides a checkpoint's numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["fingerprint"]

# Tensors and files up to this size are hashed whole, larger tensors by three samples: whatever a
# fine-tune changes shows, in 0.1 s instead of a minute for 16 GB.
HASHED_WHOLE = 64 * 2**10
SAMPLE = 4_096


def fingerprint(folder: Path) -> str:
    """Digest what decides a checkpoint's numbers, large files by samples."""
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json"):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            for start, stop in _samples(file):
                file.seek(start)
                digest.update(file.read(stop - start))
    return digest.hexdigest()[:32]


def _samples(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Give the parts of a safetensors file to hash: its header, small tensors, parts of others."""
    length = int.from_bytes(file.read(8), "little")
    try:
        header = json.loads(file.read(length)) if length < 2**30 else {}
        places = sorted(
            tuple(entry["data_offsets"]) for key, entry in header.items() if key != "__metadata__"
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        places = []  # truncated or no such file: loading will say so
    base = 8 + length
    yield 0, min(base, 2**26)
    for start, stop in places:
        if stop - start <= HASHED_WHOLE:
            yield base + start, base + stop
            continue
        middle = (start + stop) // 2
        for sample in (start, middle, stop - SAMPLE):
            yield base + sample, base + sample + SAMPLE
