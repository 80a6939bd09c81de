"""`imports`: what code loads, in an interpreter of its own."""

from __future__ import annotations

import sys

import pytest

from qwen3_rag_testkit.imports import loaded_by, run_python


def test_what_is_loaded_is_told_whatever_is_printed() -> None:
    code = "import json.decoder; print('calendar')"

    assert loaded_by(code, ["json", "json.decoder", "calendar"]) == ["json", "json.decoder"]


def test_modules_of_this_interpreter_do_not_count() -> None:
    assert "pytest" in sys.modules

    assert loaded_by("", ["pytest"]) == []


def test_an_absent_module_is_neither_found_nor_imported_nor_loaded() -> None:
    code = """
from importlib.util import find_spec
print(find_spec("pytest"))
try:
    import pytest
except ModuleNotFoundError:
    print("東京")
"""
    assert run_python(code, absent=["pytest"]) == "None\n東京"
    assert loaded_by(code, ["pytest"], absent=["pytest"]) == []


def test_code_that_fails_shows_its_error() -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_python("1 / 0")
