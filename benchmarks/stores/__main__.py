"""Compares the frameworks' classes for Qdrant, Weaviate and Milvus with `HybridSearcher`.

    python -m benchmarks.stores [--only STORE ...] [--environments FOLDER] [--json FILE]

Each class fills a collection with the same documents and vectors, for hybrid search and with its
defaults, and is checked; then `HybridSearcher` takes over the same collection and is checked in the
same way. The classes are installed in environments of their own on the first run. Weaviate's need a
server: WEAVIATE_BINARY names the binary of one. No model is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np

from benchmarks.peers.collection import ROOT
from benchmarks.peers.environments import DEFAULT, python_of
from benchmarks.stores.checks import FEW, MANY, observe
from benchmarks.stores.own import embedder, opened
from qwen3_rag_testkit.weaviate_server import WeaviateServer

STORES = ("qdrant", "weaviate", "milvus")
FRAMEWORKS = ("langchain", "llama_index", "haystack")

_TOPICS = ("harbour", "railway", "library", "market", "garden", "bridge", "museum", "theatre")
_VERBS = ("opened", "closed", "moved", "grew", "burned", "changed")


def corpus() -> dict[str, Any]:
    """Make reports, each with a code of its own, queries about them, and all vectors."""
    texts = [
        f"Report K{place}X: the {_TOPICS[place % 8]} of district {place % 37} "
        f"{_VERBS[place % 6]} in {1900 + place % 90}, and the council wrote about it."
        for place in range(300)
    ]
    questions = [
        f"When was the {_TOPICS[each % 8]} of district {each} reported?" for each in range(20)
    ]
    rare = [
        (f"the report about the {_TOPICS[(place + 3) % 8]} K{place}X", texts[place])
        for place in range(5, 285, 14)
    ]
    unknown = "zzzz qqqq vvvv"
    queries = [*questions, *(query for query, _ in rare), unknown]
    model = embedder()
    vectors = model.embed_documents(texts)
    asked = model.embed_queries(queries)
    near = np.argsort(-(asked[: len(questions)] @ vectors.T), axis=1, kind="stable")[:, :FEW]
    return {
        "ids": [str(UUID(int=place + 1)) for place in range(len(texts))],
        "texts": texts,
        "vectors": vectors.tolist(),
        "queries": dict(zip(queries, asked.tolist(), strict=True)),
        "questions": questions,
        "rare": rare,
        "unknown": unknown,
        "near": [[texts[place] for place in places] for places in near],
    }


def theirs(
    store: str, framework: str, environments: Path, given: Path, place: str
) -> dict[str, Any]:
    """Have a framework's class fill a collection and be checked, in its environment."""
    name = "llama_index_milvus" if (store, framework) == ("milvus", "llama_index") else "stores"
    seen = given.with_name(f"{store}-{framework}.json")
    environment = {**os.environ, "HAYSTACK_TELEMETRY_ENABLED": "False"}
    environment.pop("PYTHONPATH", None)
    command: list[str | Path] = [python_of(name, environments), "-m", "benchmarks.stores.checks"]
    done = subprocess.run(
        [*command, store, framework, given, place, seen],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,  # progress bars and warnings
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stderr}\n{framework} over {store} failed; its output is above.")
    content: dict[str, Any] = json.loads(seen.read_text(encoding="utf-8"))
    return content


def judgements(seen: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple[bool, str]]:
    """Judge each check that applies: whether it passed, and what was seen."""
    questions, rare = len(given["questions"]), len(given["rare"])
    good, bad = seen["scores"]
    found = {
        f"{MANY} hits when {MANY} are asked for": (seen["asked 50"] == MANY, seen["asked 50"]),
        f"the first {FEW} hits are those of the first {MANY}": (
            seen["few of many"] == questions,
            f"{seen['few of many']} of {questions}",
        ),
        "a code that one text has finds it": (seen["rare"] == rare, f"{seen['rare']} of {rare}"),
        "a second page": (
            seen["page"] == FEW,
            "no such option" if seen["page"] is None else f"{seen['page']} hits",
        ),
    }
    if seen["unknown words"] is not None:
        found["terms alone find nothing for unknown words"] = (
            seen["unknown words"] == 0,
            f"{seen['unknown words']} hits",
        )
    if seen["nearest"] is not None:
        found["the search for similar texts gives the nearest"] = (
            seen["nearest"] == questions,
            f"{seen['nearest']} of {questions}",
        )
    if good is not None:
        found["a good hit has the higher score"] = (good > bad, f"{good:.3f} and {bad:.3f}")
    return {name: (bool(passed), str(said)) for name, (passed, said) in found.items()}


def table(title: str, sides: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Render the table of one class, in Markdown."""
    left, right = (judgements(sides[side], given) for side in ("theirs", "own"))
    versions = [
        ", ".join(f"{name} {number}" for name, number in sides[side]["versions"].items())
        for side in ("theirs", "own")
    ]
    rows = [f"| {title} | {versions[0]} | {versions[1]} |", "|---|---|---|"]
    rows += [f"| {name} | {_said(*left[name])} | {_said(*right[name])} |" for name in left]
    return "\n".join([*rows, ""])


def _said(good: bool, seen: str) -> str:
    return ("yes" if good else "**no**") + (f" ({seen})" if seen else "")


def main() -> int:
    """Print a table per class; return 1 if this project fails a check."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores")
    parser.add_argument("--only", nargs="+", choices=STORES, default=[*STORES])
    parser.add_argument("--environments", type=Path, default=DEFAULT, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    arguments = parser.parse_args()
    given = corpus()
    results: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "given.json"
        file.write_text(json.dumps(given), encoding="utf-8")
        server = None
        if "weaviate" in arguments.only and (binary := os.environ.get("WEAVIATE_BINARY")):
            server = stack.enter_context(WeaviateServer(binary))
        for store in arguments.only:
            if store == "weaviate" and server is None:
                print("weaviate: skipped, because WEAVIATE_BINARY names no server.\n")
                continue
            for framework in FRAMEWORKS:
                place = str(folder / f"{store}-{framework}.db")
                if server is not None and store == "weaviate":
                    ports = f"{server.port}:{server.grpc_port}"
                    place = f"127.0.0.1:{ports}:Benchmark_{uuid4().hex}"
                environments = arguments.environments.absolute()
                sides = {"theirs": theirs(store, framework, environments, file, place)}
                with opened(store, framework, place) as own:
                    sides["own"] = observe(own, given)
                title = f"{store}, {framework}"
                results[title] = {
                    side: {**seen, "checks": judgements(seen, given)}
                    for side, seen in sides.items()
                }
                print(table(title, sides, given), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    failed = [
        name
        for name, sides in results.items()
        if not all(passed for passed, _ in sides["own"]["checks"].values())
    ]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
