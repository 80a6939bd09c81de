"""Reading and writing examples, and the order of batches."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from qwen3_rag.errors import InputError
from qwen3_rag_training.data import Example, batches, read_examples, write_examples


def test_examples_survive_a_round_trip(tmp_path: Path) -> None:
    examples = [
        Example("q", "d"),
        Example("질문\u2028zwei", "line\nbreak", ("n1", "n2"), "Find the answer"),
    ]

    write_examples(examples, tmp_path / "data.jsonl")

    assert read_examples(tmp_path / "data.jsonl") == examples


def test_missing_fields_take_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"query": "q", "positive": "d", "negatives": null}\n\n')

    assert read_examples(file) == [Example("q", "d", (), None)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        ("[]", "line 2: expected an object"),
        ('{"query": "q"}', "line 2: `positive`"),
        ('{"query": " ", "positive": "d"}', "line 2: `query`"),
        ('{"query": "q", "positive": "d", "negatives": "n"}', "line 2: `negatives`"),
        ('{"query": "q", "positive": "d", "instruction": 3}', "line 2: `instruction`"),
        ('{"query": "\\ud83d", "positive": "d"}', "line 2: a text has half a surrogate pair"),
        ('{"query": "q", "positive": "d", "negatives": ["\\ude00"]}', "line 2: a text has half"),
        ('{"query": "q", "positive": "d", "instruction": "\\ud83d"}', "line 2: a text has half"),
        ('{"query": ' + "[" * 100_000, "line 2: brackets are nested too deeply"),
    ],
)
def test_invalid_line_is_reported_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"query": "q", "positive": "d"}\n' + line)

    with pytest.raises(InputError, match=message):
        read_examples(file)


def test_missing_and_empty_files_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")

    with pytest.raises(InputError, match="cannot be read"):
        read_examples(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="holds no examples"):
        read_examples(tmp_path / "empty.jsonl")


def take(count: int, **settings: int) -> list[list[int]]:
    order = batches(23, 5, settings.pop("seed", 0), **settings)
    return list(itertools.islice(order, count))


def test_an_epoch_visits_each_example_once() -> None:
    seen = [index for batch in take(4) for index in batch]

    assert len(set(seen)) == 20


def test_order_depends_only_on_seed_and_epoch() -> None:
    assert take(9) == take(9)
    assert take(9) != take(9, seed=1)
    assert take(4) != take(8)[4:]


@pytest.mark.parametrize("first", [1, 4, 7])
def test_skipped_batches_leave_the_rest_unchanged(first: int) -> None:
    assert take(3, first=first) == take(first + 3)[first:]


def test_block_keeps_consecutive_lines_together() -> None:
    whole = [sorted(batch) for batch in itertools.islice(batches(20, 5, 0, block=5), 4)]

    for batch in whole:
        distances = {(right - left) % 20 for left, right in itertools.pairwise(batch)}
        assert distances <= {1, 16}  # neighbours on the ring of 20


def test_fewer_examples_than_a_batch_are_an_error() -> None:
    with pytest.raises(InputError, match="do not fill a batch"):
        next(batches(3, 4, 0))
