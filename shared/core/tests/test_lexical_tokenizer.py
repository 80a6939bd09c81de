"""The lexical encoder: which texts meet in one term, and that they do so everywhere."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import threading
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.errors import InputTypeError
from qwen3_rag.lexical import ENCODER_VERSION, BM25Encoder, tokens
from qwen3_rag.lexical import _tokenizer as tokenizer

# One term for what a reader takes for the same word.


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Search", "search"),
        ("Straße", "STRASSE"),
        ("\uff21\uff22\uff23\uff11", "abc1"),
        ("\ufb01le", "file"),
        ("café", "cafe\u0301"),
        ("Nájera", "Najera"),
        ("Øresund", "oresund"),
        ("Łódź", "lodz"),
        ("œuvre", "oeuvre"),
        ("İstanbul", "istanbul"),
        ("\u0131rmak", "irmak"),
        ("Άθήνα", "αθηνα"),
        ("ёлка", "елка"),
        ("\u05e9\u05b8\u05dc\u05d5\u05b9\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
        ("\u05e9\u05c1\u05dd", "\u05e9\u05dd"),
        ("مَدْرَسَة", "مدرسة"),
        ("الـــكتاب", "الكتاب"),
        ("سـ2", "س2"),
        ("أحمد", "احمد"),
        ("على", "علي"),
        ("کتابی", "كتابي"),
        ("١٢٣", "123"),
        ("१२३", "123"),
        ("๑๒๓", "123"),
        ("၁၂၃", "123"),
        ("soft\u00adware", "software"),
        ("wo\ufeffrd", "word"),
        ("\u0628\u200fnext", "\u0628next"),
        ("1\ufe0f\u20e3", "1"),
    ],
)
def test_spellings_of_one_word_give_one_term(one: str, other: str) -> None:
    assert tokens(one) == tokens(other)
    assert tokens(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("embedding", "embeddings"),
        ("running", "runs"),
        ("queries", "query"),
        ("городами", "город"),
        ("новый", "новая"),
        ("ёлками", "елка"),
        ("المكتبات", "مكتبة"),
    ],
)
def test_forms_of_one_word_give_one_term_without_naming_the_language(one: str, other: str) -> None:
    assert tokens(one) == tokens(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("война", "воина"),
        ("phở", "pho"),
        ("mơ", "mo"),
        ("कि", "की"),
        ("がん", "かん"),
        ("c", "c++"),
        ("c", "c#"),
        ("c++", "c#"),
        ("news", "new"),
    ],
)
def test_words_that_differ_only_in_what_matters_stay_apart(one: str, other: str) -> None:
    assert tokens(one) != tokens(other)


def test_short_words_and_words_with_digits_are_not_stemmed() -> None:
    assert tokens("is as utf8s") == ["is", "as", "utf8s"]


def test_marks_of_indic_scripts_stay_inside_their_word() -> None:
    assert tokens("हिन्दी తెలుగు") == ["हिन्दी", "తెలుగు"]


def test_thai_mark_does_not_join_a_latin_word() -> None:
    assert tokens("a\u0e31") == ["a", "\u0e31"]


def test_zero_width_space_separates_and_zero_width_joiner_does_not() -> None:
    assert tokens("one\u200btwo") == ["one", "two"]
    assert tokens("one\u200dtwo") == ["onetwo"]


# Identifiers.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_length", ["maxlength", "max", "length"]),
        ("__init__", ["init"]),
        ("max__length", ["maxlength", "max", "length"]),
        ("maxLength", ["maxlength", "max", "length"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("HTTP", ["http"]),
        ("utf-8", ["utf8", "utf", "8"]),
        ("3.11.2", ["3_11_2", "3", "11", "2"]),
        ("v2.4", ["v2_4", "v2", "4"]),
        ("12,000,000", ["12000000", "12", "000"]),
        ("[1,22]", ["1", "22"]),
        ("a.maxLen", ["amaxlen", "a", "maxlen", "max", "len"]),
        ("C++, c#.", ["cplusplus", "csharp"]),
        ("C++20", ["cplusplus20", "cplusplus", "20"]),
        ("libstdc++", ["libstdcplusplus"]),
        ("issue#12 #include ##", ["issu", "12", "includ"]),
        ("std::vector", ["std", "vector"]),
        ("src/main.py", ["src", "mainpi", "main", "py"]),
        ("don't don\u2019t", ["dont", "don", "t"] * 2),
        ("می\u200cخواهم", ["ميخو", "مي", "خوا"]),
        ("tag# a#b", ["tag", "a", "b"]),
        ("runs-run", ["runsrun", "run"]),
        ("end. Next", ["end", "next"]),
        ("bora-bora", ["borabora", "bora"]),
    ],
)
def test_identifiers_give_their_whole_and_their_parts(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_one_name_in_every_style_has_one_whole() -> None:
    styles = ["http_client", "http-client", "HttpClient", "httpClient", "http.client", "httpclient"]

    assert {tokens(style)[0] for style in styles} == {"httpclient"}


def test_a_method_is_found_by_its_name_behind_any_object() -> None:
    assert tokens("embed_queries")[0] in tokens("self.embedder.embed_queries(texts)")


def test_version_numbers_do_not_run_into_each_other() -> None:
    assert tokens("1.23")[0] != tokens("12.3")[0]


def test_grouped_number_matches_the_plain_one() -> None:
    assert tokens("1000000")[0] in tokens("1,000,000 people")


def test_blobs_are_left_out_but_a_sha512_is_kept() -> None:
    digest = hashlib.sha512(b"x").hexdigest()

    assert tokens(digest) == [digest]
    assert tokens("aB" * 65) == []


# Scripts without spaces.


def test_han_and_kana_give_pairs() -> None:
    assert tokens("検索エンジン") == ["検索", "索エ", "エン", "ンジ", "ジン"]


def test_a_single_character_is_a_term() -> None:
    assert tokens("猫 개") == ["猫", "개"]


def test_korean_noun_is_found_under_its_particle() -> None:
    assert set(tokens("검색")) <= set(tokens("검색은 중요하다"))


def test_decomposed_hangul_is_composed_first() -> None:
    assert tokens(unicodedata.normalize("NFD", "검색은")) == ["검색", "색은"]


def test_scripts_in_one_run_are_cut_apart() -> None:
    assert tokens("FIFA월드컵2019년 GPT模型") == [
        *("fifa", "월드", "드컵", "2019", "년"),
        *("gpt", "模型"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ภาษาไทย", ["ภาษา", "ษาไท", "ไทย"]),
        ("เด็กดี", ["เด็กดี"[:4], "กดี"]),
        ("ไทยฯ฿ ๏ไทย๛", ["ไทย", "ยฯ", "ไทย"]),
        ("မြန်မာ။စာ", ["မြန်မာ", "စာ"]),
        ("ខ្មែរ។ភាសា", ["ខ្មែរ", "ភាសា"]),
        ("ພາສາລາວ", ["ພາສາ", "ສາລາ", "ລາວ"]),
        ("ភាសាខ្មែរ", ["ភាសា", "សាខ្មែ", "ខ្មែរ"]),
        ("မြန်မာစာ", ["မြန်မာ", "မာစာ"]),
    ],
)
def test_unspaced_scripts_give_pairs_of_written_syllables(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@given(st.text(alphabet=st.characters(min_codepoint=0x0E00, max_codepoint=0x0EFF)))
def test_no_unspaced_letter_is_lost(text: str) -> None:
    letters = {char for char in unicodedata.normalize("NFKC", text) if char.isalpha()}

    assert letters <= set("".join(tokens(text)))


# Any text at all.


@given(st.text() | st.text(st.characters(min_codepoint=0xE00, max_codepoint=0x31FF)))
def test_terms_hold_letters_digits_marks_and_underscores_only(text: str) -> None:
    for term in tokens(text):
        assert term
        kinds = {unicodedata.category(char) for char in term.replace("_", "")}
        # "Cn": a later Unicode gives these places to Han letters; they are pairs already now.
        assert {"L" if kind == "Cn" else kind[0] for kind in kinds} <= {"L", "N", "M"}


@given(st.text(), st.text())
def test_texts_joined_by_a_line_break_give_the_terms_of_both(one: str, other: str) -> None:
    assert tokens(f"{one}\n{other}") == tokens(one) + tokens(other)


@pytest.mark.parametrize("text", ["", " \n\t", "?!...", "++ # ♯", "ـــ", "\ud800", "\u0301"])
def test_text_without_terms_gives_none_and_an_empty_vector(text: str) -> None:
    assert tokens(text) == []
    assert len(BM25Encoder().encode_document(text)) == 0
    assert len(BM25Encoder().encode_query(text)) == 0


@pytest.mark.parametrize("text", [None, b"bytes", 3, ["a"]])
def test_what_is_not_a_string_is_refused_by_name(text: object) -> None:
    with pytest.raises(InputTypeError, match=type(text).__name__):
        tokens(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "a" + "_" * 200_000,
        "1," * 100_000,
        "1,000" * 40_000,
        "A" * 200_000,
        "aA" * 100_000,
        "a." * 100_000,
        "a\u0301" * 100_000,
        "เ" * 200_000,
        "က\u1039" * 100_000,
        "\u17d2" * 200_000,
        "+" * 200_000,
        "C#" * 100_000,
        base64.b64encode(bytes(range(256)) * 600).decode(),
    ],
    ids=lambda text: f"{text[:6]!a}",
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    start = time.perf_counter()

    tokens(text)

    assert time.perf_counter() - start < 5  # a quadratic rule takes minutes


# The same everywhere.


GOLDEN = """Retrieval-augmented generation with `Qwen3Embedder.embed_queries`, C++20 and Python
3.12. Größe, naïveté, 12,000 résumés; don't.
Поисковые системы индексируют документы. Ёлки, мой край.
محركات البحث تفهرس الوثائق. می‌خواهم. Công cụ tìm kiếm. खोज इंजन १२३. 검색 엔진은 문서를 색인한다.
検索エンジンは文書を索引する。搜索引擎索引文档。 ภาษาไทยไม่มีช่องว่าง ភាសាខ្មែរ မြန်မာစာ ພາສາລາວ."""


def test_golden_text_gives_the_terms_of_this_encoder_version() -> None:
    digest = hashlib.sha256(" ".join(tokens(GOLDEN)).encode()).hexdigest()

    assert (ENCODER_VERSION, digest[:16]) == (1, "d3eb6a24b752a67f"), (
        "Terms changed, by us or by snowballstemmer: collections filled so far no longer match. "
        "Raise ENCODER_VERSION, then pin the new digest here."
    )


def test_stemmer_in_c_is_not_used_where_it_is_installed(tmp_path: Path) -> None:
    (tmp_path / "Stemmer.py").write_text(
        "algorithms = list\nclass Stemmer:\n    def __init__(self, *_): raise RuntimeError\n"
    )
    paths = [str(tmp_path), *(path for path in sys.path if path)]

    result = subprocess.run(
        [sys.executable, "-c", "from qwen3_rag.lexical import tokens; print(tokens('queries'))"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout.strip() == "['queri']"


def test_threads_get_the_terms_that_one_thread_gets() -> None:
    def texts(name: str) -> list[str]:
        return [f"{a}{name}{b}ational{c}" for a in "bcdfg" for b in "klmnp" for c in ("ity", "s")]

    names = [left + right for left in "aeiou" for right in "rstvwz"]
    found: dict[str, list[list[str]]] = {}
    threads = [
        threading.Thread(target=lambda n=name: found.update({n: [*map(tokens, texts(n))]}))
        for name in names
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    tokenizer.cached_terms.cache_clear()
    assert found == {name: [*map(tokens, texts(name))] for name in names}
