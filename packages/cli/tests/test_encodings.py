from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.reading import Reader, Unusable

pytest.importorskip("chardetng_py", reason="chardetng-py is not installed")

CODE = "def total(a, b):\n    # {}\n    return a + b\n" + "\n".join(
    f"x{n} = {n}" for n in range(99)
)


def read(
    folder: Path, raw: bytes, encoding: str | None = None, name: str = "x.txt"
) -> tuple[str, list[str]]:
    (folder / name).write_bytes(raw)
    content = Reader(encoding).read(folder / name)
    text = "".join(section.text for section in content.sections)
    return text, content.notes


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xef\xbb\xbfbom", "bom"),
        ("utf-16 too".encode("utf-16"), "utf-16 too"),
        ("utf-32 도".encode("utf-32"), "utf-32 도"),
        (b"a\r\nb\rc", "a\nb\nc"),
        (b"", ""),
        ("as it is \ufffd".encode(), "as it is \ufffd"),
        (b"\x1b[31mred\x1b[0m \x1b$ not Japanese", "\x1b[31mred\x1b[0m \x1b$ not Japanese"),
        # Neither composed nor decomposed, and joined as before.
        (
            "e\u0301 é 한 \u1112\u1161\u11ab ﬁ ١٢ \u200d".encode(),
            "e\u0301 é 한 \u1112\u1161\u11ab ﬁ ١٢ \u200d",
        ),
    ],
)
def test_texts_are_read_as_they_were_meant(tmp_path: Path, raw: bytes, text: str) -> None:
    assert read(tmp_path, raw) == (text, [])


@pytest.mark.parametrize(
    ("comment", "encoding"),
    [
        ("计算两个数的和", "gbk"),
        ("計算兩個數的和", "big5"),
        ("二つの数の合計を計算する", "shift_jis"),
        ("두 수의 합을 계산한다", "euc_kr"),
        ("Größe für später", "latin-1"),
        ("сумма двух чисел", "koi8_r"),
        ("сумма двух чисел", "cp1251"),
    ],
)
def test_one_comment_in_a_national_encoding_is_read_and_told(
    tmp_path: Path, comment: str, encoding: str
) -> None:
    code = CODE.format(comment)

    text, [note] = read(tmp_path, code.encode(encoding), name="x.py")

    assert text == code
    assert "read as " in note
    assert "--encoding" in note


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("# -*- coding: cp1250 -*-\n# Ł\n", "cp1250"),
        ('<?xml version="1.0" encoding="gb2312"?>\n<a>中</a>\n', "gb2312"),
        ('<meta charset="windows-1257">\n<p>Ž</p>\n', "cp1257"),
    ],
)
def test_an_encoding_that_a_file_declares_is_taken(
    tmp_path: Path, text: str, encoding: str
) -> None:
    assert read(tmp_path, text.encode(encoding)) == (text, [])


def test_what_a_file_declares_wrongly_is_not_taken(tmp_path: Path) -> None:
    text = "# coding: no-such-encoding\n# Größe für später\n"

    assert read(tmp_path, text.encode("latin-1"))[0] == text


def test_a_damaged_character_is_replaced_and_told(tmp_path: Path) -> None:
    assert read(tmp_path, "één Größe\nfür ".encode() + b"\xe9 \n") == (
        "één Größe\nfür \ufffd \n",
        ["not valid UTF-8: 1 characters replaced, the first in line 2"],
    )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"MZ\0\0", "is binary"),
        (b"\xff\xfe\x00", "nor valid UTF-16"),
        (b"\x01\x02\x03 abc", "is binary"),
        (bytes(range(1, 256)) * 4, "is binary"),
        (b"%PDF-1.4\n1 0 obj\n<</Type/Catalog>>\nendobj\n", "is no text but a PDF"),
        (b"{\\rtf1\\ansi Hello}", "is no text but RTF"),
        (b"%!PS-Adobe-3.0\n", "is no text but PostScript"),
        # Pairs of bytes that are none of a known encoding, or too few of them.
        ("中文".encode("gbk") + b"\xff" + "中文".encode("gbk"), "--encoding"),
        ("x = 1  # 日".encode("shift_jis"), "--encoding"),
        ("# Ľ".encode("cp1250"), "--encoding"),
        (("Größe für später\n" * 9).encode() + "тоже для всех\n".encode("koi8_r"), "in line 10"),
    ],
)
def test_what_is_no_text_for_sure_is_unusable(tmp_path: Path, raw: bytes, reason: str) -> None:
    with pytest.raises(Unusable) as refused:
        read(tmp_path, raw)

    assert reason in refused.value.reason


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("cp1250", "cp1250"),
        ("GB2312", "gb18030"),
        ("shift-jis", "cp932"),
        ("ISO-8859-1", "cp1252"),
        ("utf-16-le", "utf-16-le"),
        ("iso-2022-jp", "iso2022_jp"),
    ],
)
def test_a_named_encoding_is_for_text_that_is_not_utf8(
    tmp_path: Path, name: str, codec: str
) -> None:
    text = "Text: 日\n" if codec in ("gb18030", "cp932", "utf-16-le", "iso2022_jp") else "Ž “x”\n"

    assert read(tmp_path, text.encode(codec), name) == (text, [])
    for other in ("Größe 日\n", "\x1b$ of a terminal"):
        assert read(tmp_path, other.encode(), name) == (other, [])
    [note] = read(tmp_path, ("Größe 日\n" * 9).encode() + b"\xe9\n", name)[1]
    assert "1 characters replaced, the first in line 10" in note


def test_text_that_is_not_in_the_named_encoding_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="neither UTF-8 nor valid euc-kr"):
        read(tmp_path, "Größe für später".encode("latin-1"), "euc-kr")


@pytest.mark.parametrize("name", ["klingon", "hex", "rot13", "", "undefined"])
def test_an_unknown_encoding_is_an_input_error(
    cli: Any, notes: Path, tmp_path: Path, name: str
) -> None:
    said = cli.run("index", notes, "--store", tmp_path / "i", *cli.models, "--encoding", name)

    assert said.code == 2
    assert "`--encoding` must be auto or" in said.err


def test_an_index_remembers_its_encoding_until_told_otherwise(
    cli: Any, notes: Path, tmp_path: Path
) -> None:
    (notes / "short.txt").write_bytes("Ľ".encode("cp1250"))
    where = [notes, "--store", tmp_path / "index"]

    first = cli.index(*where, *cli.models, "--encoding", "cp1250")
    again = cli.index(*where)
    other = cli.index(*where, "--encoding", "cp1251")
    found = [text for text, *_ in cli.content(tmp_path / "index").values() if "short" in text]
    auto = cli.index(*where, "--encoding", "auto")

    assert (first["skipped"], again["unchanged"], other["embedded"]) == ([], 4, 1)
    assert found == ["short.txt\n\nј"]
    assert [entry["path"] for entry in auto["skipped"]] == ["notes/short.txt"]
    assert auto["removed"] == 1
