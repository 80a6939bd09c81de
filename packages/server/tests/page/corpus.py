"""The documents of the page's tests: five scripts, long and hostile ones among them."""

from __future__ import annotations

from typing import Any

from qwen3_rag_hybrid import Document

__all__ = ["HANDBOOK", "HOSTILE", "NOTES"]

#: A text that would run if it were taken for HTML.
HOSTILE = '<img src=x onerror="window.hacked = 1"><script>window.hacked = 2</script> & <b>bold</b>'


def _document(path: str, line: int, text: str, **payload: Any) -> Document:
    kind = "markdown" if path.endswith(".md") else "text"
    place = {} if "place" in payload else {"line": line, "end_line": line + text.count("\n")}
    return Document(f"{path}:{line}", text, {"path": path, "kind": kind, **place, **payload})


HANDBOOK = [
    _document("guide/capitals.md", 1, "Paris is the capital of France.", heading="Capitals"),
    _document("guide/capitals.md", 7, "Berlin is the capital of Germany.", heading="Capitals"),
    _document("guide/capitals.md", 12, "Rome is the capital of Italy.", heading="Capitals"),
    _document("guide/countries.md", 1, "France is a country in Western Europe.\nIt has regions."),
    _document("guide/countries.md", 9, "Germany has sixteen federal states."),
    _document("guide/rivers.md", 3, "The river Seine flows through Paris into the Channel."),
    _document("guide/rivers.md", 8, "The Rhine is the longest river of Germany."),
    _document("facts.pdf", 0, "The Eiffel Tower stands in Paris.", place="page 3", kind="pdf"),
    _document("facts.pdf", 1, "A capital is where a government sits.", place="page 4", kind="pdf"),
    _document("economy.txt", 1, "Capital is also money that a company invests."),
    _document("economy.txt", 5, "Banks lend money to companies and to people."),
    _document("fruit.txt", 1, "Bananas are yellow, and so are lemons."),
    _document("fruit.txt", 4, "Apples are stored in a cool and dark cellar."),
    _document("storage.md", 2, "Vectors are persisted on disk as segments of a collection."),
    _document("storage.md", 6, "The index max_length limits how many tokens are read."),
    _document("한국어.md", 1, "프랑스의 수도는 파리이다.", heading="수도"),
    _document("한국어.md", 5, "서울은 대한민국의 수도이며 가장 큰 도시이다."),
    _document("中文.md", 1, "法国的首都是巴黎,位于塞纳河畔。"),
    _document("中文.md", 4, "北京是中华人民共和国的首都。"),
    _document("日本語.md", 1, "フランスの首都はパリです。"),
    _document("العربية.txt", 1, "باريس هي عاصمة فرنسا وأكبر مدنها."),
    _document("עברית.txt", 1, "פריז היא עיר הבירה של צרפת."),
    _document(f"{HOSTILE}.html", 1, f"Hostile markup: {HOSTILE}", heading=HOSTILE),
    _document("long/" + "very_long_name" * 12 + ".txt", 1, "Zebras " + "stripe" * 900),
    _document("novel.txt", 1, "A chapter on nothing. " * 60 + "The lighthouse keeper slept."),
]
NOTES = [
    _document("monday.txt", 1, "Buy bananas and call the bank about the capital."),
    _document("tuesday.txt", 1, "The train to Paris departs at nine."),
]
