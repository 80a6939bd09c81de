"""Makes `docs/measurements.md` from the results of one or more runs.

python -m benchmarks.engine.report benchmarks/results/engine-*.json > docs/measurements.md
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
# Measurements

The tables behind [performance](performance.md): the speed and memory of the local engine, compared
with other libraries in the same run, on the same texts, with the same threads and number format.
The machines were shared, so look at the ratios within a run rather than at absolute times. You can
measure on your own machine:

    python -m benchmarks.engine --json benchmarks/results/NAME.json --plot docs/NAME.png
    python -m benchmarks.engine.report benchmarks/results/engine-*.json > docs/measurements.md

OpenVINO needs a separate environment; pass `--openvino openvino/bin/python`:

    python -m venv openvino && openvino/bin/pip install "optimum-intel[openvino]" torch

{gpu}

## Method

- **Model**: the exact architecture of the 0.6B models, including the vocabulary, with random
  weights; speed does not depend on their values. The tokenizer is that of `tiny`, the small trained
  checkpoints. `tiny` runs in float32 everywhere.
- **Texts** consist of words of one token each, so they have exactly the stated number of tokens.
  Mixed texts and documents have log-normal lengths. The others all have the same length, which
  favours implementations that pad. A reranking prompt has 80 tokens before the document and 9 after
  it. Tokens per second count the whole prompt for everybody, although qwen3-rag computes the first
  80 tokens only once per query. Each round has a new query.
- **Peers**: `SentenceTransformer` and `CrossEncoder` with the best of the batch sizes 1, 2, 4, 8,
  16 and 32, and with the default of 32; the model card's script, with batches of 8 to limit memory,
  timed once; and OpenVINO, exported by optimum-intel, with the best of 1, 8 and 32. To save time,
  the best batch size is found with the first layers of the model only (their number is given below
  for each run). The measurement itself uses the whole model.
- **Processes**: each implementation runs in a separate process, and they alternate. Two in one
  process would each have a pool of OpenMP threads, and more threads than cores slow both down.
- **Matmul peak**: 100 % is the throughput of a model that consists only of its matrix products, at
  the speed of the plain square product.
- **Medians** of {repeats}. Memory is the peak resident size during the work minus that of the
  process with the model loaded and warmed up. Each value is from a new process.
"""


def report(results: list[dict[str, Any]]) -> str:
    """Render the page."""
    devices = [result["machine"]["gpu"] for result in results if "gpu" in result["machine"]]
    gpu = (
        f"GPUs measured: {', '.join(sorted(set(devices)))}."
        if devices
        else "No GPU was available; all results are from CPUs."
    )
    rounds = sorted({result["settings"]["repeats"] for result in results})
    repeats = " or ".join(f"{number} rounds" if number > 1 else "1 round" for number in rounds)
    pages = [HEAD.format(gpu=gpu, repeats=repeats)]
    pages += [f"{_about(result)}\n\n{tables(result)}" for result in results]
    return "\n".join(pages).rstrip()


def _about(result: dict[str, Any]) -> str:
    machine, settings = result["machine"], result["settings"]
    where = machine.get("gpu") or f"{machine['cpu']}, {machine['threads']} threads"
    mode = ", `compile=True`" if settings["compile"] else ", default install"
    flags = ", ".join(machine["flags"]) or "vector extensions unknown"
    parts = [
        f"\n## {settings['dtype']}{mode}: {where}\n",
        f"{machine['memory_gb']} GB of memory; {flags}; {machine['system']}, Python "
        f"{machine['python']}, torch {machine['torch']}, transformers {machine['transformers']}, "
        f"sentence-transformers {machine['sentence-transformers']}. The best batch sizes were "
        f"found with {min(settings['sweep_layers'], settings['layers'])} of {settings['layers']} "
        "layers.",
    ]
    if settings["layers"] != LAYERS:
        parts.append(
            f"This is a trial run with {settings['layers']} of {LAYERS} layers, not the whole 0.6B."
        )
    if agreement := _agreement(result):
        parts.append(agreement)
    if "note" in result:  # added by hand
        parts.append(result["note"])
    if "plot" in result:
        parts.append(f"\n![Bar chart of the ratios below]({result['plot']})")
    return "\n".join(parts)


def _agreement(result: dict[str, Any]) -> str:
    """Describe how far the results of the implementations differ on the 0.6B."""
    parts = []
    for section, pick, what in (
        (
            "embedding",
            min,
            "the lowest cosine between vectors of a peer and of qwen3-rag is {:.4f}",
        ),
        ("reranking", max, "the largest difference between scores is {:.4f}"),
    ):
        values = [
            value
            for row in result["rows"]
            if row["section"] == section and row["model"] != "tiny"
            for value in row.get("agreement", {}).values()
        ]
        if values:
            parts.append(what.format(pick(values)))
    if not parts:
        return ""
    agreement = f"Agreement: {', '.join(parts)}."
    if result["settings"]["dtype"] == "float32":
        return agreement
    return (
        f"{agreement} The cause is rounding, which the random weights of this model amplify: each "
        "peer differs as much from its own float32 results. In float32, and with the trained tiny "
        "checkpoints, all implementations agree, as the tests assert."
    )


def main() -> None:
    """Read result files and print the page."""
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
