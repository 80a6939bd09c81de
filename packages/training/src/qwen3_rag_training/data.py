"""Training examples in JSON lines, and the order in which training visits them.

The order depends on the seed alone, so that an interrupted run can resume where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qwen3_rag.errors import InputError
from qwen3_rag.integration import check_texts

__all__ = ["Example", "batches", "read_examples", "write_examples"]


@dataclass(frozen=True, slots=True)
class Example:
    """A query, a document that answers it, and documents that do not.

    Attributes:
        query: The query text, without the prompt around it.
        positive: The document that answers it.
        negatives: Hard negatives, hardest first.
        instruction: What the query is for; the default of the checkpoint when `None`.
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    instruction: str | None = None


def _example(record: Any, place: str) -> Example:
    if not isinstance(record, dict):
        raise InputError(f"{place}: expected an object with `query` and `positive`.")
    for key in ("query", "positive"):
        if not isinstance(record.get(key), str) or not record[key].strip():
            raise InputError(f"{place}: `{key}` must be a non-blank string.")
    negatives = record.get("negatives") or []
    if not isinstance(negatives, list) or not all(isinstance(text, str) for text in negatives):
        raise InputError(f"{place}: `negatives` must be a list of strings.")
    instruction = record.get("instruction") or None
    if instruction is not None and not isinstance(instruction, str):
        raise InputError(f"{place}: `instruction` must be a string.")
    example = Example(record["query"], record["positive"], tuple(negatives), instruction)
    texts = (example.query, example.positive, *negatives, instruction or "")
    try:
        check_texts(texts, "texts")
    except InputError:
        raise InputError(
            f"{place}: a text has half a surrogate pair, such as \\ud83d alone, which is not valid "
            "Unicode. Write the whole pair, or the character itself."
        ) from None
    return example


def read_examples(file: Path) -> list[Example]:
    """Read JSON lines with `query`, `positive` and optionally `negatives` and `instruction`.

    Args:
        file: UTF-8 text; empty lines are skipped.

    Raises:
        InputError: The file is missing or empty, or a line is malformed; the message names the
            line.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Training data {str(file)!r} cannot be read: {error}.") from error
    examples = []
    # Not splitlines(): it also splits at Unicode separators, which texts may contain.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{str(file)!r}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{place} is not JSON: {error}.") from error
        except RecursionError:
            raise InputError(f"{place}: brackets are nested too deeply.") from None
        examples.append(_example(record, place))
    if not examples:
        raise InputError(f"Training data {str(file)!r} holds no examples.")
    return examples


def write_examples(examples: Iterable[Example], file: Path) -> None:
    """Write examples as JSON lines that `read_examples` reads."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as stream:
        for example in examples:
            record: dict[str, Any] = {"query": example.query, "positive": example.positive}
            if example.negatives:
                record["negatives"] = list(example.negatives)
            if example.instruction is not None:
                record["instruction"] = example.instruction
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def batches(
    count: int, batch_size: int, seed: int, *, block: int = 1, first: int = 0
) -> Iterator[list[int]]:
    """Yield batches of shuffled epochs, without end.

    Args:
        count: Number of examples.
        batch_size: Examples per batch; an incomplete batch at the end of an epoch is dropped.
        seed: The same seed gives the same batches.
        block: Number of consecutive lines that stay together. With `block=batch_size`, a file
            sorted by source gives batches from one source each, whose in-batch negatives are
            harder.
        first: Number of batches to skip.

    Yields:
        The example indices of one batch.

    Raises:
        InputError: There are fewer examples than one batch needs.
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
    # A random offset moves the block boundaries from epoch to epoch.
    shift = int(random.integers(block))
    ring = np.roll(np.arange(count), -shift)
    blocks = [ring[start : start + block] for start in range(0, count, block)]
    return [int(index) for place in random.permutation(len(blocks)) for index in blocks[place]]
