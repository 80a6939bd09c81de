"""Files that are made to do harm, or are damaged in the midst."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.reading import Reader, Unusable
from qwen3_rag_cli.reading.apart import Apart
from qwen3_rag_cli.reading.source import Source

pytest.importorskip("lxml", reason="lxml is not installed")

ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 16}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]>"
)


def refused(path: Path, content: bytes | str) -> str:
    """Read a file that cannot be read, and give the reason."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    reader = Reader()
    try:
        with pytest.raises(Unusable) as error:
            for _ in reader.read(path).sections:
                pass
    finally:
        reader.close()
    return error.value.reason


def archive(files: dict[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    "markup",
    [
        "<a ",
        '<a b="',
        "<!-- x -->",
        "<p>x",
        "<td>x",
        "&",
        "&#",
        "</",
        "<b><i>x</b>",
        "<br>",
        "<![CDATA[",
    ],
)
def test_hostile_html_takes_linear_time(tmp_path: Path, markup: str) -> None:
    (tmp_path / "a.html").write_text("x" + markup * 100_000)

    begun = time.process_time()
    list(Reader().read(tmp_path / "a.html").sections)
    assert time.process_time() - begun < 30  # by the square, many minutes


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.html", "<div>" * 5_000 + "x", "depth"),
        ("a.html", "<p>text</p><script>rest", "`<script` in line 1"),
        ("a.html", "<p>text</p>\n<!-- rest", "`<!--` in line 2"),
        ("a.html", "<script>all</script><nav>of it</nav>", "no text besides scripts"),
        ("a.jsonl", '{"a": 1}\n' + "[" * 100_000, "in line 2"),
        ("a.jsonl", '{"a": 1}\n{"a": ', "no valid JSON in line 2"),
        ("a.jsonl", '"\\ud800"', "no valid Unicode"),
        ("a.jsonl", "1" * 20 + "\n" + "x" * 10_100_000, "characters in line 2"),
        ("a.csv", 'a,b\n1,"' + "x" * 1_100_000, "row 2"),
        ("a.csv", 'a,b\n1,"never closed\n2,3\n', "opened in row 2 is not closed"),
        ("a.csv", "a" * 10_100_000, "characters in line 1"),
        ("a.csv", "\n\n", "has no text"),
        ("a.ipynb", "[" * 100_000, "too deep"),
        ("a.ipynb", '{"cells": [5]}', "no notebook"),
        ("a.ipynb", '{"nbformat": 4}', "no notebook"),
        ("a.ipynb", '{"cells": [{"cell_type": "heading", "level": "x"}]}', "is damaged"),
        ("a.eml", "no headers\n\ntext", "no e-mail message"),
        ("a.eml", "From: a\nContent-Type: x; " + "a=b;" * 50_000 + "\n\ntext", "Content-Type"),
        ("a.mbox", "From: a\n\ntext", "`From `"),
        ("a.docx", b"\xd0\xcf\x11\xe0" + b"\0" * 600, "has a password, or is of a format before"),
        ("a.xlsx", b"", "cut off, damaged"),
        ("a.epub", archive({"mimetype": "application/epub+zip"}), "META-INF/container.xml"),
        ("a.epub", archive({"META-INF/container.xml": "<a>"}), "cannot be read"),
        ("a.pptx", archive({"word/document.xml": ENTITIES + "<x>&i;</x>"}), "declares entities"),
        ("a.docx", archive({"[Content_Types].xml": "<x"}), "damaged"),
        ("a.docx", archive({"word/document.xml": "<w/>"}), "is damaged"),
        ("a.xlsx", archive({"xl/workbook.xml": b" " * 50_000_000}), "would be 50 MB when unpacked"),
    ],
)  # fmt: skip
def test_it_is_refused_with_a_reason(
    tmp_path: Path, name: str, content: bytes | str, reason: str
) -> None:
    for module in {"a.docx": ["mammoth"], "a.xlsx": ["openpyxl"], "a.pptx": ["pptx"]}.get(name, []):
        pytest.importorskip(module)

    assert reason in refused(tmp_path / name, content)


def test_a_password_of_an_archive_is_told_of(tmp_path: Path) -> None:
    pytest.importorskip("pptx")
    raw = bytearray(archive({"ppt/presentation.xml": "<x/>"}))
    # The flag of encryption, in the header of the file and in the list of files.
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1

    assert "has a password" in refused(tmp_path / "a.pptx", bytes(raw))


def test_books_load_nothing_from_beside_them(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret")
    entity = f'<!DOCTYPE p [<!ENTITY e SYSTEM "{(tmp_path / "secret").as_uri()}">]>'
    files: dict[str, str | bytes] = {
        "META-INF/container.xml": '<c><rootfile full-path="b"/></c>',
        "b": f"{entity}<p><metadata><title>&e;</title></metadata><manifest><item id='a' href='a'/>"
        "</manifest><spine><itemref idref='a'/></spine></p>",
        "a": f"<?xml version='1.0'?>{entity}<html><body><p>text &e;</p></body></html>",
    }
    (tmp_path / "a.epub").write_bytes(archive(files))
    reader = Reader()

    found = "".join(str(section) for section in reader.read(tmp_path / "a.epub").sections)

    reader.close()
    assert "text" in found
    assert "secret" not in found


def test_protected_books_are_told_of(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "META-INF/container.xml": '<c><rootfile full-path="b"/></c>',
        "META-INF/encryption.xml": '<e><CipherReference URI="a"/></e>',
        "b": "<p><manifest><item id='a' href='a'/></manifest>"
        "<spine><itemref idref='a'/></spine></p>",
        "a": b"\x80\x81",
    }

    assert "DRM" in refused(tmp_path / "a.epub", archive(files))


def test_a_sheet_whose_cells_are_far_apart_is_read_in_little_time(tmp_path: Path) -> None:
    openpyxl: Any = pytest.importorskip("openpyxl")
    made = openpyxl.Workbook()
    made.active["A1"], made.active["XFD1048576"] = "first", "last"
    made.save(str(tmp_path / "a.xlsx"))
    reader = Reader()

    [section] = reader.read(tmp_path / "a.xlsx").sections

    reader.close()
    assert section.text == "first\n | last"
    assert str(section.place(6, 12)) == "sheet Sheet, row 1048576"


@pytest.mark.parametrize(
    ("name", "row"),
    [("a.csv", f"{{}},{'words ' * 40}\n"), ("a.jsonl", f'"{{}} {"words " * 40}"\n')],
)
def test_large_tables_are_read_in_little_memory(tmp_path: Path, name: str, row: str) -> None:
    size = (tmp_path / name).write_text("".join(row.format(n) for n in range(50_000)))
    reader = Reader()

    tracemalloc.start()
    try:
        count = sum(1 for _ in reader.read(tmp_path / name).sections)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count > 100
    assert peak < size / 2


PDF = """%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>> endobj
4 0 obj <</Length 5>> stream
/X Do
endstream endobj
"""  # noqa: E501 - an object is a line


def form_bomb(depth: int) -> bytes:
    """Show a form that shows another one ten times, and so on."""
    forms = ["/X Do " * 10] * depth + ["BT ET"]
    body = PDF + "".join(
        f"{number} 0 obj <</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Length {len(form)}"
        f"/Resources<</XObject<</X {number + 1} 0 R>>>>>> stream\n{form}\nendstream endobj\n"
        for number, form in enumerate(forms, 5)
    )
    return f"{body}trailer <</Root 1 0 R/Size 99>>\n%%EOF\n".encode()


def test_a_pdf_without_text_may_be_scanned(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2")

    assert "may be scanned" in refused(tmp_path / "a.pdf", form_bomb(1))


@pytest.fixture
def bomb(tmp_path: Path) -> Source:
    """A file of a few thousand bytes that takes hours."""
    pytest.importorskip("pypdfium2")
    (tmp_path / "bomb.pdf").write_bytes(form_bomb(12))
    return Source(tmp_path / "bomb.pdf")


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_read(
    tmp_path: Path, bomb: Source
) -> None:
    (tmp_path / "a.eml").write_text("Subject: Next\n\ntext\n")
    apart = Apart(seconds=3)

    with pytest.raises(Unusable, match="takes too long"):
        list(apart.read(bomb, 1_000))
    [section] = apart.read(Source(tmp_path / "a.eml"), 20)

    apart.close()
    assert section.heading == "Next"
    assert not multiprocessing.active_children()


def test_a_reader_that_crashes_ends_its_file_alone(bomb: Source) -> None:
    apart = Apart()

    def kill() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.1)
        children[0].kill()

    threading.Thread(target=kill).start()
    with pytest.raises(Unusable, match="crash"):
        list(apart.read(bomb, 1_000))


def damage_csv(path: Path) -> None:
    path.write_text(path.read_text() + 'x,"open\n')


def damage_jsonl(path: Path) -> None:
    path.write_text(path.read_text() + "{")


@pytest.mark.parametrize(("name", "damage"), [("a.csv", damage_csv), ("a.jsonl", damage_jsonl)])
def test_a_file_damaged_at_its_end_leaves_nothing_in_the_index(
    cli: Any, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "z.txt").write_text("Another file.")
    rows = [json.dumps({"name": f"words of row {n}"}) for n in range(3_000)]
    (folder / name).write_text("\n".join(rows) + "\n" if name == "a.jsonl" else "\n".join(rows))
    store = ("--store", tmp_path / "index", *cli.models)
    # Before: a new file; after: one that was sound.
    sound = (folder / name).read_text()
    damage(folder / name)
    first = cli.index(folder, *store)
    (folder / name).write_text(sound)
    mended = cli.index(folder, *store)
    damage(folder / name)
    again = cli.index(folder, *store)

    assert [entry["path"] for entry in first["skipped"]] == [f"files/{name}"]
    assert (first["removed"], first["chunks"]) == (0, 1)
    assert mended["chunks"] > 20
    assert (again["removed"], again["chunks"]) == (1, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="files of Linux")
@pytest.mark.parametrize("path", ["/proc/uptime", "/proc/kmsg"])
def test_files_of_the_system_that_tell_no_size_are_not_read(path: str) -> None:
    if not os.access(path, os.R_OK):
        pytest.skip(f"{path} cannot be read here")
    found: list[list[Any]] = []
    reader = Reader()
    reading = threading.Thread(
        target=lambda: found.append([*reader.read(Path(path)).sections]), daemon=True
    )

    reading.start()
    reading.join(30)

    assert found == [[]]  # and the thread does not wait for more messages of the kernel
