from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from qwen3_rag._prompts import RERANK_PREFIX, RERANK_SUFFIX, EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag._published import Role
from qwen3_rag.backends._base import WHOLE, Limits
from qwen3_rag.backends._checkpoint import tokens as module
from qwen3_rag.backends._checkpoint.encoded import Encoded
from qwen3_rag.backends._checkpoint.tokens import PromptTokenizer
from qwen3_rag.errors import InputError, ModelError
from qwen3_rag_testkit.golden import golden
from qwen3_rag_testkit.tokenizer import ADDED_TOKENS, tokenizer_definition

CONTEXT = 32_768

# Ten scripts, and what comes between words.
SCRIPTS = [
    "The quick brown fox jumps over the lazy dog",
    "Быстрая лисица прыгает через ленивую собаку",
    "الثعلب البني السريع يقفز فوق الكلب الكسول",
    "敏捷的棕色狐狸跳过了懒狗",
    "すばやい茶色のきつねがのろまな犬を飛び越える",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다",
    "तेज भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है",
    "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ",
    "Η γρήγορη καφέ αλεπού πηδά πάνω από το σκυλί",
    "השועל החום המהיר קופץ מעל הכלב העצלן",
]
BETWEEN = [" ", "\n", "\n\n", "\t", "  ", " (", "://", "…", "'s ", "1.5%", "é", "e\u0301", "_"]
BETWEEN += ["👩‍👩‍👧", "\0"]


# fmt: off
# Ids by transformers' AutoTokenizer over the published files, following the model cards.
GOLDEN_QUERY = [
    641, 1235, 25, 16246, 264, 3482, 2711, 3239, 198, 2859, 25, 3838, 374, 279, 6722, 315,
    5616, 30, 151643,
]
GOLDEN_PREFIX = [
    151644, 8948, 198, 60256, 3425, 279, 11789, 20027, 279, 8502, 3118, 389, 279, 11361,
    323, 279, 758, 1235, 3897, 13, 7036, 429, 279, 4226, 646, 1172, 387, 330, 9693, 1, 476,
    330, 2152, 3263, 151645, 198, 151644, 872, 198,
]
GOLDEN_PAIR = [
    27, 641, 1235, 26818, 600, 198, 27, 2859, 26818, 2804, 198, 75692, 26818, 294,
]
GOLDEN_SUFFIX = [
    151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271,
]
# fmt: on


def _texts(count: int) -> list[str]:
    choose = random.Random(7)
    texts = []
    for _ in range(count):
        words = [choose.choice(choose.choice(SCRIPTS).split()) for _ in range(choose.randint(0, 9))]
        text = choose.choice(["", " ", "\n", "\t", "(", "\u0301"])
        texts.append(text + "".join(word + choose.choice(BETWEEN) for word in words))
    return texts


@cache
def small(role: Role) -> PromptTokenizer:
    return PromptTokenizer(json.dumps(tokenizer_definition(role)), role, name="small")


def encode(tokens: PromptTokenizer, prompt: Prompt, limits: Limits | None = None) -> Encoded:
    [encoded] = tokens.encode([prompt], limits or Limits(), CONTEXT)
    return encoded


def ids_of(encoded: Encoded) -> list[int]:
    return [*encoded.sequence.prefix, *encoded.sequence.ids]


@pytest.fixture(scope="session")
def real(real_tokenizer: Callable[[Role], Path]) -> Callable[[Role], PromptTokenizer]:
    @cache
    def load(role: Role) -> PromptTokenizer:
        return PromptTokenizer.from_folder(real_tokenizer(role), role, name=f"published {role}")

    return load


@pytest.fixture(scope="session")
def whole(real_tokenizer: Callable[[Role], Path]) -> Callable[[Role], Tokenizer]:
    """The published tokenizer as it is, for comparison."""

    @cache
    def load(role: Role) -> Tokenizer:
        return Tokenizer.from_file(str(real_tokenizer(role) / "tokenizer.json"))

    return load


# ------------------------------------------------------------------ the published tokenizer

Real = Callable[[Role], PromptTokenizer]
Whole = Callable[[Role], Tokenizer]


def test_published_embedding_ids(real: Real) -> None:
    tokens = real("embedding")
    entry = golden("tokenizer_issue_122")
    ids = [ids_of(encode(tokens, EmbedPrompt(text))) for text in entry["texts"]]

    # The issue pads on the left with the end token, which is the same id.
    width = max(len(row) for row in ids)
    assert [[151643] * (width - len(row)) + row for row in ids] == entry["input_ids"]


def test_embedding_golden_ids(real: Real) -> None:
    prompt = EmbedPrompt("What is the capital of China?", "Given a web search query")

    assert ids_of(encode(real("embedding"), prompt)) == GOLDEN_QUERY
    assert ids_of(encode(real("embedding"), EmbedPrompt(""))) == [151643]


def test_reranking_golden_ids(real: Real) -> None:
    tokens = real("reranking")
    ids = ids_of(encode(tokens, RerankPrompt("q", "d", "i")))

    assert (tokens.no, tokens.yes) == (2152, 9693)
    assert ids == GOLDEN_PREFIX + GOLDEN_PAIR + GOLDEN_SUFFIX
    assert (len(GOLDEN_PREFIX), len(GOLDEN_SUFFIX)) == (39, 9)


def test_end_token_closes_every_embedding_input(real: Real) -> None:
    prompts: list[Prompt] = [EmbedPrompt(text, i) for text in _texts(50) for i in (None, "Find")]

    encoded = real("embedding").encode(prompts, Limits(max_length=64), CONTEXT)

    assert {item.sequence.ids[-1] for item in encoded} == {151643}


def test_embedding_ids_equal_the_tokenizers_own(real: Real, whole: Whole) -> None:
    texts = _texts(1000)
    prompts: list[Prompt] = [EmbedPrompt(text, "Find it") for text in texts]

    encoded = real("embedding").encode(prompts, Limits(), CONTEXT)

    own = whole("embedding").encode_batch([prompt.rendered for prompt in prompts])
    assert [ids_of(item) for item in encoded] == [item.ids for item in own]


def test_split_prompt_equals_the_whole_strings_ids(real: Real, whole: Whole) -> None:
    texts = _texts(1000)
    prompts: list[Prompt] = [
        RerankPrompt(query.strip() or "q", text)
        for query, text in zip(texts[::-1], texts, strict=True)
    ]

    encoded = real("reranking").encode(prompts, Limits(), CONTEXT)

    own = whole("reranking").encode_batch([p.rendered for p in prompts], add_special_tokens=False)
    assert [ids_of(item) for item in encoded] == [item.ids for item in own]


@pytest.mark.parametrize("role", ["embedding", "reranking"])
def test_no_added_token_gets_through_user_text(real: Real, whole: Whole, role: Role) -> None:
    added = whole(role).get_added_tokens_decoder()
    assert len(added) == 26

    for token in added.values():
        text = f"a{token.content}b {token.content}"
        _assert_stays_text(real(role), role, text, set(added))


# ------------------------------------------------------------------ the same with the small one


def _prompts_with(role: Role, text: str) -> list[Prompt]:
    if role == "embedding":
        return [EmbedPrompt(text), EmbedPrompt(text, "Find"), EmbedPrompt("q", text)]
    return [RerankPrompt(text, "d"), RerankPrompt("q", text), RerankPrompt("q", "d", text)]


def _assert_stays_text(tokens: PromptTokenizer, role: Role, text: str, control: set[int]) -> None:
    for prompt in _prompts_with(role, text):
        ids = ids_of(encode(tokens, prompt))
        around = (0, 1) if role == "embedding" else (len(tokens.prefix), len(tokens.suffix))
        user = ids[around[0] : -around[1]]
        assert not control & set(user), prompt


@pytest.mark.parametrize("role", ["embedding", "reranking"])
@pytest.mark.parametrize("content", ADDED_TOKENS)
def test_control_words_in_user_text_stay_text(role: Role, content: str) -> None:
    tokens = small(role)
    definition = tokenizer_definition(role)
    control = {token["id"] for token in definition["added_tokens"]}

    _assert_stays_text(tokens, role, f"a{content}b {content}", control)


def test_split_prompt_equals_the_whole_strings_ids_on_the_small_tokenizer() -> None:
    own = Tokenizer.from_str(json.dumps(tokenizer_definition("reranking")))

    for text in _texts(300):
        prompt = RerankPrompt("what", text)
        expected = own.encode(prompt.rendered, add_special_tokens=False).ids
        assert ids_of(encode(small("reranking"), prompt)) == expected


def test_queries_of_one_instruction_share_its_ids_and_keep_their_own() -> None:
    tokens = small("embedding")
    queries = ["plain", ": joins the colon", " space", "\nline", "é"]
    prompts: list[Prompt] = [EmbedPrompt(query, "Find it") for query in queries]

    own = Tokenizer.from_str(json.dumps(tokenizer_definition("embedding")))
    encoded = tokens.encode([*prompts, EmbedPrompt("a document")], Limits(), 4_096)

    [shared] = {item.sequence.prefix for item in encoded[:-1]}
    assert tokens.count("Instruct: Find it\nQuery") == len(shared) > 5
    assert encoded[-1].sequence.prefix == ()
    for prompt, item in zip(prompts, encoded[:-1], strict=True):
        assert isinstance(prompt, EmbedPrompt)
        whole = own.encode(prompt.rendered, add_special_tokens=False).ids
        assert ids_of(item) == [*whole, tokens.end]


def test_splitting_behind_the_space_would_differ() -> None:
    # What the split protects from; if this passes without it, the fixture has gone blind.
    own = Tokenizer.from_str(json.dumps(tokenizer_definition("reranking")))
    whole_ids = own.encode("<Document>: the", add_special_tokens=False).ids
    parts = [*own.encode("<Document>: ").ids, *own.encode("the").ids]

    assert whole_ids != parts


# ------------------------------------------------------------------ cutting


def test_long_document_is_cut_and_the_prompt_kept() -> None:
    tokens = small("reranking")
    document = "abc the of " * 50

    encoded = encode(tokens, RerankPrompt("what", document), Limits(max_length=400))

    ids = ids_of(encoded)
    assert len(ids) == 400
    assert tuple(ids[-len(tokens.suffix) :]) == tokens.suffix
    assert encoded.query_cut_at == WHOLE
    short = encode(tokens, RerankPrompt("what", document[: encoded.cut_at]))
    assert ids_of(short) == ids


def test_cut_embedding_equals_the_first_tokens_of_the_whole() -> None:
    tokens = small("embedding")
    text = "the capital of France is Paris. " * 20

    whole_ids = ids_of(encode(tokens, EmbedPrompt(text)))
    encoded = encode(tokens, EmbedPrompt(text), Limits(max_length=100))

    assert ids_of(encoded) == [*whole_ids[:99], tokens.end]
    assert ids_of(encode(tokens, EmbedPrompt(text[: encoded.cut_at]))) == ids_of(encoded)


def test_query_cut_is_counted_in_the_query() -> None:
    prompt = EmbedPrompt("x" * 300, "Find")

    encoded = encode(small("embedding"), prompt, Limits(max_length=100))

    head = len(prompt.head.encode())  # letters of the head that are not words are one token each
    assert 0 < encoded.cut_at < 100
    assert len(ids_of(encoded)) == 100
    assert encoded.cut_at >= 100 - 1 - head


def test_document_budget_cuts_where_there_is_room() -> None:
    encoded = encode(
        small("reranking"), RerankPrompt("q", "x" * 50), Limits(max_document_tokens=10)
    )

    assert encoded.cut_at == 9  # the space before the document takes one of the ten


def test_query_budget_cuts_the_query_and_tells() -> None:
    tokens = small("reranking")
    limits = Limits(max_query_tokens=10)

    encoded = encode(tokens, RerankPrompt("x" * 50, "d"), limits)

    assert encoded.query_cut_at == 10
    assert ids_of(encoded) == ids_of(encode(tokens, RerankPrompt("x" * 10, "d")))


def test_query_that_leaves_no_space_for_a_document_is_refused() -> None:
    for query in ("x" * 5000, "x" * 5_000_000):
        with pytest.raises(InputError, match="leave no room for a document within 1000 tokens"):
            encode(small("reranking"), RerankPrompt(query, "d"), Limits(max_length=1000))


def test_instruction_that_leaves_no_space_for_a_query_is_refused() -> None:
    with pytest.raises(InputError, match="instruction fills all 100 tokens"):
        encode(small("embedding"), EmbedPrompt("q", "x" * 200), Limits(max_length=100))


def test_a_character_is_never_reported_half_read() -> None:
    tokens = small("embedding")
    text = "데" * 50  # three tokens each with this vocabulary

    for length in range(64, 70):
        encoded = encode(tokens, EmbedPrompt(text), Limits(max_length=length))
        assert encoded.cut_at == (length - 1) // 3


def test_cut_at_counts_the_callers_characters_not_the_normalised_ones() -> None:
    text = "e\u0301" * 200  # two characters that normalise to one of two tokens

    encoded = encode(small("embedding"), EmbedPrompt(text), Limits(max_length=65))

    assert encoded.cut_at == 64  # 32 pairs in 64 tokens


def test_only_as_much_is_tokenised_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    class Watched:
        def __init__(self, inner: Tokenizer) -> None:
            self.inner = inner

        @classmethod
        def from_str(cls, definition: str) -> Watched:
            return cls(Tokenizer.from_str(definition))

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def encode_batch(self, texts: list[str], **options: bool) -> object:
            seen.append(sum(map(len, texts)))
            return self.inner.encode_batch(texts, **options)

    monkeypatch.setattr(module, "Tokenizer", Watched)
    definition = json.dumps(tokenizer_definition("embedding"))
    tokens = PromptTokenizer(definition, "embedding", name="small")

    encoded = encode(tokens, EmbedPrompt("word " * 1_000_000))

    assert encoded.cut_at > 0
    assert sum(seen) < 60_000


@pytest.mark.parametrize("text", [" " * 200_000, "\n" * 200_000, "=" * 100_000, "a" * 100_000])
def test_windows_grow_until_long_tokens_fill_them(real: Real, whole: Whole, text: str) -> None:
    limits = Limits(max_length=100)

    encoded = encode(real("embedding"), EmbedPrompt(text), limits)

    own = whole("embedding").encode(text, add_special_tokens=False).ids
    # Where a word is longer than any window, its tokens may differ at the window's end.
    assert ids_of(encoded)[:-1] == own[:99] or len(set(text)) == 1
    assert len(ids_of(encoded)) == min(len(own), 99) + 1


def test_windows_never_change_tokens_at_their_end(real: Real, whole: Whole) -> None:
    choose = random.Random(3)
    words = ["internationalisation", "counterrevolutionary", "electroencephalogram", "überhaupt"]
    for length in (64, 100, 150):
        for _ in range(30):
            text = "".join(choose.choice(words) + choose.choice(["", " ", "-"]) for _ in range(400))
            encoded = encode(real("embedding"), EmbedPrompt(text), Limits(max_length=length))
            own = whole("embedding").encode(text, add_special_tokens=False)
            assert ids_of(encoded)[:-1] == own.ids[: length - 1]


def test_cut_text_equals_truncating_the_whole(real: Real, whole: Whole) -> None:
    text = " ".join(_texts(400))

    for length in (64, 100, 500):
        encoded = encode(real("embedding"), EmbedPrompt(text), Limits(max_length=length))
        own = whole("embedding").encode(text, add_special_tokens=False)
        assert ids_of(encoded)[:-1] == own.ids[: length - 1]
        assert encoded.cut_at == own.offsets[length - 1][0]


@given(
    st.text(max_size=200),
    st.text(min_size=1, max_size=60),
    st.integers(400, 700),
    st.none() | st.integers(1, 60),
    st.none() | st.integers(1, 60),
)
def test_any_pair_fits_its_limits_or_is_refused(
    document: str, query: str, length: int, query_tokens: int | None, document_tokens: int | None
) -> None:
    limits = Limits(length, query_tokens, document_tokens)
    tokens = small("reranking")

    encoded = encode(tokens, RerankPrompt(query, document), limits)

    ids = ids_of(encoded)
    assert len(ids) <= length
    assert tuple(ids[: len(tokens.prefix)]) == tokens.prefix
    assert tuple(ids[-len(tokens.suffix) :]) == tokens.suffix
    assert encoded.cut_at == WHOLE or 0 <= encoded.cut_at < len(document)
    assert encoded.query_cut_at == WHOLE or 0 <= encoded.query_cut_at < len(query)


# ------------------------------------------------------------------ broken tokenizers


def test_missing_end_token_is_appended_and_warned_of_once() -> None:
    definition = json.dumps(tokenizer_definition("embedding", append_end=False))

    with pytest.warns(UserWarning, match=r"appends no end token\. <\|endoftext\|>") as caught:
        tokens = PromptTokenizer(definition, "embedding", name="old")

    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ids_of(encode(tokens, EmbedPrompt("a")))[-1] == tokens.end
    assert ids_of(encode(tokens, EmbedPrompt("the"))) == ids_of(
        encode(small("embedding"), EmbedPrompt("the"))
    )


def test_tokenizer_without_control_tokens_is_refused() -> None:
    definition = tokenizer_definition("reranking")
    definition["added_tokens"] = definition["added_tokens"][:1]

    with pytest.raises(ModelError, match=r"has no <\|im_start\|> token"):
        PromptTokenizer(json.dumps(definition), "reranking", name="odd")


def test_tokenizer_that_splits_yes_is_refused() -> None:
    definition = tokenizer_definition("reranking")
    definition["model"]["merges"].remove(["y", "e"])

    with pytest.raises(ModelError, match="splits 'yes' into 3 tokens"):
        PromptTokenizer(json.dumps(definition), "reranking", name="odd")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": 3}'])
def test_unreadable_tokenizer_is_a_model_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)

    with pytest.raises(ModelError, match="cannot be read"):
        PromptTokenizer.from_folder(tmp_path, "embedding", name="broken")


def test_prompt_constants_are_what_the_control_segments_encode() -> None:
    tokens = small("reranking")
    own = Tokenizer.from_str(json.dumps(tokenizer_definition("reranking")))

    assert tokens.prefix == tuple(own.encode(RERANK_PREFIX, add_special_tokens=False).ids)
    assert tokens.suffix == tuple(own.encode(RERANK_SUFFIX, add_special_tokens=False).ids)
