"""Training examples from JSONL, and the order they are used in.

Knows nothing of tokens or models. The order is a pure function of the seed, so that a run that was
killed goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qwen3_rag import DEFAULT_INSTRUCTION
from qwen3_rag.errors import InputError

__all__ = ["Example", "batches", "read_examples", "write_examples"]


@dataclass(frozen=True, slots=True)
class Example:
    """A query, a document that answers it, and documents that do not.

    Attributes:
        query: Without prompt text.
        positive: The document that answers it.
        negatives: Hard negatives, hardest first.
        instruction: What the query is for.
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    instruction: str = DEFAULT_INSTRUCTION


def _example(record: Any, place: str) -> Example:
    if not isinstance(record, dict):
        raise InputError(f"{place}: expected an object with `query` and `positive`.")
    for key in ("query", "positive"):
        if not isinstance(record.get(key), str) or not record[key].strip():
            raise InputError(f"{place}: `{key}` must be a text that is not blank.")
    negatives = record.get("negatives") or []
    if not isinstance(negatives, list) or not all(isinstance(text, str) for text in negatives):
        raise InputError(f"{place}: `negatives` must be a list of texts.")
    instruction = record.get("instruction") or DEFAULT_INSTRUCTION
    if not isinstance(instruction, str):
        raise InputError(f"{place}: `instruction` must be a text.")
    return Example(record["query"], record["positive"], tuple(negatives), instruction)


def read_examples(file: Path) -> list[Example]:
    """Read JSON lines with `query`, `positive` and, if wanted, `negatives` and `instruction`.

    Args:
        file: UTF-8; empty lines are skipped.

    Raises:
        InputError: The file is missing or empty, or a line is not such an object; the message
            names the line.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Training data {str(file)!r} cannot be read: {error}.") from error
    examples = []
    # Not splitlines(): texts may hold separators that only str considers line ends.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{str(file)!r}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{place} is not JSON: {error}.") from error
        examples.append(_example(record, place))
    if not examples:
        raise InputError(f"Training data {str(file)!r} holds no examples.")
    return examples


def write_examples(examples: Iterable[Example], file: Path) -> None:
    """Write examples in the form `read_examples` takes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as stream:
        for example in examples:
            record: dict[str, Any] = {"query": example.query, "positive": example.positive}
            if example.negatives:
                record["negatives"] = list(example.negatives)
            if example.instruction != DEFAULT_INSTRUCTION:
                record["instruction"] = example.instruction
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def batches(
    count: int, batch_size: int, seed: int, *, block: int = 1, first: int = 0
) -> Iterator[list[int]]:
    """Go through the examples in shuffled epochs, for ever.

    Args:
        count: Number of examples.
        batch_size: Examples per batch; the rest of an epoch that does not fill one is left out.
        seed: Two runs with the same seed see the same batches.
        block: Neighbouring lines that stay neighbours. With the batch size, a file sorted by
            source gives batches of one source each, whose in-batch negatives are harder.
        first: Batches to skip.

    Yields:
        Indices of one batch.

    Raises:
        InputError: There are fewer examples than a batch holds.
    """
    per_epoch = count // batch_size
    if per_epoch == 0:
        raise InputError(
            f"{count} examples do not fill a batch of {batch_size}. Lower `batch_size`."
        )
    while True:
        epoch, start = divmod(first, per_epoch)
        order = _shuffled(count, block, np.random.default_rng([seed, epoch]))
        for batch in range(start, per_epoch):
            yield order[batch * batch_size : (batch + 1) * batch_size]
        first = (epoch + 1) * per_epoch


def _shuffled(count: int, block: int, random: np.random.Generator) -> list[int]:
    # A random start moves the block borders from epoch to epoch.
    shift = int(random.integers(block))
    ring = np.roll(np.arange(count), -shift)
    blocks = [ring[start : start + block] for start in range(0, count, block)]
    return [int(index) for place in random.permutation(len(blocks)) for index in blocks[place]]
