"""The lexical encoder on inputs that its rules were not chosen by, and on any text at all."""

from __future__ import annotations

import json
import time
import unicodedata
from collections import Counter
from functools import cache
from math import log
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.lexical import BM25Encoder, mean_length, tokens
from qwen3_rag.lexical._indices import term_index

UNSEEN = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "lexical_unseen.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
query_terms = BM25Encoder().query_terms


@cache
def scores() -> dict[str, list[tuple[float, float]]]:
    """The BM25 scores of each input's document and decoy, by kind."""
    encoder = BM25Encoder()
    texts = {row[place] for row in UNSEEN for place in ("document", "decoy")}
    documents = {text: encoder.encode_document(text).as_dict() for text in texts}
    containing = Counter(index for vector in documents.values() for index in vector)

    def score(query: str, text: str) -> float:
        return sum(
            weight
            * documents[text][index]
            * log((len(texts) - containing[index] + 0.5) / (containing[index] + 0.5) + 1)
            for index, weight in encoder.encode_query(query).as_dict().items()
            if index in documents[text]
        )

    found: dict[str, list[tuple[float, float]]] = {}
    for row in UNSEEN:
        pair = score(row["query"], row["document"]), score(row["query"], row["decoy"])
        found.setdefault(row["kind"], []).append(pair)
    return found


@pytest.mark.parametrize("kind", sorted({row["kind"] for row in UNSEEN}))
def test_nearly_every_input_of_a_kind_finds_its_document_before_a_decoy(kind: str) -> None:
    pairs = scores()[kind]
    # Two kinds need a stemmer of the language for short words: "talossa" is a form of "talo".
    most = {"Indic endings": 9, "inflected words without a stemmer": 7}.get(kind, 10)

    assert len(pairs) == 10
    assert sum(document > 0 for document, _ in pairs) >= most
    assert sum(document > decoy + 1e-9 for document, decoy in pairs) >= most


# Names inside names.


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("1.4.2", "libfoo-1.4.2.tar.gz"),
        ("2.13", "torch-2.13.0-cp311-linux_x86_64.whl"),
        ("3.11", "python3.11.2"),
        ("7.5", "app_v7.5.1-rc2"),
        ("wikipedia.org", "https://de.wikipedia.org/wiki"),
        ("github.com", "https://github.com/acme"),
        ("example.org", "jane.roe@mail.example.org/x"),
    ],
)
def test_a_version_or_an_address_is_one_term_inside_a_longer_name(query: str, text: str) -> None:
    assert query_terms(query)[0] in tokens(text)


@pytest.mark.parametrize(
    ("query", "text"),
    [("1.4", "release-2.1.4"), ("1.4", "21.4"), ("345.67", "12,345.67"), ("2.13", "2.1.3")],
)
def test_the_end_of_a_number_is_not_that_number(query: str, text: str) -> None:
    assert query_terms(query)[0] not in tokens(text)


def test_hashes_and_numbers_are_not_cut_like_words() -> None:
    assert "550e84" not in tokens("550e8400-e29b-41d4-a716-446655440000")
    assert "123456" not in tokens("555-1234567")


# Queries.


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("Angkor Wat", "wat"),
        ("garden hoe", "hoe"),
        ("longueur onde", "ond"),
        ("quais de Seine", "quai"),
        ("kde plasma", "kde"),
        ("ile de france", "ile"),
        ("apa style", "apa"),
        ("kuka robot", "kuka"),
        ("koliken und kolik", "kolik"),
        ("at binmek", "at"),
        ("on iki", "on"),
        ("ein had", "had"),
        ("máy in", "in"),
        ("than đá", "than"),
        ("Як 42", "як"),
        ("die war man will", "war"),
        ("or jaune", "or"),
        ("IT department", "it"),
    ],
)
def test_a_word_that_names_something_stays_in_the_query(query: str, word: str) -> None:
    assert word in query_terms(query)


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        ("What is the capital of Norway?", "capital Norway"),
        ("what\u2019s the length of it", "length"),
        ("WHO IS THE KING", "KING"),
        ("Wie lang ist welche Straße", "lang ist Straße"),
        ("когда началась война", "началась война"),
        ("ποιος έγραψε", "έγραψε"),
    ],
)
def test_words_that_name_nothing_leave_the_query(query: str, rest: str) -> None:
    assert query_terms(query) == query_terms(rest)


@pytest.mark.parametrize("query", ["the who", "What is it?", "was", "the ـــ", "to " + "x" * 200])
def test_a_query_of_stop_words_keeps_them(query: str) -> None:
    assert query_terms(query)
    assert len(BM25Encoder().encode_query(query))


@pytest.mark.parametrize("word", ["Müller", "Abteilungsgröße", "Straße", "tiếng", "Häuser"])
def test_two_spellings_weigh_as_much_as_one(word: str) -> None:
    weights = BM25Encoder().encode_query(word).values

    # Saturation lifts small weights a little; a word's beginning and stem weigh 1.25 at most.
    assert 0.99 <= weights.sum() <= 1.4


def test_a_word_whose_spellings_begin_alike_weighs_as_much_as_another() -> None:
    weights = BM25Encoder().encode_query("Abteilungsgröße").as_dict()

    assert weights[term_index("abteil")] == pytest.approx(1.0)


# Data that is no text.


@pytest.mark.parametrize(
    "word",
    ["a" * 129, "é" * 129, "ж" * 200, "हि" * 100, "9" * 129, "ab-" * 80 + "c", "a1" * 100],
    ids=lambda word: f"{word[:4]!a}",
)
def test_terms_of_very_long_words_are_short_and_clean(word: str) -> None:
    for term in tokens(word):
        assert len(term) <= 128
        assert "-" not in term


@pytest.mark.parametrize(
    "piece", ["1.", "12,", "1,12,", "v1.", "12'", "1 000", "a&b", "a/", "0x0", "a1-", "ab1."]
)
def test_repeated_joiners_take_linear_time(piece: str) -> None:
    start = time.perf_counter()

    tokens(piece * 50_000)

    assert time.perf_counter() - start < 20  # a quadratic rule takes minutes


# Any text at all.

_PIECES = """
the a Windows11 v1.4.2 0xFF 12.000 I/O R&D C++ C# os.path.join Müller Straße phở 검색 책 臺灣 が
ภาษาไทย မြန်မာ हिन्दी বাংলা الكتاب ـــ ё ﬁ Ⅳ ½ ① \\ / . - _ ' \u2019 , & # + @ : d0d933c8b1f5a6e0
\U00020000 \U0001f600 \u0301 1\ufe0f\u20e3 \U0001e900 \U00011013
"""
PIECES = st.sampled_from([*_PIECES.split(), "\u200b", "\u200c", "\ud800", "\x00", "\x1b"])
TEXTS = (
    st.text(st.characters())
    | st.lists(PIECES).map("".join)
    | st.lists(PIECES).map(" ".join)
    | st.text(st.sampled_from("aB1.,-_'&/+# 中が검ไท\u0e31ü\U00020000"), max_size=300)
)


@given(TEXTS)
def test_terms_hold_letters_digits_marks_and_underscores_only(text: str) -> None:
    for term in (*tokens(text), *query_terms(text)):
        kinds = {unicodedata.category(char)[0] for char in term if char != "_"}
        # "Cn": a later Unicode gives these places to Han letters.
        assert kinds <= {"L", "N", "M", "C"}
        assert term.isprintable() or "C" in kinds
        assert not {" ", "\x00", "\n"} & set(term)
        assert 0 < len(term) <= 256  # a respelling has up to twice the letters


@given(TEXTS)
def test_a_query_has_terms_where_the_document_has(text: str) -> None:
    found = query_terms(text)

    assert bool(found) == bool(tokens(text)) == bool(len(BM25Encoder().encode_query(text)))
    assert set(found) <= set(tokens(text))


@given(TEXTS)
def test_the_vector_counts_exactly_the_terms_of_the_tokens(text: str) -> None:
    terms = tokens(text)
    counts = Counter(map(term_index, terms))
    encoder = BM25Encoder(avg_len=10)
    norm = 1.2 * (0.25 + 0.75 * len(terms) / 10)

    assert encoder.encode_document(text).as_dict() == {
        index: pytest.approx(tf * 2.2 / (tf + norm)) for index, tf in counts.items()
    }
    if terms:
        assert mean_length([text]) == len(terms)


@given(TEXTS)
def test_a_text_finds_itself(text: str) -> None:
    document = BM25Encoder().encode_document(text).as_dict()
    query = BM25Encoder().encode_query(text).as_dict()

    assert query.keys() <= document.keys()
    assert all(weight > 0 for weight in query.values())
