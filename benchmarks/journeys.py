"""Number of source files and functions that common calls go through.

    python -m benchmarks.journeys [--json FILE] [--list]

Function calls in all threads are recorded with `sys.setprofile`. A cold call includes loading the
model; a warm call repeats it. The models are the tiny checkpoints.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Upper limits of files and functions; 0 for none.
LIMITS = {
    "query, warm": (14, 100),
    "LangChain rerank, warm": (17, 115),
    "command-line search, cold": (35, 0),
}


class Trace:
    """The functions that were called."""

    def __init__(self) -> None:
        self.functions: set[tuple[str, str]] = set()

    @property
    def files(self) -> set[str]:
        """The source files of the functions."""
        return {file for file, _ in self.functions}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record the calls of all threads while the context is open."""

        def profile(frame: Any, event: str, _: object) -> None:
            code = frame.f_code
            if event == "call" and "/src/" in code.co_filename and "<" not in code.co_filename:
                file = Path(code.co_filename)
                if any(part.startswith("qwen3_rag") or "qwen3_rag" in part for part in file.parts):
                    self.functions.add((file.as_posix().rpartition("/src/")[2], code.co_qualname))

        threading.setprofile_all_threads(profile) if hasattr(
            threading, "setprofile_all_threads"
        ) else threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            if hasattr(threading, "setprofile_all_threads"):
                threading.setprofile_all_threads(None)
            else:
                threading.setprofile(None)


def traced(call: Callable[[], object]) -> Trace:
    """Trace one call."""
    trace = Trace()
    with trace.watching():
        call()
    return trace


def journeys() -> dict[str, Trace]:
    """Trace each call, first cold, then warm."""
    from langchain_core.documents import Document
    from typer.testing import CliRunner

    from langchain_qwen3_rag import Qwen3Rerank
    from qwen3_rag import Qwen3Embedder

    # In Python 3.11 only new threads get a profile function, so it is set before any starts.
    found: dict[str, Trace] = {}

    def journey(name: str, call: Callable[[], object]) -> None:
        everything = Trace()
        with everything.watching():
            call()
            found[f"{name}, cold"] = Trace()
            found[f"{name}, cold"].functions |= everything.functions
            everything.functions.clear()
            call()
            found[f"{name}, warm"] = Trace()
            found[f"{name}, warm"].functions |= everything.functions

    with Qwen3Embedder("tiny", device="cpu") as embedder:
        journey("query", lambda: embedder.embed_queries(["What is the capital of France?"]))
    rerank = Qwen3Rerank(model="tiny", device="cpu")
    documents = [Document("Paris is the capital of France."), Document("Bread is baked.")]
    journey("LangChain rerank", lambda: rerank.compress_documents(documents, "Capital of France?"))
    rerank.close()

    from qwen3_rag_cli.app import app

    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "france.md"
        text.write_text("# France\n\nParis is the capital of France.\n", encoding="utf-8")
        store = ["--store", f"{folder}/index"]
        run = CliRunner().invoke
        made = run(app, ["index", str(text), "--model", "tiny", *store])
        if made.exit_code:
            raise SystemExit(made.output)
        found["command-line search, cold"] = traced(
            lambda: run(app, ["search", "capital of France", *store])
        )
    return found


def main() -> int:
    """Print a table; return 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results to this file")
    parser.add_argument("--list", action="store_true", help="list the functions too")
    options = parser.parse_args()
    found = journeys()
    exceeded = False
    print(f"{'journey':32}{'files':>8}{'functions':>12}")
    for name, trace in found.items():
        files, functions = LIMITS.get(name, (0, 0))
        beyond = len(trace.files) > (files or 9_999) or len(trace.functions) > (functions or 9_999)
        exceeded |= beyond
        limits = f"   at most {files} and {functions or 'any'}" if files else ""
        print(f"{name:32}{len(trace.files):8}{len(trace.functions):12}{limits}")
        if options.list:
            for file, function in sorted(trace.functions):
                print(f"    {file}: {function}")
    if options.json:
        figures = {
            name: {"files": len(trace.files), "functions": len(trace.functions)}
            for name, trace in found.items()
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
