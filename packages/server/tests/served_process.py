"""A server in a process of its own, with `tiny`, an index, a key, and a log at every level."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore
from qwen3_rag_server import RunningServer, Served, Settings
from qwen3_rag_testkit.server_processes import ServerProcess

__all__ = ["KEY", "ServedProcess"]

KEY = "key-that-is-told-nowhere-4711"
TEXTS = ("Bananas are yellow.", "Paris is the capital of France.", "France is in Europe.")


class ServedProcess(ServerProcess):
    """The process, seen from the test."""

    def __init__(self, **settings: float) -> None:
        """Choose a port and the limits; nothing is started yet."""
        super().__init__()
        self._settings = settings

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> httpx.Client:
        """Make a client with the key."""
        headers = {"authorization": f"Bearer {KEY}"}
        return httpx.Client(base_url=self.url, timeout=120, headers=headers, **options)

    @property
    def log(self) -> str:
        """All that was logged."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def memory(self, name: str = "VmRSS") -> int:
        """Bytes of the process in memory now, or with `VmHWM` at most."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        [line] = [line for line in status.splitlines() if line.startswith(f"{name}:")]
        return 1024 * int(line.split()[1])

    def _command(self) -> Sequence[str | Path]:
        settings = [f"{name}={value}" for name, value in self._settings.items()]
        return [sys.executable, Path(__file__), str(self.port), self.folder / "index", *settings]

    def _environment(self) -> Mapping[str, str]:
        return {"SERVED_KEY": KEY}


def _main(port: int, folder: Path, settings: Mapping[str, Any]) -> None:
    logging.basicConfig(level=1)
    with Qwen3Embedder("tiny") as embedder, Qwen3Reranker("tiny") as reranker:
        if not folder.exists():
            with HybridSearcher(QdrantEdgeStore(folder), embedder) as searcher:
                searcher.create(fields={"place": "integer"})
                searcher.add(
                    [Document(f"d{n}", text, {"place": n % 2}) for n, text in enumerate(TEXTS)]
                )
                searcher.store.publish()  # type: ignore[attr-defined]  # it is a QdrantEdgeStore
        store = QdrantEdgeStore(folder, read_only=True)
        with HybridSearcher(store, embedder, reranker) as searcher:
            served = Served(embedder, reranker, {"facts": searcher})
            served.warm_up()
            allowed = Settings(api_keys=[os.environ["SERVED_KEY"]], **settings)
            RunningServer(served, allowed, port=port).run()


if __name__ == "__main__":
    given = {name: float(value) for name, _, value in (one.partition("=") for one in sys.argv[3:])}
    whole = {name: int(value) if value == int(value) else value for name, value in given.items()}
    _main(int(sys.argv[1]), Path(sys.argv[2]), whole)
