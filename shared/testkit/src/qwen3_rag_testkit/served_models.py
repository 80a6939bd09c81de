"""Runs the tests of anything over a server, by moving the model "tiny" there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import pytest

import qwen3_rag_tiny
from qwen3_rag import Remote
from qwen3_rag.backends import BackendSpec, Role
from qwen3_rag.integration import TINY, ModelBase

__all__ = ["SERVERS", "served", "tiny_on_servers"]

#: The servers that can be started here: llama.cpp, and the stand-in of vLLM.
SERVERS = ("vllm", "llama.cpp")


@contextmanager
def served(kind: str) -> Iterator[dict[Role, str]]:
    """Serve the two tiny models, each by a server of its own; yields the addresses."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        yield {role: _start(kind, role, folder, stack) for role in get_args(Role)}


@contextmanager
def tiny_on_servers(urls: Mapping[Role, str]) -> Iterator[None]:
    """Run each "tiny" that is opened without options of the local engine on a server."""
    start = ModelBase._start

    def start_there(
        self: ModelBase, backend: BackendSpec | None, cache: Any, options: Mapping[str, Any]
    ) -> None:
        if backend is None and self.model == TINY and not options:
            backend = Remote(urls[self.role])
        start(self, backend, cache, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelBase, "_start", start_there)
        yield


def _start(kind: str, role: Role, folder: Path, stack: ExitStack) -> str:
    checkpoint: Path = getattr(qwen3_rag_tiny, f"{role}_folder")()
    if kind == "vllm":
        from qwen3_rag_testkit.own_servers import VLLMServer

        return stack.enter_context(VLLMServer(checkpoint, role)).url
    from qwen3_rag_testkit.llama_cpp import LlamaCppServer, write_gguf

    file = folder / f"{role}.gguf"
    write_gguf(checkpoint, file, role)
    return stack.enter_context(LlamaCppServer(file, role)).url
