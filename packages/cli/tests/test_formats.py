from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag_cli import formats


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.MD", "markdown"),
        ("a.py", "code"),
        ("Makefile", "code"),
        ("README", "text"),
        ("Jenkinsfile", "code"),
        ("talk.srt", "text"),
        ("report.PDF", "pdf"),
        ("a.b.xlsx", "spreadsheet"),
        ("photo.png", None),
        ("makefile.png", None),
        ("odd", None),
    ],
)
def test_kinds_follow_the_name(name: str, kind: str | None) -> None:
    known = formats.of(Path(name))

    assert (known.kind if known else None) == kind
    assert formats.kind_of(Path(name)) == (kind or "text")


def test_each_suffix_has_one_format() -> None:
    listed = [suffix for _, suffixes in formats.suffixes() for suffix in suffixes]

    assert len(listed) == len(set(listed))
    assert {known.kind for known, _ in formats.suffixes()} == set(formats.KINDS)


def test_a_missing_library_is_named_by_its_extra() -> None:
    assert formats.Format("pdf", "pdf", "no_such_library").missing == "qwen3-rag-cli[pdf]"
    assert formats.Format("pdf", "pdf", "json").missing is None
    assert formats.Format("text").missing is None
