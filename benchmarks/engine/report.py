"""Writes `docs/performance.md` of the figures of one or more runs, and names their machines.

python -m benchmarks.engine.report benchmarks/results/engine-*.json > docs/performance.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.engine.models import LAYERS
from benchmarks.engine.tables import tables

__all__ = ["report"]

DOCS = Path(__file__).resolve().parents[2] / "docs"

HEAD = """\
# Performance

What the engine takes beside its peers, all timed in turns in one run, on the same texts, threads
and number format. Times by themselves mean nothing: the machines were shared, and yours is
another. Ratios within one run are what to look at, and you can measure them where you are:

    python -m benchmarks.engine --json benchmarks/results/NAME.json --plot docs/NAME.png
    python -m benchmarks.engine.report benchmarks/results/engine-*.json > docs/performance.md

OpenVINO takes an environment of its own, which `--openvino openvino/bin/python` names:

    python -m venv openvino && openvino/bin/pip install "optimum-intel[openvino]" torch

{gpu}

## How it is measured

- **The model** is the exact architecture of the 0.6B models, vocabulary included, with random
  weights: time does not depend on what weights say. The tokenizer is that of the small trained
  pair; `tiny` runs in float32 on both sides.
- **Texts** are made of words of one token each, so they have the tokens the table claims. Mixed
  texts and documents have log-normal lengths; the others are all of one length, which suits those
  who pad. A reranker's prompt has 80 tokens before the document and 9 after it, and tokens per
  second count it whole for everybody, though qwen3-rag computes the 80 once per query. Each round
  is for another query.
- **Peers**: `SentenceTransformer` and `CrossEncoder` with the best of the batch sizes 1, 2, 4, 8,
  16 and 32, and with 32, their default; the script of the model card, 8 texts at a time so that
  memory is bounded, timed once; OpenVINO, exported by optimum-intel, with the best of 1, 8 and 32.
  The best size is looked for with the first layers of the model, as many as a run names below, for
  all layers are alike; then everybody runs the whole model.
- **Processes**: each side has one of its own, and they take turns. Two in one process would each
  keep a pool of OpenMP threads; more of them than cores go to sleep between any two products, which
  slows everybody.
- **The matmul peak** is how many tokens a second there would be if a model were its matrix products
  alone and these ran at the speed of the plain square one.
- **Medians** of {repeats}. Memory is the highest resident size during the work, above that of the
  process with the model loaded and warmed up, a process of its own for each figure.
"""

TAIL = """
## Options that matter for speed

- `batch_tokens`: tokens per batch. On a CPU large batches are no faster, take more memory, and a
  query waits longer behind one of a bulk job; GPUs want large ones. The default suits the device.
- `dtype`: bfloat16 halves the weights and is much faster where the processor multiplies it natively
  (flags `amx_bf16` and `avx512_bf16`, CUDA); there it is the default, and float32 elsewhere.
- `compile=True`: torch compiles what lies between the matrix products. It takes a C++ compiler and
  ten seconds at the first load; without a compiler one line is logged and nothing changes. Off
  unless asked for. `--compile` measures it on your machine.
- `device`: where to run, or several devices to share the work. On a CPU there are as many threads
  as the process may use.

## What memory to expect

The weights: parameters times 2 bytes in bfloat16, times 4 in float32; the 0.6B has 0.6 billion, so
1.2 or 2.4 GB. On top comes what one batch needs, as the tables on memory show: it depends on
`batch_tokens` and on the longest text, not on how many texts there are. Vectors come back as
float32, 4 KB each at 1,024 numbers. On a CPU the keys and values of the instructions and queries
used last are kept, of up to 1,024 tokens: 117 MB for the 0.6B in bfloat16.

glibc returns freed memory to the system at once until it has seen a large block freed. On a CPU,
loading a model frees one, so that up to 64 MB which a batch has used are kept for the next one:
requesting those pages again took a tenth of the time of short texts. This holds for the whole
process; glibc's `MALLOC_` variables override it. The memory goes back when a model is closed, and
before a text of 8,192 tokens or more.

On a CPU, oneDNN besides keeps memory for every shape it has multiplied. Rows and keys are filled
up to a few hundred shapes in all, so a process that meets texts of every length grows by some
0.4 GB and no further; the row of many lengths shows it.
"""


def report(results: list[dict[str, Any]]) -> str:
    """The page."""
    devices = [result["machine"]["gpu"] for result in results if "gpu" in result["machine"]]
    gpu = (
        f"GPUs measured: {', '.join(sorted(set(devices)))}."
        if devices
        else "Nothing here was measured on a GPU: none was at hand."
    )
    rounds = sorted({result["settings"]["repeats"] for result in results})
    repeats = " or ".join(f"{number} rounds" if number > 1 else "1 round" for number in rounds)
    pages = [HEAD.format(gpu=gpu, repeats=repeats)]
    pages += [f"{_about(result)}\n\n{tables(result)}" for result in results]
    return "\n".join([*pages, TAIL.rstrip()])


def _about(result: dict[str, Any]) -> str:
    machine, settings = result["machine"], result["settings"]
    where = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} threads"
    mode = ", `compile=True`" if settings["compile"] else ", default install"
    flags = ", ".join(machine["flags"]) or "no vector flags known"
    told = [
        f"\n## {settings['dtype']}{mode}: {where}\n",
        f"{machine['memory_gb']} GB of memory; {flags}; {machine['system']}, Python "
        f"{machine['python']}, torch {machine['torch']}, transformers {machine['transformers']}, "
        f"sentence-transformers {machine['sentence-transformers']}. Best batches were looked for "
        f"with {min(settings['sweep_layers'], settings['layers'])} of {settings['layers']} layers.",
    ]
    if settings["layers"] != LAYERS:
        told.append(
            f"The model was cut to {settings['layers']} of {LAYERS} layers: a trial, not the 0.6B."
        )
    if agreement := _agreement(result):
        told.append(agreement)
    if "note" in result:  # put in by hand
        told.append(result["note"])
    if "plot" in result:
        told.append(f"\n![The ratios below as bars]({result['plot']})")
    return "\n".join(told)


def _agreement(result: dict[str, Any]) -> str:
    """How far the sides' answers are apart on the 0.6B."""
    told = []
    for section, pick, what in (
        ("embedding", min, "the least cosine between a peer's vectors and qwen3-rag's is {:.4f}"),
        ("reranking", max, "the largest difference of a probability {:.4f}"),
    ):
        values = [
            value
            for row in result["rows"]
            if row["section"] == section and row["model"] != "tiny"
            for value in row.get("agreement", {}).values()
        ]
        if values:
            told.append(what.format(pick(values)))
    if not told:
        return ""
    figures = f"How far the sides are apart: {', '.join(told)}."
    if result["settings"]["dtype"] == "float32":
        return figures
    return (
        f"{figures} That is rounding, which the random weights of this model amplify: the peers in "
        "this number format are as far from themselves in float32. In float32, and on the trained "
        "small pair, the sides agree, which the tests assert."
    )


def main() -> None:
    """Read the files that are named and print the page."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    files = [Path(name) for name in sys.argv[1:]]
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for file, result in zip(files, results, strict=True):
        if (DOCS / f"{file.stem}.png").exists():
            result["plot"] = f"{file.stem}.png"
    print(report(results))


if __name__ == "__main__":
    main()
