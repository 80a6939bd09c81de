"""The local engine's options: declared once, shown everywhere, checked by type and by name."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import InputError, InputTypeError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.integration import LoadingOptions, LocalOptions, arguments_of, local_options

BOTH = pytest.mark.parametrize("kind", [Qwen3Embedder, Qwen3Reranker])


def test_every_option_has_a_type_a_default_and_documentation() -> None:
    options = local_options()

    assert options.keys() == LocalOptions.__annotations__.keys() | LoadingOptions.__annotations__
    for name, option in options.items():
        assert option.name == name
        assert option.doc.endswith(".")
        assert option.default is (False if option.type is bool else None)


@BOTH
def test_help_shows_every_option_with_its_documentation(kind: Any) -> None:
    shown = " ".join(pydoc.plain(pydoc.render_doc(kind.__init__)).split())

    for option in local_options().values():
        assert f"{option.name}: {option.doc}" in shown
        assert f"{option.name}:" in shown.partition("Keep the arguments")[0]  # the signature
    assert "**options" not in shown


@BOTH
def test_the_signature_has_every_option_by_keyword(kind: Any) -> None:
    parameters = inspect.signature(kind).parameters

    for option in local_options().values():
        parameter = parameters[option.name]
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert (parameter.default, parameter.annotation) == (option.default, option.type)


@BOTH
@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"devise": "cpu"}, "There is no option 'devise'. Did you mean 'device'"),
        ({"cache_dir": "here"}, "There is no option 'cache_dir'. Did you mean 'cache_folder'"),
        ({"colour": "red"}, "There is no option 'colour'; there are revision, dtype, .*token"),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest_one(
    kind: Any, given: dict[str, str], match: str
) -> None:
    with pytest.raises(InputTypeError, match=match):
        kind("any", **given)


@BOTH
def test_none_is_as_good_as_left_out(kind: Any) -> None:
    for given in (
        {name: option.default for name, option in local_options().items()},
        dict.fromkeys(local_options()),
    ):
        assert arguments_of(kind("any", **given)) == arguments_of(kind("any"))


@BOTH
def test_values_out_of_range_are_refused_before_anything_is_loaded(kind: Any) -> None:
    with pytest.raises(InputError, match="`batch_tokens` must be at least 1, got 0"):
        kind("any", batch_tokens=0)
    with pytest.raises(InputTypeError, match="`device` must be a torch device"):
        kind("any", device=[])


@BOTH
@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"dtype": "int8"}, "`dtype` must be one of float32, bfloat16, float16, got 'int8'"),
        ({"attention": "flash"}, "`attention` must be one of sdpa, eager, got 'flash'"),
        ({"compile": "no"}, "`compile` must be True or False, got str"),
        ({"local_files_only": 1}, "`local_files_only` must be True or False, got int"),
        ({"revision": 5}, "`revision` must be a string, got int"),
        ({"cache_folder": 5}, "`cache_folder` must be a string, got int"),
        ({"model_kwargs": "a=b"}, "`model_kwargs` must be a dictionary, got str"),
        ({"token": ["hf_secret"]}, "`token` must be a string, got list"),
    ],
)
def test_values_of_the_wrong_type_say_what_is_allowed(
    kind: Any, given: dict[str, Any], match: str
) -> None:
    with pytest.raises(InputError, match=match) as caught:
        kind("any", **given)

    assert "hf_secret" not in str(caught.value)


@BOTH
def test_a_path_names_the_cache_folder(kind: Any, tmp_path: Path) -> None:
    assert arguments_of(kind("any", cache_folder=tmp_path))["cache_folder"] == str(tmp_path)


WRONG = """
from qwen3_rag import Qwen3Embedder, Qwen3Reranker

Qwen3Embedder("any", device="cpu", compile=True, dtype="bfloat16")
Qwen3Embedder("any", devise="cpu")
Qwen3Reranker("any", dtype="int3")
Qwen3Reranker("any", compile="yes")
"""


def test_mypy_refuses_a_wrong_option(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    snippet = tmp_path / "snippet.py"
    snippet.write_text(WRONG)

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(snippet)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    lines = [line for line in done.stdout.splitlines() if "error:" in line]
    assert [line.split(":")[1] for line in lines] == ["5", "6", "7"], done.stdout + done.stderr
    assert "devise" in lines[0]
