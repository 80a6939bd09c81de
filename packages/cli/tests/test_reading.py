"""What is read of each format, and where it is said to be."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.chunking import Chunk, Chunking, chunks
from qwen3_rag_cli.reading import Reader, Unusable
from qwen3_rag_cli.sections import Section

pytest.importorskip("lxml", reason="lxml is not installed")


def sections(path: Path, content: bytes | str | None = None) -> list[Section]:
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    reader = Reader()
    try:
        return list(reader.read(path).sections)
    finally:
        reader.close()


def text(path: Path, content: bytes | str | None = None) -> str:
    return "\n\n".join(section.text for section in sections(path, content))


def cut(path: Path, content: bytes | str, tokens: int = 32) -> list[Chunk]:
    found = sections(path, content)
    return list(chunks(found, lambda text: len(text.split()), Chunking(tokens, 4)))


PAGE = """<!DOCTYPE html>
<html><head><title>Prices &amp; more</title><style>p { color: red }</style></head>
<body><nav><a href="/">Home</a></nav><div role="navigation">Menu</div>
<h1>Wine</h1>
<p>From <b>Tus</b>cany,
caf&eacute;&nbsp;x.</p>
<div hidden>secret <div>hidden</div></div><p style="display: none">secret</p>
<h2>Table</h2>
<table><tr><th>Name<th>Price<tr><td>Chianti<td>12<tr><td><p>Barolo</p><td>30</table>
<pre>
if a &lt; b:
    go()
</pre>
<ul><li>one<li>two<br>three</ul><img src="http://example.org/x.png" alt="A map">
<script>var secret = 1;</script>
</body></html>
"""


def test_html_keeps_headings_tables_and_lines_and_leaves_out_what_is_not_shown(
    tmp_path: Path,
) -> None:
    first, second = sections(tmp_path / "a.html", PAGE)

    assert (first.path, second.path) == (
        ("Prices & more", "Wine"),
        ("Prices & more", "Wine", "Table"),
    )
    assert first.text == "Wine\n\nFrom Tuscany, café\xa0x."
    assert second.text == (
        "Table\n\nName | Price\nChianti | 12\nBarolo | 30\nif a < b:\n    go()\n\n"
        "one\n\ntwo\nthree\n\nA map"
    )
    assert str(first.place(0, 9)) == "lines 4-5"
    at = second.text.index("go()")
    assert str(second.place(at, at + 4)) == "line 12"


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ("no tags at all", "no tags at all"),
        ("<table><tr><td><h2>Title</h2><p>In a cell<td>beside</table>after", "after"),
        ("<p>a<p>b<td>c<tr><td>d", "b"),
        ("<div>" * 500 + "deep" + "</div>" * 500, "deep"),
        ("<?xml version='1.0'?><html><script src='x'/><p>after &mdash; it</p></html>", "after —"),
        ("<body><p>left<script>a<b</script> right", "left right"),
    ],
)
def test_no_text_of_unusual_html_is_lost(tmp_path: Path, markup: str, found: str) -> None:
    assert found in text(tmp_path / "a.html", markup)


def test_lines_of_very_long_html_are_not_guessed(tmp_path: Path) -> None:
    last = sections(tmp_path / "a.html", "<p>x</p>\n" * 70_000)[-1]

    place = last.place(0, len(last.text))
    assert (place.unit, place.last) == ("paragraph", 70_000)


def test_rows_repeat_the_header_and_say_their_numbers(tmp_path: Path) -> None:
    rows = "".join(f"Wine {n},{n}.50\n" for n in range(2, 200))

    found = cut(tmp_path / "a.csv", "name,price\n" + rows)

    assert all(chunk.text.startswith("a.csv\n\nname | price\nWine ") for chunk in found)
    assert str(found[0].place) == f"rows 2-{found[0].place.last}"
    assert [chunk.place.first for chunk in found[1:]] == [c.place.last + 1 for c in found[:-1]]
    assert f"Wine {found[1].place.first} | " in found[1].text
    assert found[-1].place.last == 199


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("a;b\n1,5;2\n", "a | b\n1,5 | 2"),
        ("a\tb,c\n1\t2\n", "a | b,c\n1 | 2"),
        ('name,remark\n"x, y","two\nlines"\n', "name | remark\nx, y | two lines"),
        ("1,2\n3,4\n", "1 | 2\n3 | 4"),
        ("one column\nonly\n", "one column\nonly"),
        ("header,only\n", "header | only"),
        ('a,b\n5" pipe,"6"" pipe"\n', 'a | b\n5" pipe | 6" pipe'),
        ("name,name\nx,y\n", "name | name\nx | y"),
        ("a,b\n\n,\n1,2,3\n", "a | b\n1 | 2 | 3"),
    ],
)
def test_tables_in_csv_become_lines(tmp_path: Path, table: str, found: str) -> None:
    assert text(tmp_path / "a.csv", table) == found


def test_cells_of_a_wide_table_are_beside_their_names(tmp_path: Path) -> None:
    names = [f"a long name number {n}" for n in range(20)]
    rows = [names, [f"cell {n}" for n in range(20)]]

    found = text(tmp_path / "a.csv", "\n".join(map(",".join, rows)))

    assert "a long name number 7: cell 7\n" in found


def test_json_lines_become_names_and_values_as_written(tmp_path: Path) -> None:
    row = '{"a": {"b": [1.50, "x", {"c": true}], "d": null}, "e": 12345678901234567890}'

    [section] = sections(tmp_path / "a.jsonl", f'{row}\n\n["last"]\n"word"\n')

    assert section.text == "a.b: 1.50, x\na.b.c: true\ne: 12345678901234567890\n\nlast\n\nword"
    assert str(section.place(0, 5)) == "line 1"
    assert str(section.place(0, len(section.text))) == "lines 1-4"


def test_notebooks_keep_headings_over_cells_and_leave_out_outputs(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# One\n", "text\n", "## Two"]},
        {"cell_type": "code", "source": "# no heading\nx", "outputs": [{"text": "secret"}]},
        {"cell_type": "raw", "source": "raw"},
    ]
    old = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": ["y"]}]}]}

    first, second = sections(tmp_path / "a.ipynb", json.dumps({"cells": cells}))

    assert (first.path, first.text) == (("a.ipynb", "One"), "One\n\ntext")
    assert second.path == ("a.ipynb", "One", "Two")
    assert second.text == "Two\n\n# no heading\nx\n\nraw"
    assert str(second.place(0, 99)) == "cells 1-3"
    assert text(tmp_path / "b.ipynb", json.dumps(old)) == "y"


def test_mail_has_its_headers_its_plainest_form_and_names_of_attachments(tmp_path: Path) -> None:
    inner = EmailMessage()
    inner["From"], inner["Subject"] = "Zoë <z@example.org>", "Früher"
    inner.set_content("<h1>Kopf</h1><p>Geh&ouml;rt dazu.</p>", subtype="html")
    outer = EmailMessage()
    outer["From"], outer["To"], outer["Subject"] = "a@example.org", "b@example.org", "Später"
    outer.set_content("Guten Tag.\n\nBis bald.")
    outer.add_alternative("<p>secret</p>", subtype="html")
    outer.add_attachment(b"secret", maintype="image", subtype="png", filename="Übersicht.png")
    outer.add_attachment(inner)

    found = sections(tmp_path / "a.eml", outer.as_bytes())

    assert [section.path for section in found] == [
        ("a.eml", "Später"),
        ("a.eml", "Später", "Früher"),
        ("a.eml", "Später", "Früher", "Kopf"),
    ]
    assert found[0].text == (
        "Später\n\nFrom: a@example.org\nTo: b@example.org\n\nGuten Tag.\n\nBis bald.\n\n"
        "Attachment: Übersicht.png"
    )
    assert "From: Zoë <z@example.org>" in found[1].text
    assert found[2].text == "Kopf\n\nGehört dazu."


def test_mail_with_raw_bytes_and_unknown_encodings_is_read(tmp_path: Path) -> None:
    raw = (
        "Subject: Größe\nFrom: Jörg\nContent-Type: text/plain; charset=x-odd\n\nFür später, süß.\n"
    )

    assert "Größe" in text(tmp_path / "a.eml", raw)
    assert "Für später, süß." in text(tmp_path / "b.eml", raw.encode("latin-1"))


def test_a_damaged_message_of_a_mailbox_is_left_out_and_told(tmp_path: Path) -> None:
    begin = "From a@example.org Fri Nov 27 10:00:00 2026\n"
    coded = "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
    messages = [
        "Subject: One\n\ntext\n\n",
        f"Subject: Two\n{coded}SGVsb\n\n",
        "Subject: Three\n\n\n",
    ]
    (tmp_path / "a.mbox").write_text("".join(begin + message for message in messages))
    reader = Reader()

    content = reader.read(tmp_path / "a.mbox")
    found = [(section.heading, str(section.place(0, 1))) for section in content.sections]

    reader.close()
    assert found == [("One", "message 1"), ("Three", "message 3")]
    assert content.notes == [
        "1 of its messages left out: message 2 is damaged: a part is cut off or no valid base64"
    ]


def test_books_are_headed_by_title_and_contents(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("META-INF/container.xml", '<c><rootfile full-path="o/b.opf"/></c>')
        archive.writestr(
            "o/b.opf",
            '<p xmlns:dc="d"><metadata><dc:title>A  book</dc:title></metadata><manifest>'
            '<item id="n" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
            '<item id="1" href="t/1.xhtml"/><item id="2" href="t/2.xhtml"/>'
            '<item id="3" href="t/3.xhtml"/></manifest><spine><itemref idref="1"/>'
            '<itemref idref="2"/><itemref idref="3"/></spine></p>',
        )
        archive.writestr(
            "o/toc.ncx",
            "<!DOCTYPE ncx PUBLIC '-//NISO//DTD ncx 2005-1//EN' 'http://x.example/ncx.dtd'><ncx>"
            "<navPoint><navLabel><text>Two</text></navLabel><content src='t/2.xhtml#a'/></navPoint>"
            "</ncx>",
        )
        for number, body in enumerate(("<h1>One</h1><p>first", "<p>second", "<p>third"), 1):
            archive.writestr(f"o/t/{number}.xhtml", f"<html><body>{body}")

    found = sections(tmp_path / "a.epub", file.getvalue())

    assert [(*section.path, section.text, str(section.place(0, 1))) for section in found] == [
        ("A book", "One", "One\n\nfirst", "section 1"),
        ("A book", "Two", "Two\n\nsecond", "section 2"),
        ("A book", "Two", "third", "section 3"),
    ]


def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)

    with pytest.raises(Unusable, match=r'pip install "qwen3-rag-cli\[pdf\]"'):
        sections(tmp_path / "a.pdf", b"%PDF-1.4")


PICTURE = "q 9 0 0 9 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID x EI Q"


def pdf(*pages: str, bookmarks: str = "") -> bytes:
    """Write pages of what PDF shows them by; pages are the objects 4, 6, 8 and so on."""
    kids = " ".join(f"{number} 0 R" for number in range(4, 4 + 2 * len(pages), 2))
    objects = [
        "<</Type/Catalog/Pages 2 0 R/Outlines 90 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, shown in enumerate(pages):
        objects += [
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {5 + 2 * number} 0 R"
            "/Resources<</Font<</F 3 0 R>>>>>>",
            f"<</Length {len(shown)}>>stream\n{shown}\nendstream",
        ]
    listed = "".join(
        f"{number} 0 obj {content} endobj\n" for number, content in enumerate(objects, 1)
    )
    return f"%PDF-1.7\n{listed}{bookmarks}trailer <</Root 1 0 R/Size 99>>\n%%EOF\n".encode()


def lines(*texts: str) -> str:
    return "BT /F 12 Tf 50 700 Td " + " 0 -15 Td ".join(f"({text}) Tj" for text in texts) + " ET"


def test_pages_of_a_pdf_are_headed_by_its_bookmarks_and_words_are_whole(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed")
    pages = [lines("Before."), lines("A hyphen-", "ated word."), lines("Baden-", "Baden."), PICTURE]
    bookmarks = (
        "90 0 obj <</Type/Outlines/First 91 0 R/Last 91 0 R/Count 2>> endobj\n"
        "91 0 obj <</Title(Chapter)/Parent 90 0 R/Dest[6 0 R/Fit]/First 92 0 R/Last 92 0 R"
        "/Count 1>> endobj\n92 0 obj <</Title(Part)/Parent 91 0 R/Dest[8 0 R/Fit]>> endobj\n"
    )
    (tmp_path / "a.pdf").write_bytes(pdf(*pages, bookmarks=bookmarks))
    reader = Reader()

    content = reader.read(tmp_path / "a.pdf")
    found = [
        (*section.path, section.text, str(section.place(0, 1))) for section in content.sections
    ]

    reader.close()
    assert found == [
        ("a.pdf", "Before.", "page 1"),
        ("a.pdf", "Chapter", "A hyphenated word.", "page 2"),
        ("a.pdf", "Chapter", "Part", "Baden-Baden.", "page 3"),
    ]
    assert content.notes == ["has pages with pictures and no text, which may be scanned: 4"]


def test_a_file_that_changes_while_it_is_read_keeps_its_old_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("before")
    content = Reader().read(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("after that")

    with pytest.raises(Unusable, match="was changed while it was read") as refused:
        list(content.sections)
    assert refused.value.keep


def test_word_keeps_headings_tables_and_footnotes(tmp_path: Path) -> None:
    docx: Any = pytest.importorskip("docx", reason="python-docx is not installed")
    pytest.importorskip("mammoth", reason="mammoth is not installed")
    made = docx.Document()
    made.add_heading("Report", 0)
    made.add_heading("Prices", 1)
    made.add_paragraph("First.")
    table = made.add_table(40, 2)
    for place in range(40):
        table.cell(place, 0).text = f"Wine {place}" if place else "Name"
        table.cell(place, 1).text = f"a remark of some length, number {place}" if place else "Note"
    made.save(str(tmp_path / "a.docx"))

    first, second = sections(tmp_path / "a.docx")

    assert (first.path, first.text) == (("a.docx", "Report", "Prices"), "Prices\n\nFirst.")
    assert second.path == first.path
    assert (second.header, second.text.split("\n")[0]) == (
        "Name | Note",
        "Wine 1 | a remark of some length, number 1",
    )


def test_slides_have_groups_tables_and_notes(tmp_path: Path) -> None:
    pptx: Any = pytest.importorskip("pptx", reason="python-pptx is not installed")
    made = pptx.Presentation()
    slide = made.slides.add_slide(made.slide_layouts[5])
    slide.shapes.title.text = "Title"
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, 9, 9).text_frame.text = "In a group"
    table = slide.shapes.add_table(2, 2, 0, 0, 9, 9).table
    for place, cell in enumerate(["a", "b", "1", "2"]):
        table.cell(place // 2, place % 2).text = cell
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    made.save(str(tmp_path / "a.pptx"))

    [section] = sections(tmp_path / "a.pptx")

    assert section.path == ("a.pptx", "Title")
    assert section.text == "Title\n\nIn a group\n\na | b\n1 | 2\n\nSay it slowly."


def test_workbooks_have_values_as_they_were_entered(tmp_path: Path) -> None:
    import datetime

    openpyxl: Any = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
    made = openpyxl.Workbook()
    made.active.title = "Costs"
    made.active["B3"], made.active["C3"], made.active["D3"] = "day", "sum", "paid"
    made.active.append([None, datetime.datetime(2026, 5, 1), 12.0, True])
    made.active.append([None, datetime.time(8, 30), 0.1, "no"])
    made.save(str(tmp_path / "a.xlsx"))

    [section] = sections(tmp_path / "a.xlsx")

    assert section.path == ("a.xlsx", "Costs")
    assert section.text == "day | sum | paid\n2026-05-01 | 12 | True\n08:30:00 | 0.1 | no"
    assert str(section.place(20, 99)) == "sheet Costs, rows 4-5"
