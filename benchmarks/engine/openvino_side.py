"""Runs OpenVINO in the interpreter that `--openvino` names; needs optimum-intel[openvino].

    python openvino_side.py FOLDER DTYPE

It first writes its version. It then reads lines `{"ids": [[...]], "batch": n}` and writes a line of
vectors for each. It imports nothing from this repository.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Open the model and answer until the input ends."""
    folder, dtype = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep the output of libraries apart from the answers
    import openvino  # type: ignore[import-not-found]
    import torch
    from optimum.intel import OVModelForFeatureExtraction  # type: ignore[import-not-found]

    precision = {"bfloat16": "bf16", "float32": "f32"}[dtype]
    model: Any = OVModelForFeatureExtraction.from_pretrained(
        folder, export=True, ov_config={"INFERENCE_PRECISION_HINT": precision}
    )

    print(json.dumps(openvino.__version__.partition("-")[0]), file=answers, flush=True)

    def batch(rows: list[list[int]]) -> list[list[float]]:
        width = max(len(row) for row in rows)
        ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        last = model(input_ids=ids, attention_mask=mask).last_hidden_state[:, -1]
        vectors: list[list[float]] = torch.nn.functional.normalize(last.float(), dim=1).tolist()
        return vectors

    for line in sys.stdin:
        work = json.loads(line)
        rows, size = work["ids"], work["batch"] or len(work["ids"])
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
        vectors: list[list[float]] = [[]] * len(rows)
        for start in range(0, len(rows), size):
            some = order[start : start + size]
            for index, vector in zip(some, batch([rows[index] for index in some]), strict=True):
                vectors[index] = vector
        print(json.dumps(vectors), file=answers, flush=True)


if __name__ == "__main__":
    main()
