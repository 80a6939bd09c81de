"""`guides`: the examples of a page run, and say where they fail."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from qwen3_rag_testkit.guides import examples, headings, run_examples

PAGE = """# A guide

## Start

```sh
exit 1
```

```python
model = "Qwen/Qwen3-Embedding-0.6B"
address = "http://server/v1"
## no heading
```

## End

```python title="second"
both = [model, "Qwen/Qwen3-Reranker-8B"]
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "guide.md"
    file.write_text(PAGE, encoding="utf-8")
    return file


def test_examples_run_in_order_on_the_small_models(page: Path) -> None:
    names = run_examples(page, {"http://server": "http://127.0.0.1"})

    assert names["both"] == ["tiny", "tiny"]
    assert names["address"] == "http://127.0.0.1/v1"


def test_one_example_runs_alone_as_it_is_written(page: Path) -> None:
    first, second = examples(page)

    assert first.run()["model"] == "Qwen/Qwen3-Embedding-0.6B"
    assert str(first) == "guide.md:10"
    with pytest.raises(NameError, match="model") as caught:
        second.run()
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == (str(page), 18)


def test_headings_are_those_outside_examples(page: Path) -> None:
    assert headings(page) == ["Start", "End"]


def test_a_replacement_that_replaces_nothing_is_an_error(page: Path) -> None:
    with pytest.raises(AssertionError, match=r"No example of .*guide.md has 'http://other'"):
        run_examples(page, {"http://other": ""})


def test_a_page_without_an_example_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty.md"
    empty.write_text("# Nothing\n", encoding="utf-8")

    with pytest.raises(AssertionError, match="has no Python example"):
        run_examples(empty)
