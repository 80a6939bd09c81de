"""A folder with files of all formats, in many languages and encodings, and damaged copies."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from typing import Any

import pytest

docx = pytest.importorskip("docx", reason="python-docx is not installed")
openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
pptx = pytest.importorskip("pptx", reason="python-pptx is not installed")
for library in ("chardetng_py", "mammoth", "pypdfium2", "qwen3_rag_tiny"):
    pytest.importorskip(library, reason=f"{library} is not installed")

GERMAN = "Die Brücke über die Spree wird im März für längere Zeit gesperrt."
FRENCH = "Le théâtre fermé depuis l'été dernier rouvrira bientôt ses portes à Nîmes."
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy v zahradě za domem."
POLISH = "Książka leży na półce obok okna, a zażółcona gęś śpi pod łóżkiem."
TURKISH = "İstanbul'daki müze, şehrin güneyinde yeni bir bahçe açtı."
RUSSIAN = "Библиотека открыта каждый день, кроме воскресенья и праздников."
UKRAINIAN = "Їжак з'їв яблуко під старою грушею біля нашої хати."
GREEK = "Η βιβλιοθήκη είναι ανοιχτή κάθε μέρα εκτός από την Κυριακή."
ARABIC = "تفتح المكتبة أبوابها كل يوم ما عدا يوم الجمعة."
HEBREW = "הספרייה פתוחה בכל יום חוץ משבת ומימי החג."
THAI = "ห้องสมุดเปิดทุกวันยกเว้นวันอาทิตย์และวันหยุด"
CHINESE = "图书馆每天开放，星期日和节假日除外，借书需要证件。"
TAIWANESE = "圖書館每天開放，星期日和國定假日除外，借書需要證件。"
JAPANESE = "図書館は日曜日と祝日を除いて毎日開いています。"
KOREAN = "도서관은 일요일과 공휴일을 빼고 매일 문을 엽니다."
HINDI = "पुस्तकालय रविवार को छोड़कर हर दिन खुला रहता है।"
VIETNAMESE = "Thư viện mở cửa hằng ngày trừ chủ nhật và ngày lễ."
ENGLISH = "The lighthouse keeper counted forty ships before the storm came."

Damage = Callable[[bytes], bytes]


@dataclass
class Case:
    """A file, a sentence in it, where a hit says it is, and a damaged copy.

    Attributes:
        name: The file's name.
        raw: Its bytes.
        sentence: The sentence.
        place: What `search` adds to the name.
        damage: Makes the damaged copy.
        reason: A part of the reason why that one is skipped.
    """

    name: str
    raw: bytes
    sentence: str
    place: str
    damage: Damage
    reason: str


def binary(raw: bytes) -> bytes:
    return raw[: len(raw) // 2] + bytes(range(1, 8)) * 10 + raw[len(raw) // 2 :]


def half(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def without_last(raw: bytes) -> bytes:
    return raw[:-1]


def invalid(raw: bytes) -> bytes:
    """Put bytes between that no multi-byte encoding has."""
    return raw[:20] + b"\xff\xff\xff" + raw[20:]


def text(name: str, sentence: str, encoding: str, damage: Damage, reason: str) -> Case:
    page = f"First line, in plain letters.\n\n{sentence}\n"
    return Case(name, page.encode(encoding), sentence, ":1-3", damage, reason)


TEXTS = [
    text("utf8.txt", HINDI, "utf-8", binary, "is binary"),
    text("utf8-mark.md", FRENCH, "utf-8-sig", invalid, "valid UTF-8"),
    text("utf16.txt", VIETNAMESE, "utf-16", without_last, "valid UTF-16"),
    text("utf16-be.txt", ENGLISH, "utf-16-be", without_last, "is binary"),
    text("utf32.txt", THAI, "utf-32", without_last, "valid UTF-32"),
    text("gbk.txt", CHINESE, "gb18030", invalid, "nor surely of any other"),
    text("big5.txt", TAIWANESE, "big5", invalid, "nor surely of any other"),
    text("shift-jis.rst", JAPANESE, "shift_jis", invalid, "--encoding"),
    text("euc-jp.txt", JAPANESE.replace("毎日", "平日"), "euc_jp", invalid, "nor surely of any"),
    text("iso-2022.txt", JAPANESE.replace("図書館", "博物館"), "iso2022_jp", binary, "is binary"),
    text("euc-kr.txt", KOREAN, "euc_kr", invalid, "nor surely of any other"),
    text("cp1252.txt", GERMAN, "cp1252", lambda raw: raw + b"\x81\x8d", "not valid in it"),
    text("latin1.py", f"# {GERMAN[::-1]}", "latin-1", binary, "is binary"),
    text("latin2.txt", POLISH, "iso8859_2", binary, "is binary"),
    text("cp1250.txt", CZECH, "cp1250", binary, "is binary"),
    text("cp1251.txt", RUSSIAN, "cp1251", binary, "is binary"),
    text("koi8.txt", UKRAINIAN, "koi8_u", binary, "is binary"),
    text("cp866.txt", RUSSIAN.replace("Библиотека", "Галерея"), "cp866", binary, "is binary"),
    text("cp1253.txt", GREEK, "cp1253", binary, "is binary"),
    text("cp1254.txt", TURKISH, "cp1254", binary, "is binary"),
    text("cp1255.txt", HEBREW, "cp1255", binary, "is binary"),
    text("cp1256.txt", ARABIC, "cp1256", binary, "is binary"),
    text("cp874.txt", THAI.replace("ห้องสมุด", "พิพิธภัณฑ์"), "cp874", binary, "is binary"),
]


def page(sentence: str, encoding: str = "utf-8") -> bytes:
    return (
        f'<!DOCTYPE html>\n<html><head><meta charset="{encoding}"><title>Page</title>\n'
        f"<script>var a = '{sentence}';</script></head>\n<body><nav>Menu</nav>\n"
        f"<h1>About</h1>\n<p>{sentence}</p></body></html>\n"
    ).encode(encoding)


def unclosed(raw: bytes) -> bytes:
    return raw.replace(b"</script>", b"").replace(b"</SCRIPT>", b"")


PAGES = [
    Case("page.html", page(KOREAN), KOREAN, ":5-6", unclosed, "`<script` in line 3"),
    Case("gbk.htm", page(CHINESE, "gb2312"), CHINESE, ":5-6", unclosed, "`<script` in line 3"),
    Case("sjis.html", page(JAPANESE, "shift_jis"), JAPANESE, ":5-6", binary, "is binary"),
    Case("hindi.html", page(HINDI), HINDI, ":5-6", unclosed, "`<script` in line 3"),
    Case("latin.xhtml", page(GERMAN, "iso-8859-1"), GERMAN, ":5-6", unclosed, "line 3"),
]


def csv(sentence: str, delimiter: str, encoding: str) -> bytes:
    rows = [["name", "remark"], ["first", "plain"], ["second", sentence], ["third", "more"]]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in rows]
    return ("\r\n".join(lines) + "\r\n").encode(encoding)


def record(sentence: str) -> dict[str, Any]:
    return {"id": 1.50, "body": {"tags": ["a", "b"], "text": sentence}}


def json_lines(sentence: str) -> bytes:
    rows = [record("plain"), record(sentence), record("more")]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def notebook(sentence: str) -> bytes:
    cells = [
        {"cell_type": "markdown", "source": ["# Study\n", "Plain words."]},
        {"cell_type": "code", "source": "x = 1\nx", "outputs": [{"text": ["a result"]}]},
        {"cell_type": "markdown", "source": f"## Findings\n\n{sentence}"},
        {"cell_type": "code", "source": ["print(x)"], "outputs": []},
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}).encode()


TABLES = [
    Case("rows.csv", csv(ARABIC, ",", "utf-8"), ARABIC, " rows 2-4", without_last, "row"),
    Case("excel.csv", csv(RUSSIAN, ";", "cp1251"), RUSSIAN, " rows 2-4", binary, "is binary"),
    Case("greek.csv", csv(GREEK, ";", "cp1253"), GREEK, " rows 2-4", binary, "is binary"),
    Case("korean.tsv", csv(KOREAN, "\t", "euc_kr"), KOREAN, " rows 2-4", binary, "is binary"),
    Case("log.jsonl", json_lines(HEBREW), HEBREW, ":1-3", half, "no valid JSON in line"),
    Case("words.jsonl", json_lines(CZECH), CZECH, ":1-3", half, "no valid JSON in line"),
    Case("log.ndjson", json_lines(THAI), THAI, ":1-3", half, "no valid JSON in line"),
    Case("study.ipynb", notebook(TURKISH), TURKISH, " cells 3-4", half, "no valid JSON"),
    Case("study2.ipynb", notebook(CHINESE), CHINESE, " cells 3-4", half, "no valid JSON"),
]
# A quote that is opened and not closed.
TABLES[0].damage = lambda raw: raw.replace(b'"more"', b'"more')


def message(sentence: str, charset: str, **options: Any) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"] = "Ada <ada@example.org>", "bob@example.org"
    made["Subject"] = "News: " + sentence.split()[0]
    made.set_content(f"Hello.\n\n{sentence}\n", charset=charset, **options)
    made.add_attachment(b"0123", maintype="application", subtype="pdf", filename="räport.pdf")
    return made


def mail(sentence: str, charset: str, **options: Any) -> bytes:
    return message(sentence, charset, **options).as_bytes()


def mbox(*sentences: str) -> bytes:
    parts = [b"From a@example.org Fri Nov 27 10:00:00 2026\n" + mail(s, "utf-8") for s in sentences]
    return b"\n".join(parts)


MAILS = [
    Case(
        "news.eml",
        mail(JAPANESE, "iso-2022-jp"),
        JAPANESE,
        " paragraphs 1-5",
        lambda raw: raw[raw.index(b"Hello") :],
        "no e-mail message",
    ),
    Case(
        "base64.eml",
        mail(KOREAN, "utf-8", cte="base64"),
        KOREAN,
        " paragraphs 1-5",
        lambda raw: raw.replace(b"SGVsbG8u", b"SGVsbG8"),
        "base64",
    ),
    Case(
        "quoted.eml",
        mail(RUSSIAN, "koi8-r", cte="quoted-printable"),
        RUSSIAN,
        " paragraphs 1-5",
        lambda raw: raw.replace(b"boundary=", b"b="),
        "not divided",
    ),
    Case("box.mbox", mbox(GREEK, POLISH), POLISH, " message 2", lambda raw: raw[1:], "From "),
]


def word(sentence: str) -> bytes:
    made = docx.Document()
    made.add_heading("Plan", 1)
    made.add_paragraph("Plain words.")
    made.add_heading("Details", 2)
    made.add_paragraph(sentence)
    table = made.add_table(2, 2)
    for place, cell in enumerate(["Name", "Sum", "Oil", "12"]):
        table.cell(place // 2, place % 2).text = cell
    return saved(made)


def slides(sentence: str) -> bytes:
    made = pptx.Presentation()
    for title, words in (("Start", "Plain words"), ("Middle", sentence)):
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = words
    return saved(made)


def workbook(sentence: str) -> bytes:
    made = openpyxl.Workbook()
    made.active.append(["plain"])
    sheet = made.create_sheet("Prices")
    for row in (["name", "remark"], ["oil", "plain"], ["salt", sentence]):
        sheet.append(row)
    return saved(made)


def saved(made: Any) -> bytes:
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def book(sentence: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        )
        archive.writestr(
            "OPS/book.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/'
            '1.1/"><metadata><dc:title>A book</dc:title></metadata><manifest>'
            '<item id="a" href="a.xhtml"/><item id="b" href="b%20b.xhtml"/></manifest>'
            '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
        )
        head = (
            '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head>'
        )
        archive.writestr("OPS/a.xhtml", f"{head}<body><h1>One</h1><p>Plain.</p></body></html>")
        archive.writestr("OPS/b b.xhtml", f"{head}<body><p>{sentence}</p></body></html>")
    return file.getvalue()


def pdf(*pages: str) -> bytes:
    """Write pages whose font says which characters it shows, and nothing of their shapes."""
    codes = {char: code for code, char in enumerate(sorted(set("".join(pages))), 1)}
    named = "".join(
        f"<{code:04X}> <{char.encode('utf-16-be').hex()}>\n" for char, code in codes.items()
    )
    font = (
        "begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange "
        f"{len(codes)} beginbfchar\n{named}endbfchar endcmap"
    )
    kids = " ".join(f"{6 + 2 * place} 0 R" for place in range(len(pages)))
    parts = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        "<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/Identity-H/DescendantFonts[4 0 R]"
        "/ToUnicode 5 0 R>>",
        "<</Type/Font/Subtype/CIDFontType2/BaseFont/X/DW 600/CIDSystemInfo<</Registry(Adobe)"
        "/Ordering(Identity)/Supplement 0>>>>",
        stream(font),
    ]
    for place, words in enumerate(pages):
        shown = "".join(f"{codes[char]:04X}" for char in words)
        parts += [
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 900 800]/Contents {7 + 2 * place} 0 R"
            "/Resources<</Font<</F 3 0 R>>>>>>",
            stream(f"BT /F 10 Tf 20 700 Td <{shown}> Tj ET"),
        ]
    raw, offsets = b"%PDF-1.7\n", []
    for number, part in enumerate(parts, 1):
        offsets.append(len(raw))
        raw += f"{number} 0 obj\n{part}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    return (
        raw
        + (
            f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n{table}trailer\n"
            f"<</Size {len(parts) + 1}/Root 1 0 R>>\nstartxref\n{len(raw)}\n%%EOF\n"
        ).encode()
    )


def stream(content: str) -> str:
    return f"<</Length {len(content)}>>stream\n{content}\nendstream"


# Files show right-to-left text from the left, as it is printed.
RIGHT_TO_LEFT = {ARABIC, HEBREW}


def office(name: str, make: Callable[[str], bytes], sentence: str, place: str) -> Case:
    return Case(name, make(sentence), sentence, place, half, "cut off, damaged")


def printed(name: str, sentence: str) -> Case:
    shown = sentence[::-1] if sentence in RIGHT_TO_LEFT else sentence
    return Case(name, pdf("Plain words", shown), sentence, " page 2", half, "cut off, damaged")


DOCUMENTS = [
    office("arabic.docx", word, ARABIC, " paragraphs 3-5"),
    office("hindi.docx", word, HINDI, " paragraphs 3-5"),
    office("korean.docx", word, KOREAN, " paragraphs 3-5"),
    office("hebrew.docx", word, HEBREW, " paragraphs 3-5"),
    office("thai.pptx", slides, THAI, " slide 2"),
    office("korean.pptx", slides, KOREAN, " slide 2"),
    office("japanese.pptx", slides, JAPANESE, " slide 2"),
    office("chinese.xlsx", workbook, CHINESE, " sheet Prices, rows 2-3"),
    office("russian.xlsx", workbook, RUSSIAN, " sheet Prices, rows 2-3"),
    office("vietnamese.xlsx", workbook, VIETNAMESE, " sheet Prices, rows 2-3"),
    office("greek.epub", book, GREEK, " section 2"),
    office("arabic.epub", book, ARABIC, " section 2"),
    office("polish.epub", book, POLISH, " section 2"),
    printed("english.pdf", ENGLISH),
    printed("korean.pdf", KOREAN),
    printed("chinese.pdf", CHINESE),
    printed("turkish.pdf", TURKISH),
    printed("arabic.pdf", ARABIC),
    printed("combining.pdf", "Cafe\u0301 nai\u0308f o\u0302 ter: combining marks stay."),
]

CASES = [*TEXTS, *PAGES, *TABLES, *MAILS, *DOCUMENTS]


class Indexed:
    """The index of all files, what the run said, and the hits of each sentence."""

    def __init__(self, cli: Any, folder: Path) -> None:
        for case in CASES:
            for name, raw in (("good", case.raw), ("damaged", case.damage(case.raw))):
                (folder / name).mkdir(exist_ok=True)
                (folder / name / case.name).write_bytes(raw)
        store = folder / "index"
        self.summary = cli.index(folder, "--store", store, "--model", "tiny")
        self.hits = cache(lambda sentence: cli.hits(sentence, store, "--rerank", "0", "-n", "20"))


@pytest.fixture(scope="module")
def indexed(cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Indexed:
    return Indexed(cli, tmp_path_factory.mktemp("documents"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_sentence_is_found_where_it_is(indexed: Indexed, case: Case) -> None:
    found = [hit for hit in indexed.hits(case.sentence) if hit["path"] == f"good/{case.name}"]

    assert [case.sentence in " ".join(hit["text"].split()) for hit in found[:1]] == [True]
    assert found[0]["where"] == f"good/{case.name}{case.place}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_damaged_copy_is_skipped_with_a_reason(indexed: Indexed, case: Case) -> None:
    skipped = {entry["path"]: entry["reason"] for entry in indexed.summary["skipped"]}

    assert case.reason in skipped.get(f"damaged/{case.name}", "was indexed")


def test_nothing_else_is_skipped(indexed: Indexed) -> None:
    assert indexed.summary["files"] == len({case.name for case in CASES}) == len(CASES)
    assert not [e for e in indexed.summary["skipped"] if e["path"].startswith("good/")]
