"""The lexical encoder: which texts meet in one term, and that they do so everywhere."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import sys
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.errors import InputTypeError
from qwen3_rag.lexical import ENCODER_VERSION, BM25Encoder, tokens
from qwen3_rag.lexical import _stems as stems

DATA = Path(__file__).resolve().parents[4] / "shared"


def query_terms(text: str) -> list[str]:
    """Terms by their rounded weights."""
    repeats = Counter(BM25Encoder().query_terms(text))
    return [term for term, count in repeats.items() for _ in range(round(count / 4))]


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
        ("Øresund", "oresund"),
        ("Øresund", "Oeresund"),
        ("Størrelse", "stoerrelse"),
        ("Århus", "Aarhus"),
        ("Göteborg", "Goeteborg"),
        ("Käse", "kaese"),
        ("Käse", "kase"),
        ("phở", "pho"),
        ("cà", "ca"),
        ("đường", "duong"),
        ("臺灣", "台湾"),
        ("v1.4.2", "1.4.2"),
        ("v1.4.2", "1.4"),
        ("3.11.2rc1", "3.11.2"),
        ("v2", "2"),
        ("0xDEADBEEF", "deadbeef"),
        ("d0d933c8b1f5a6e0947c2d3b1a09f8e7d6c5b4a3", "d0d933c"),
        ("os.path.join", "path.join"),
        ("I/O", "io"),
        ("R&D", "RD"),
        ("TCP/IP", "tcpip"),
        ("OS/2", "OS2"),
        ("12.000", "12000"),
        ("12,000", "12000"),
        ("12 000 000", "12000000"),
        ("12'000", "12000"),
        ("1,00,000", "100000"),
        ("OAuth1Session", "oauth"),
        ("Base64Encoder", "encoder"),
        ("Windows11", "Windows 11"),
        ("5GB", "5 gb"),
        ("검색은", "검색"),
        ("책이", "책"),
        ("宪法", "法"),
    ],
)
def test_a_document_is_found_by_every_term_of_another_spelling(one: str, other: str) -> None:
    assert query_terms(other)
    assert set(query_terms(other)) <= set(tokens(one))


def test_names_and_numbers_that_only_look_alike_stay_apart() -> None:
    assert "mainpi" in tokens("src/main.py")
    assert "srcmain" not in tokens("src/main.py")
    assert "ab" not in tokens("a/b/c/d")
    assert "re2" not in tokens("rev2")
    assert "15" not in tokens("10x5")


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
        ("दाल", "दिल"),
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
    assert tokens("is as utf8s")[:3] == ["is", "as", "utf8s"]


def test_marks_of_indic_scripts_stay_inside_their_word() -> None:
    assert tokens("हिन्दी తెలుగు") == ["हिन्द", "తెలుగ"]  # without their last vowel signs


def test_thai_mark_does_not_join_a_latin_word() -> None:
    assert tokens("a\u0e31") == ["a", "\u0e31"]


def test_zero_width_space_separates_and_zero_width_joiner_does_not() -> None:
    assert tokens("one\u200btwo") == ["one", "two"]
    assert tokens("one\u200dtwo") == ["onetwo"]


# Identifiers.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_length", ["maxlength", "maxlen", "max", "length"]),
        ("__init__", ["init"]),
        ("max__length", ["maxlength", "maxlen", "max", "length"]),
        ("maxLength", ["maxlength", "maxlen", "max", "length"]),
        ("HTTPServer", ["httpserver", "httpse", "http", "server"]),
        ("HTTP", ["http"]),
        ("utf-8", ["utf8", "utf", "8"]),
        ("3.11.2", ["3_11_2", "3_11", "3", "11", "2"]),
        ("v2.4", ["2_4", "2", "4", "v2"]),
        ("12,000,000", ["12000000", "12", "000"]),
        ("[1,22]", ["1", "22"]),
        ("a.maxLen", ["amaxlen", "amaxle", "a", "maxlen", "max", "len"]),
        ("C++, c#.", ["cplusp", "cplusplus", "csharp"]),
        ("C++20", ["cplusplus20", "cplusp", "cplusplus", "20"]),
        ("libstdc++", ["libstd", "libstdcplusplus"]),
        ("issue#12 #include ##", ["issu", "12", "includ"]),
        ("std::vector", ["std", "vector"]),
        ("src/main.py", ["src", "mainpi", "main", "py"]),
        ("don't don\u2019t", ["dont", "don", "t"] * 2),
        ("می\u200cخواهم", ["ميخو", "مي", "خوا"]),
        ("tag# a#b", ["tag", "a", "b"]),
        ("runs-run", ["runsrun", "runsru", "run"]),
        ("end. Next", ["end", "next"]),
        ("bora-bora", ["borabora", "borabo", "bora"]),
    ],
)
def test_identifiers_give_their_whole_and_their_parts(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_one_name_in_every_style_has_one_whole() -> None:
    styles = ["http_client", "http-client", "HttpClient", "httpClient", "http.client", "httpclient"]

    assert all("httpclient" in tokens(style) for style in styles)


def test_a_method_is_found_by_its_name_behind_any_object() -> None:
    assert tokens("embed_queries")[0] in tokens("self.embedder.embed_queries(texts)")


def test_version_numbers_do_not_run_into_each_other() -> None:
    assert tokens("1.23")[0] != tokens("12.3")[0]


def test_grouped_number_matches_the_plain_one() -> None:
    assert tokens("1000000")[0] in tokens("1,000,000 people")


def test_blobs_are_left_out_but_a_sha512_is_kept() -> None:
    digest = hashlib.sha512(b"x").hexdigest()

    assert tokens(digest) == [digest, digest[:7]]  # the latter as git abbreviates it
    assert tokens("aB" * 65) == []


# Scripts without spaces.


def test_han_and_kana_give_pairs() -> None:
    assert query_terms("検索エンジン") == ["検索", "索エ", "エン", "ンジ", "ジン"]


def test_documents_have_the_single_characters_too_for_queries_of_one() -> None:
    assert tokens("検索") == ["検索", "検", "索"]


def test_a_single_character_is_a_term() -> None:
    assert tokens("猫 개") == ["猫", "개"]


def test_korean_noun_is_found_under_its_particle() -> None:
    assert set(tokens("검색")) <= set(tokens("검색은 중요하다"))


def test_decomposed_hangul_is_composed_first() -> None:
    assert query_terms(unicodedata.normalize("NFD", "검색은")) == ["검색", "색은"]


def test_scripts_in_one_run_are_cut_apart() -> None:
    assert query_terms("FIFA월드컵2019년 GPT模型") == [
        *("fifa", "월드", "드컵", "2019", "년"),
        *("gpt", "模型"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ภาษาไทย", ["ภาษา", "ษาไท", "ไทย"]),
        ("เด็กดี", ["เด็กดี"[:4], "กดี"]),
        ("ไทยฯ฿ ๏ไทย๛", ["ไทย", "ไทย", "ยฯ"]),
        ("မြန်မာ။စာ", ["မြန်မာ", "စာ"]),
        ("ខ្មែរ។ភាសា", ["ខ្មែរ", "ភាសា"]),
        ("ພາສາລາວ", ["ພາສາ", "ສາລາ", "ລາວ"]),
        ("ភាសាខ្មែរ", ["ភាសា", "សាខ្មែ", "ខ្មែរ"]),
        ("မြန်မာစာ", ["မြန်မာ", "မာစာ"]),
    ],
)
def test_unspaced_scripts_give_pairs_of_written_syllables(text: str, expected: list[str]) -> None:
    assert query_terms(text) == expected


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
        "a" + "\u0301\u0323" * 100_000,
        "เ" * 200_000,
        "က\u1039" * 100_000,
        "\u17d2" * 200_000,
        "+" * 200_000,
        "C#" * 100_000,
        ".".join(f"a{number}" for number in range(100_000)),
        "-".join(f"{number}.{number}.{number}" for number in range(40_000)),
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

    assert (ENCODER_VERSION, digest[:16]) == (2, "121a533f17325f36"), (
        "Terms changed, by us or by snowballstemmer: collections filled so far no longer match. "
        "Raise ENCODER_VERSION, then pin the new digest here."
    )


def test_both_stemmers_give_the_same_stems() -> None:
    _compare_stemmers(texts_of_all_languages(50))


@pytest.mark.slow
def test_both_stemmers_give_the_same_stems_over_all_texts() -> None:
    _compare_stemmers(texts_of_all_languages(1))


def _compare_stemmers(texts: Iterable[str]) -> None:
    pytest.importorskip("Stemmer")
    words = {word for text in texts for word in re.findall(r"\w+", text.casefold())}

    assert len(words) > 10_000
    for language in ("english", "russian", "arabic"):
        fast, plain = stems.compiled(language), stems.in_python(language)
        assert [word for word in words if fast(word) != plain(word)] == []


def texts_of_all_languages(every: int) -> Iterator[str]:
    """Read every n-th text of the corpora."""
    files = sorted((DATA / "corpora").glob("*/corpus.jsonl"))
    files += sorted((DATA / "text").glob("*.jsonl.gz"))
    if not files:
        pytest.skip(f"no texts in {DATA}")
    for path in files:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for line in islice(lines, 0, None, every):
                yield json.loads(line)["text"]


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

    assert found == {name: [*map(tokens, texts(name))] for name in names}
