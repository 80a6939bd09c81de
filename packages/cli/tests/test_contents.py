from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag_cli.contents import Unusable, read


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xef\xbb\xbfbom", "bom"),
        ("utf-16 too".encode("utf-16"), "utf-16 too"),
        (b"a\r\nb\rc", "a\nb\nc"),
        (b"", ""),
    ],
)
def test_texts_are_read_as_they_were_meant(tmp_path: Path, raw: bytes, text: str) -> None:
    (tmp_path / "x.txt").write_bytes(raw)

    content = read(tmp_path / "x.txt")

    assert (content.text, content.note) == (text, "")


def test_broken_utf8_is_replaced_and_told(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"one\ntwo \xe9 and more text\n")

    content = read(tmp_path / "x.txt")

    assert content.text == "one\ntwo \N{REPLACEMENT CHARACTER} and more text\n"
    assert content.note == "not valid UTF-8: 1 characters replaced, the first in line 2"


@pytest.mark.parametrize("raw", [b"MZ\0\0", bytes(range(128, 256)) * 4, b"\xff\xfe\x00"])
def test_what_is_no_text_is_unusable(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x.txt").write_bytes(raw)

    with pytest.raises(Unusable):
        read(tmp_path / "x.txt")
