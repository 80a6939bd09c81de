"""Compares the frameworks' own classes for model servers with `Remote`, on the same servers.

    python -m benchmarks.remote [--json FILE]

`tiny` is served with llama.cpp, and with vLLM where VLLM_BINARY names its command. All numbers are
compared with those of this project's engine. The peers run in an environment of their own, which is
installed on the first run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import DEFAULT, python_of
from benchmarks.remote.table import OWN, TEI_CLASS, judgements, table
from qwen3_rag import Qwen3Embedder, Qwen3RagError, Qwen3Reranker, Remote
from qwen3_rag.backends import Role
from qwen3_rag_testkit.llama_cpp import LlamaCppServer, write_gguf
from qwen3_rag_testkit.model_processes import VLLM_TEMPLATE, VLLMProcess
from qwen3_rag_tiny import embedding_folder, reranking_folder

ROOT = Path(__file__).resolve().parents[2]

LIMIT, LLAMA_CPP_LIMIT = 2_048, 4_095
"""Longest input of vLLM and of llama.cpp."""

TEXTS: dict[str, Any] = {
    "query": "Where is the data stored?",
    "instruction": "Given a question about a database, find the sentence that answers it",
    "plain": "Milvus stores data in object storage.",
    "code": "def f(x):\n\tif x:\n\t\treturn 1\n\n\treturn 2",
    "control": "The template ends a turn with <|im_end|> and a new line.",
    "long": " ".join(f"Row {number} holds the value {number % 7}." for number in range(1_500)),
    "size": 64,
}
DOCUMENTS = [
    "Paris is the capital of France.",
    "Milvus stores data in object storage.",
    "Bananas are yellow.",
    "The index is kept in memory, and the log on disk.",
]


SETUPS: tuple[str, ...] = ("llama.cpp, embedding", "llama.cpp, reranking")
VLLM_SETUPS = ("vLLM, embedding", "vLLM, reranking", "vLLM, reranking without a template")


@contextmanager
def serve(setup: str) -> Iterator[str]:
    """Serve `tiny` in one set-up, and yield the server's address."""
    role: Role = "embedding" if "embedding" in setup else "reranking"
    folder = embedding_folder() if role == "embedding" else reranking_folder()
    if setup in SETUPS:
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "tiny.gguf"
            write_gguf(folder, file, role)
            with LlamaCppServer(file, role) as llama_cpp:
                yield llama_cpp.url
        return
    options: dict[str, Any] = {"runner": "embed"}
    if role == "reranking":
        options = {"runner": "classify", "template": None if "without" in setup else VLLM_TEMPLATE}
    with VLLMProcess(os.environ["VLLM_BINARY"], folder, role, limit=LIMIT, **options) as vllm:
        yield vllm.url


def observed(role: Role, url: str, python: Path) -> dict[str, Any]:
    """Ask a server with the peers' classes, in their environment."""
    with tempfile.TemporaryDirectory() as place:
        given, seen = Path(place) / "given.json", Path(place) / "seen.json"
        asked = {**TEXTS, "documents": DOCUMENTS, "role": role, "url": url, "model": "served"}
        given.write_text(json.dumps(asked), encoding="utf-8")
        environment = {**os.environ, "HAYSTACK_TELEMETRY_ENABLED": "False"}
        environment.pop("PYTHONPATH", None)
        command: list[str | Path] = [python, "-m", "benchmarks.remote.peers", given, seen]
        done = subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"The peers failed:\n{done.stderr}")
        found: dict[str, Any] = json.loads(seen.read_text(encoding="utf-8"))
        return found


def vectors(remote: Remote | None, limit: int) -> dict[str, Any]:
    """Embed the texts with this project's class; with its engine if there is no server."""
    found: dict[str, Any] = {}
    with Qwen3Embedder("tiny", backend=remote, max_length=limit) as embedder:
        found["query"] = embedder.embed_queries([TEXTS["query"]])[0].tolist()
        for name in ("plain", "code", "control", "long"):
            found[name] = embedder.embed_documents([TEXTS[name]])[0].tolist()
    with Qwen3Embedder("tiny", backend=remote, dim=TEXTS["size"]) as embedder:
        found["short"] = embedder.embed_documents([TEXTS["plain"]])[0].tolist()
    return found


def scores(remote: Remote | None, limit: int) -> dict[str, Any]:
    """Score the documents, best first, with this project's class."""
    with Qwen3Reranker("tiny", backend=remote, max_length=limit) as reranker:

        def ranked(documents: Sequence[str], instruction: str | None = None) -> Any:
            try:
                found = reranker.rank(TEXTS["query"], documents, instruction=instruction)
            except Qwen3RagError as error:
                return f"{type(error).__name__}: {error}"
            return [(one.index, one.score) for one in found]

        return {
            "plain": ranked(DOCUMENTS),
            "instructed": ranked(DOCUMENTS, TEXTS["instruction"]),
            "long": ranked([*DOCUMENTS, TEXTS["long"]]),
        }


def compare(setup: str, python: Path) -> dict[str, Any]:
    """Compare both sides in one set-up."""
    role: Role = "embedding" if "embedding" in setup else "reranking"
    compute = vectors if role == "embedding" else scores
    limit = LIMIT if setup in VLLM_SETUPS else LLAMA_CPP_LIMIT
    with serve(setup) as url:
        theirs = observed(role, url, python)
        own = compute(Remote(url, timeout=600), limit)
    expected = compute(None, limit)
    if setup in VLLM_SETUPS:
        theirs["classes"].pop(TEI_CLASS, None)  # vLLM has no path of TEI's
    sides = {**theirs["classes"], OWN: own}
    return {
        "setup": setup,
        "versions": theirs["versions"],
        "checks": {name: judgements(role, seen, expected) for name, seen in sides.items()},
    }


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.remote")
    parser.add_argument("--environments", type=Path, default=DEFAULT, help="folder of the peers")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    python = python_of("remote", arguments.environments)
    setups = SETUPS
    if os.environ.get("VLLM_BINARY"):
        setups += VLLM_SETUPS
    else:
        print("vLLM: skipped, because VLLM_BINARY names no command.\n")
    results = []
    for setup in setups:
        results.append(compare(setup, python))
        print(table(results[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
