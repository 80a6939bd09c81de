"""What does the cache cost, does it give right vectors, and what does it save?

    python -m benchmarks.cache [--entries N] [--texts N] [--folder PATH] [--model NAME]
                               [--work FOLDER] [--json PATH]

- A file of a million vectors of 256 numbers: the time of one hit by `Qwen3Embedder.embed_documents`
  and by the backend alone, for random entries. Times are of the clock and of the processor.
- Eight processes that read and write this file at once: how many vectors were wrong.
- The same texts in LangChain's `CacheBackedEmbeddings` over files: time per hit, bytes on disk, and
  what becomes of a vector of which one byte was changed.
- `qwen3-rag index` of a folder, with chunks of another size, and into a new index, without and
  with `--cache`: time of the processor, and texts that were embedded.

The vectors of the first three parts are made from a hash of the text, so they can be checked.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from qwen3_rag import Qwen3Embedder
from qwen3_rag.backends import EmbedPrompt, Limits
from qwen3_rag.cache import Cached, cache_info
from qwen3_rag.integration import FloatArray
from qwen3_rag_testkit.backends import DeterministicBackend
from qwen3_rag_testkit.checkpoints import write_checkpoint

ROOT = Path(__file__).resolve().parents[1]
DIM = 256
HITS = 5_000
PROCESSES = 8
SECONDS = 20.0
BACKEND = DeterministicBackend(dim=DIM)

#: Runs of `index`: what each is, the tokens of a chunk, and the index.
RUNS = (
    ("first", 384, "one"),
    ("chunks of another size", 256, "one"),
    ("the same into a new index", 256, "other"),
)

#: Random weights of a model that costs about a fiftieth of Qwen3-Embedding-0.6B.
SHAPE = {"num_hidden_layers": 8, "hidden_size": 256, "intermediate_size": 768}


def fill(path: Path, count: int) -> dict[str, float]:
    """Fill a file with the vectors of the texts `"0"`, `"1"` and so on."""
    start, used = time.perf_counter(), time.process_time()
    with _opened(path) as embedder:
        for first in range(0, count, 10_000):
            embedder.embed_documents([str(n) for n in range(first, min(first + 10_000, count))])
    return {
        "entries": cache_info(path).entries,
        "bytes": cache_info(path).size,
        "fill_seconds": time.perf_counter() - start,
        "fill_processor_seconds": time.process_time() - used,
    }


def hits(path: Path, count: int) -> dict[str, float]:
    """Measure single hits of random entries, the second time each is read."""
    texts = [str(number) for number in random.Random(0).sample(range(count), min(HITS, count))]
    backend = Cached(BACKEND, path, max_bytes=None).start("benchmark", "embedding")
    with _opened(path) as embedder:
        calls: dict[str, Callable[[str], object]] = {
            "embedder": lambda text: embedder.embed_documents([text]),
            "backend": lambda text: backend.run([EmbedPrompt(text)], Limits()).result(),
        }
        result: dict[str, float] = {}
        for name, call in calls.items():
            for text in texts:
                call(text)
            result |= _quantiles(f"{name}_hit", call, texts)
    backend.close()
    return result


def share(path: Path, count: int) -> dict[str, int]:
    """Let processes read and write one file at once, and count vectors and wrong ones."""
    command = [sys.executable, "-m", "benchmarks.cache", "--share", str(path), str(count)]
    processes = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for number in range(PROCESSES)
    ]
    found = [json.loads(process.communicate()[0]) for process in processes]
    return {
        "processes": PROCESSES,
        "vectors": sum(one["vectors"] for one in found),
        "wrong": sum(one["wrong"] for one in found),
    }


def one_of_several(path: Path, count: int, number: int) -> None:
    """Read entries and write new ones for a while; print the numbers of vectors and wrong ones."""
    chosen = random.Random(number)
    vectors = wrong = 0
    until = time.monotonic() + SECONDS
    with _opened(path) as embedder, Qwen3Embedder("benchmark", backend=BACKEND) as plain:
        while time.monotonic() < until:
            texts = [str(chosen.randrange(count + 20_000)) for _ in range(50)]
            expected = plain.embed_documents(texts)
            wrong += int((embedder.embed_documents(texts) != expected).any(axis=1).sum())
            vectors += len(texts)
    print(json.dumps({"vectors": vectors, "wrong": wrong}))


def peers(work: Path, count: int) -> list[dict[str, Any]]:
    """Compare with LangChain's cache on the same texts and vectors."""
    texts = [str(number) for number in range(count)]
    with Qwen3Embedder("benchmark", backend=BACKEND) as plain:
        expected = dict(zip(texts, plain.embed_documents(texts), strict=True))
    rows = []
    path = work / "own.cache"
    with _opened(path) as embedder:
        rows.append(
            _row("qwen3-rag cache=PATH", embedder.embed_documents, texts)
            | {"bytes": cache_info(path).size}
        )
    changes = random.Random(0)
    damaged = {"right": 0, "wrong": 0, "error": 0}
    for _ in range(100):
        copy = work / "damaged.cache"
        shutil.copyfile(path, copy)
        _flip(copy, changes)
        with _opened(copy) as embedder:
            damaged[_told(partial(embedder.embed_documents, texts), expected)] += 1
        for file in work.glob("damaged.cache*"):
            file.unlink(missing_ok=True)  # SQLite removes one of them at times
    rows[0]["after_a_changed_byte"] = damaged
    try:
        from langchain_classic.embeddings import CacheBackedEmbeddings
        from langchain_classic.storage import LocalFileStore
        from langchain_core.embeddings import Embeddings
    except ImportError:
        print("langchain-classic is not installed, so there is nothing to compare with.")
        return rows

    class Hashed(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            vectors: list[list[float]] = [expected[text].tolist() for text in texts]
            return vectors

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    folder = work / "langchain"
    cached = CacheBackedEmbeddings.from_bytes_store(
        Hashed(), LocalFileStore(folder), namespace="benchmark", key_encoder="blake2b"
    )
    rows.append(
        _row("LangChain CacheBackedEmbeddings, LocalFileStore", cached.embed_documents, texts)
    )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rows[1]["bytes"] = sum(file.stat().st_blocks * 512 for file in files)
    damaged = {"right": 0, "wrong": 0, "error": 0}
    for file in changes.sample(files, 100):
        content = file.read_bytes()
        _flip(file, changes)
        damaged[_told(partial(cached.embed_documents, texts), expected)] += 1
        file.write_bytes(content)
    rows[1]["after_a_changed_byte"] = damaged
    return rows


def index_again(folder: Path, model: str, work: Path) -> list[dict[str, Any]]:
    """Index a folder, then with other chunks, then with those into a new index."""
    rows = []
    for cached in (False, True):
        path = work / "index.cache"
        for what, tokens, store in RUNS:
            before = cache_info(path).entries if path.exists() else 0
            command = [sys.executable, "-m", "qwen3_rag_cli", "index", str(folder), "--json"]
            command += ["--store", str(work / f"{store}-{cached}"), "--model", model]
            command += ["--chunk-tokens", str(tokens), *(["--cache", str(path)] if cached else [])]
            used = _children()
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            seconds = _children() - used
            chunks = json.loads(done.stdout)["embedded"]
            rows.append(
                {
                    "run": what,
                    "cache": cached,
                    "chunks": chunks,
                    "texts_embedded": cache_info(path).entries - before if cached else chunks,
                    "processor_seconds": seconds,
                }
            )
    return rows


def _opened(path: Path) -> Qwen3Embedder:
    return Qwen3Embedder("benchmark", backend=Cached(BACKEND, path, max_bytes=None))


def _quantiles(name: str, call: Callable[[str], object], texts: Sequence[str]) -> dict[str, float]:
    clock, processor = [], []
    for text in texts:
        start, used = time.perf_counter(), time.process_time()
        call(text)
        processor.append(time.process_time() - used)
        clock.append(time.perf_counter() - start)
    found = {f"{name}_ms_p{p}": float(np.percentile(clock, p)) * 1e3 for p in (50, 95, 99)}
    return {**found, f"{name}_processor_ms_p50": float(np.median(processor)) * 1e3}


def _row(name: str, embed: Callable[[list[str]], object], texts: list[str]) -> dict[str, Any]:
    """Fill a cache, and measure hits one by one and together."""
    embed(texts)
    single = _quantiles("hit", lambda text: embed([text]), texts[:2_000])
    used = time.process_time()
    embed(texts)
    together = (time.process_time() - used) / len(texts) * 1e3
    return {"name": name, "texts": len(texts), **single, "hits_together_processor_ms": together}


def _flip(file: Path, chosen: random.Random) -> None:
    """Change one bit of a file."""
    data = bytearray(file.read_bytes())
    data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
    file.write_bytes(data)


def _told(embed: Callable[[], Any], expected: dict[str, FloatArray]) -> str:
    """Whether vectors are right, wrong, or an error."""
    try:
        vectors = np.asarray(embed(), dtype=np.float32)
    except Exception:
        return "error"
    return "right" if (vectors == np.stack(list(expected.values()))).all() else "wrong"


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    for row in rows:
        cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print tables; 1 if a vector was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--texts", type=int, default=10_000, help="texts beside LangChain")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs", help="folder to index")
    parser.add_argument("--model", help="embedding model of the index")
    parser.add_argument("--work", type=Path, help="folder on the disk to measure")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--share", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.share:
        one_of_several(Path(given.share[0]), int(given.share[1]), int(given.share[2]))
        return 0
    # Each damaged file is warned of.
    logging.getLogger("qwen3_rag").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(dir=given.work) as name:
        work = Path(name)
        path = work / "large.cache"
        large = fill(path, given.entries)
        large |= hits(path, given.entries)
        shared = share(path, given.entries)
        path.unlink()
        beside = peers(work, given.texts)
        model = given.model or str(write_checkpoint(work / "model", "embedding", config=SHAPE))
        indexed = index_again(given.folder, model, work)
    machine = {
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "sqlite": sqlite3.sqlite_version,
    }
    record = {
        "machine": machine,
        "large": large,
        "shared": shared,
        "langchain": beside,
        "index": {"folder": given.folder.name, "model": given.model or SHAPE, "runs": indexed},
    }
    for rows in ([large], [shared], beside, indexed):
        print(_table(rows), end="\n\n")
    if given.json:
        given.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 1 if shared["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
