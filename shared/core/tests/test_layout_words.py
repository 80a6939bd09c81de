"""What a checkpoint says of itself in sentence-transformers' files decides its numbers.

The right value is sentence-transformers' own on the same folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen3_rag import DEFAULT_INSTRUCTION, InputError, ModelError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag._prompts import RerankPrompt
from qwen3_rag.backends import Role
from qwen3_rag.integration import arguments_of, prompt_tokenizer, resolve_checkpoint

torch = pytest.importorskip("torch")

QUERIES = ["what is the capital of France", "++ operators", " Paris?", "名前は何ですか"]
DOCUMENTS = ["Paris is the capital of France.", "", "  two\nlines", "The answer is no."]
PAIRS = [(QUERIES[0], DOCUMENTS[0]), (QUERIES[1], DOCUMENTS[3]), (QUERIES[3], "")]
WEB = DEFAULT_INSTRUCTION
SETTINGS = "config_sentence_transformers.json"

MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def variant(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> Callable[..., Path]:
    """Copy a checkpoint and change entries of its JSON files."""

    def make(role: Role, files: Mapping[str, Mapping[str, Any]], name: str = "variant") -> Path:
        folder = tmp_path / name
        shutil.copytree(make_checkpoint(role), folder)
        for file, entries in files.items():
            path = folder / file
            content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
            path.write_text(json.dumps({**content, **entries}), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def with_prompts(variant: Callable[..., Path]) -> Callable[..., Path]:
    """Make an embedder with prompts of its own."""

    def make(prompts: object, default: str | None = None) -> Path:
        return variant(
            "embedding", {SETTINGS: {"prompts": prompts, "default_prompt_name": default}}
        )

    return make


def small(folder: Path, **settings: Any) -> Qwen3Embedder:
    return Qwen3Embedder(folder, dtype="float32", device="cpu", **settings)


def peer_of(folder: Path) -> Any:
    peers = pytest.importorskip("sentence_transformers", minversion="6.2")
    return peers.SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}
    )


def vectors_of_the_card(folder: Path, texts: list[str], task: str | None = None) -> Any:
    from qwen3_rag_testkit.reference import reference_vectors

    return reference_vectors(folder, texts, task=task)


def assert_same_direction(found: Any, expected: Any) -> None:
    expected = np.asarray(expected, dtype=np.float64)
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert (np.asarray(found, dtype=np.float64) * expected).sum(axis=1).min() > 0.99999


# ------------------------------------------------------------------ prompts of embedders

LAYOUTS: dict[str, tuple[dict[str, str | None], str | None, str, str]] = {
    # prompts, default_prompt_name, text before queries, text before documents
    "F2LLM": (
        {"query": f"Instruct: {WEB}\nQuery: ", "document": ""},
        None,
        f"Instruct: {WEB}\nQuery: ",
        "",
    ),
    "harrier": (
        {
            "sts_query": "Instruct: Retrieve semantically similar text\nQuery: ",
            "web_search_query": f"Instruct: {WEB}\nQuery: ",
            "bitext_query": "Instruct: Retrieve parallel sentences\nQuery: ",
        },
        None,
        f"Instruct: {WEB}\nQuery: ",
        "",
    ),
    "Octen": (
        {"query": f"Instruct: {WEB}\nQuery:", "document": " "},
        None,
        f"Instruct: {WEB}\nQuery:",
        " ",
    ),
    "Octen 8B": (
        {"query": f"Instruct: {WEB}\nQuery:", "document": "- "},
        None,
        f"Instruct: {WEB}\nQuery:",
        "- ",
    ),
    "instructed documents": (
        {"query": "Instruct: Find law\nQuery: ", "document": "Instruct: Find law\nQuery: "},
        None,
        "Instruct: Find law\nQuery: ",
        "Instruct: Find law\nQuery: ",
    ),
    # Not in the list of reports.
    "E5": (
        {"query": "query: ", "passage": "passage: "},
        None,
        "query: ",
        "passage: ",
    ),
    "a query's prompt alone": ({"query": "Represent: ", "document": None}, None, "Represent: ", ""),
    "no prompt on purpose": ({"query": "", "document": ""}, None, "", ""),
    "the default": (
        {"retrieval": "Search.\n", "clustering": "Cluster.\n"},
        "retrieval",
        "Search.\n",
        "",
    ),
    "one query prompt": (
        {"s2p_query": "<Instruct>: Find code\n<Query>: ", "document": ""},
        None,
        "<Instruct>: Find code\n<Query>: ",
        "",
    ),
    "other scripts": (
        {"query": "为这个句子生成表示以用于检索相关文章:", "corpus": "文档: "},
        None,
        "为这个句子生成表示以用于检索相关文章:",
        "文档: ",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_checkpoints_own_prompts_are_used(
    layout: str, with_prompts: Callable[..., Path]
) -> None:
    prompts, default, query, document = LAYOUTS[layout]
    folder = with_prompts(prompts, default)
    peer = peer_of(folder)

    with small(folder) as embedder:
        queries = embedder.embed_queries(QUERIES)
        documents = embedder.embed_documents(DOCUMENTS)

    assert_same_direction(queries, peer.encode(QUERIES, prompt=query))
    assert_same_direction(documents, peer.encode(DOCUMENTS, prompt=document))
    if "query" in prompts:
        assert_same_direction(queries, peer.encode_query(QUERIES))
    if "document" in prompts:
        assert_same_direction(documents, peer.encode_document(DOCUMENTS))


@pytest.mark.parametrize("prompts", [{}, None, {"document": "- "}, {"query": None}])
def test_without_a_query_prompt_qwens_is_used(
    prompts: object, with_prompts: Callable[..., Path]
) -> None:
    folder = with_prompts(prompts)

    with small(folder) as embedder:
        assert_same_direction(
            embedder.embed_queries(QUERIES), vectors_of_the_card(folder, QUERIES, task=WEB)
        )


@pytest.mark.parametrize(
    ("saved", "filled"),
    [
        (f"Instruct: {WEB}\nQuery: ", "Instruct: Find {text} laws\nQuery: "),
        ("Instruct: a\nQuery:", "Instruct: Find {text} laws\nQuery:"),
        ("<Instruct>: a\n<Query>: ", "<Instruct>: Find {text} laws\n<Query>: "),
        ("Instruction: a b c\n", "Instruction: Find {text} laws\n"),
    ],
)
def test_an_instruction_takes_the_place_of_the_saved_one(
    saved: str, filled: str, with_prompts: Callable[..., Path]
) -> None:
    folder = with_prompts({"query": saved, "document": ""})
    expected = peer_of(folder).encode(QUERIES, prompt=filled)

    with small(folder) as embedder:
        per_call = embedder.embed_queries(QUERIES, instruction="Find {text} laws")
    with small(folder, instruction="Find {text} laws") as embedder:
        for_all = embedder.embed_queries(QUERIES)

    assert_same_direction(per_call, expected)
    assert_same_direction(for_all, expected)


@pytest.mark.parametrize(
    "saved", ["query: ", "", "Instruct: two\nlines\nQuery: ", "Instruct: no line for the query"]
)
def test_a_prompt_without_a_place_for_an_instruction_refuses_one(
    saved: str, with_prompts: Callable[..., Path]
) -> None:
    folder = with_prompts({"query": saved, "document": ""})

    with small(folder) as embedder:
        with pytest.raises(ModelError, match="no place for an instruction") as refused:
            embedder.embed_queries(QUERIES, instruction="Find laws")
        embedder.embed_queries(QUERIES)

    assert all(part in str(refused.value) for part in ("'query'", SETTINGS, "query_template"))


@pytest.mark.parametrize(
    ("prompts", "shown"),
    [
        ({"query": "Instruct: {instruction}\nQuery: {query}"}, "{instruction}"),
        ({"query": "<|im_start|>user\n"}, "<|im_start|>"),
        ({"sts_query": "a", "bitext_query": "b"}, "'bitext_query'"),
        ({"retrieval": "a"}, "'retrieval'"),
        ({"STS": "a", "Clustering": "b", "document": ""}, "'Clustering'"),
    ],
)
def test_a_query_prompt_that_is_not_understood_is_refused_by_name(
    prompts: dict[str, str], shown: str, with_prompts: Callable[..., Path]
) -> None:
    folder = with_prompts(prompts)

    with small(folder) as embedder:
        with pytest.raises(ModelError) as refused:
            embedder.embed_queries(QUERIES)
        documents = embedder.embed_documents(DOCUMENTS)  # these do not need it

    assert all(part in str(refused.value) for part in (shown, SETTINGS, "query_template"))
    assert_same_direction(documents, vectors_of_the_card(folder, DOCUMENTS))
    with small(folder, query_template="Instruct: {instruction}\nQuery:{text}") as embedder:
        assert_same_direction(
            embedder.embed_queries(QUERIES), vectors_of_the_card(folder, QUERIES, task=WEB)
        )


@pytest.mark.parametrize(
    ("prompts", "shown"),
    [
        ({"document": "title: {title} | text: "}, "{title}"),
        ({"passage": "<|im_start|>"}, "<|im_start|>"),
        ({"long_document": "a", "short_document": "b"}, "'short_document'"),
    ],
)
def test_a_document_prompt_that_is_not_understood_is_refused_by_name(
    prompts: dict[str, str], shown: str, with_prompts: Callable[..., Path]
) -> None:
    folder = with_prompts({"query": "query: ", **prompts})

    with small(folder) as embedder:
        with pytest.raises(ModelError) as refused:
            embedder.embed_documents(DOCUMENTS)
        embedder.embed_queries(QUERIES)

    assert all(part in str(refused.value) for part in (shown, SETTINGS, "document_prefix"))
    with small(folder, document_prefix="") as embedder:
        found = embedder.embed_documents(DOCUMENTS)
    assert_same_direction(found, vectors_of_the_card(folder, DOCUMENTS))


@pytest.mark.parametrize("prompts", [["query: "], "query: ", {"query": ["query: "]}, {"query": 5}])
def test_prompts_that_are_no_texts_are_refused(
    prompts: object, with_prompts: Callable[..., Path]
) -> None:
    with (
        small(with_prompts(prompts)) as embedder,
        pytest.raises(ModelError, match=f"`prompts` in {SETTINGS}"),
    ):
        embedder.warm_up()


def test_a_default_prompt_that_is_not_there_is_refused(with_prompts: Callable[..., Path]) -> None:
    with (
        small(with_prompts({"query": "a"}, "quarry")) as embedder,
        pytest.raises(ModelError, match=r"`default_prompt_name`.*'quarry'"),
    ):
        embedder.warm_up()


def test_two_folders_that_differ_in_their_prompts_are_told_apart(
    variant: Callable[..., Path],
) -> None:
    one = variant("embedding", {SETTINGS: {"prompts": {"query": "a: "}}}, "one")
    two = variant("embedding", {SETTINGS: {"prompts": {"query": "b: "}}}, "two")

    with small(one) as first, small(two) as second:
        assert first.warm_up().fingerprint != second.warm_up().fingerprint
        vectors = first.embed_queries(QUERIES), second.embed_queries(QUERIES)

    assert not np.allclose(*vectors)


# ------------------------------------------------------------------ settings of the caller


def test_the_callers_settings_come_before_the_checkpoints(
    with_prompts: Callable[..., Path],
) -> None:
    folder = with_prompts({"query": "Instruct: Find law\nQuery: ", "document": "- "})
    peer = peer_of(folder)
    given = {"query_template": "Task {instruction} | {text}", "document_prefix": "doc: "}

    with small(folder, **given) as embedder:
        queries = embedder.embed_queries(QUERIES)
        asked = embedder.embed_queries(QUERIES, instruction="Find code")
        documents = embedder.embed_documents(DOCUMENTS)

        assert arguments_of(embedder).items() >= given.items()

    # The saved instruction is the checkpoint's own word too.
    assert_same_direction(queries, peer.encode(QUERIES, prompt="Task Find law | "))
    assert_same_direction(asked, peer.encode(QUERIES, prompt="Task Find code | "))
    assert_same_direction(documents, peer.encode(DOCUMENTS, prompt="doc: "))


def test_a_model_of_the_callers_takes_the_settings(embedding_folder: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(embedding_folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(embedding_folder)
    given: Any = {"query_template": "query: {text}", "document_prefix": "passage: "}

    with Qwen3Embedder.from_model(model, tokenizer, **given) as embedder:
        queries = embedder.embed_queries(QUERIES)
        documents = embedder.embed_documents(DOCUMENTS)

    before = [f"query: {query}" for query in QUERIES]
    assert_same_direction(queries, vectors_of_the_card(embedding_folder, before))
    behind = [f"passage: {document}" for document in DOCUMENTS]
    assert_same_direction(documents, vectors_of_the_card(embedding_folder, behind))


@pytest.mark.parametrize(
    "template",
    ["", "Query: ", "{text} end", "{text}{text}", "{instruction}{instruction}{text}", "{query}"],
)
def test_a_template_that_does_not_end_in_the_text_is_refused(template: str) -> None:
    with pytest.raises(InputError, match=r"must end in \{text\}"):
        Qwen3Embedder("my/model", query_template=template)


@pytest.mark.parametrize(
    "given", [{"query_template": "<|im_start|>{text}"}, {"document_prefix": "a <think>"}]
)
def test_control_tokens_in_a_setting_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(InputError, match="a control token"):
        Qwen3Embedder("my/model", **given)  # type: ignore[arg-type]  # the names are correct


def test_a_template_without_an_instruction_refuses_one(embedding_folder: Path) -> None:
    with small(embedding_folder, query_template="query: {text}") as embedder:
        embedder.embed_queries(QUERIES)
        with pytest.raises(InputError, match=r"`query_template`.* has no"):
            embedder.embed_queries(QUERIES, instruction="Find laws")


def test_cuts_count_characters_of_the_text_alone(with_prompts: Callable[..., Path]) -> None:
    folder = with_prompts({"query": "Instruct: a\nQuery: ", "document": "passage: "})

    with small(folder, max_length=64) as embedder:
        queries = embedder.embed_queries(["x" * 500], details=True)
        documents = embedder.embed_documents(["x" * 500], details=True)
        [query_cut], [document_cut] = queries.cut_at, documents.cut_at
        assert query_cut is not None
        assert document_cut is not None
        again = (
            embedder.embed_queries(["x" * query_cut]),
            embedder.embed_documents(["x" * document_cut]),
        )

    np.testing.assert_allclose(again[0], queries.vectors, atol=1e-6)
    np.testing.assert_allclose(again[1], documents.vectors, atol=1e-6)


# ------------------------------------------------------------------ rerankers


def cross_encoder(folder: Path) -> Any:
    peers = pytest.importorskip("sentence_transformers", minversion="6.2")
    return peers.CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})


def peer_logits(peer: Any, instruction: str) -> list[float]:
    """Run the peer's own modules, LogitScore included, on the prompts of the model card."""
    logits = []
    for pair in PAIRS:
        prompt = RerankPrompt(*pair, instruction).rendered
        features = peer.tokenizer([prompt], return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            logits.append(float(peer.forward(dict(features))["scores"].reshape(-1)[0]))
    return logits


def logits_of(folder: Path, **settings: Any) -> tuple[float, ...]:
    with Qwen3Reranker(folder, dtype="float32", device="cpu", **settings) as reranker:
        return reranker.score(PAIRS, details=True).logits


@pytest.mark.parametrize("instruction", ["Find laws", "Judge the code\nby its tests", "找法律"])
def test_a_rerankers_saved_instruction_is_its_default(
    instruction: str, variant: Callable[..., Path]
) -> None:
    files = {SETTINGS: {"prompts": {"law": instruction}, "default_prompt_name": "law"}}
    folder = variant("reranking", files)
    peer = cross_encoder(folder)

    assert peer.prompts[peer.default_prompt_name] == instruction
    np.testing.assert_allclose(logits_of(folder), peer_logits(peer, instruction), atol=1e-4)
    np.testing.assert_allclose(
        logits_of(folder, instruction="Find code"), peer_logits(peer, "Find code"), atol=1e-4
    )
    with Qwen3Reranker(folder, dtype="float32", device="cpu") as reranker:
        ranked = reranker.rank(*PAIRS[0][:1], [PAIRS[0][1]])
    assert ranked[0].logit == pytest.approx(peer_logits(peer, instruction)[0], abs=1e-4)


@pytest.mark.parametrize("name", ["law", "query"])
def test_a_prompt_that_is_not_the_default_is_not_used(
    name: str, variant: Callable[..., Path]
) -> None:
    files = {SETTINGS: {"prompts": {name: "Find laws"}, "default_prompt_name": None}}
    folder = variant("reranking", files)

    np.testing.assert_allclose(
        logits_of(folder), peer_logits(cross_encoder(folder), WEB), atol=1e-4
    )


def test_control_tokens_in_a_saved_instruction_are_refused(variant: Callable[..., Path]) -> None:
    files = {SETTINGS: {"prompts": {"law": "a <|im_end|> b"}, "default_prompt_name": "law"}}
    folder = variant("reranking", files)

    with pytest.raises(ModelError, match=f"'law' in {SETTINGS}.*`instruction`"):
        logits_of(folder)
    logits_of(folder, instruction="Find laws")


@pytest.mark.parametrize("words", [(" a", " to"), ("no", "yes"), ("1", "0"), ("Document", "Query")])
def test_the_answer_tokens_of_the_score_module_are_read(
    words: tuple[str, str], variant: Callable[..., Path], reranking_folder: Path
) -> None:
    count = prompt_tokenizer(reranking_folder, "reranking")
    true, false = (count._single(word) for word in words)
    answers = {"1_LogitScore/config.json": {"true_token_id": true, "false_token_id": false}}
    folder = variant("reranking", answers)

    np.testing.assert_allclose(
        logits_of(folder), peer_logits(cross_encoder(folder), WEB), atol=1e-4
    )
    found = prompt_tokenizer(resolve_checkpoint(str(folder), "reranking"), "reranking")
    assert (found.yes, found.no) == (true, false)


@pytest.mark.parametrize(
    "answers",
    [
        {"false_token_id": None},
        {"true_token_id": "yes"},
        {"true_token_id": 7, "false_token_id": 7},
        {"true_token_id": -1},
        {"true_token_id": 1.5},
        {"true_token_id": True},
    ],
)
def test_answers_that_are_no_two_tokens_are_refused(
    answers: dict[str, object], variant: Callable[..., Path]
) -> None:
    with pytest.raises(ModelError, match=r"1_LogitScore/config\.json of .* must name two tokens"):
        logits_of(variant("reranking", {"1_LogitScore/config.json": answers}))


def test_an_answer_beyond_the_table_is_refused(variant: Callable[..., Path]) -> None:
    files = {"1_LogitScore/config.json": {"true_token_id": 151_000}}

    with pytest.raises(ModelError, match="has 151001 tokens"):
        logits_of(variant("reranking", files))


# ------------------------------------------------------------------ modules


@pytest.mark.parametrize("included", [True, False])
def test_whether_the_prompt_is_pooled_makes_no_difference(
    included: bool, variant: Callable[..., Path]
) -> None:
    folder = variant("embedding", {"1_Pooling/config.json": {"include_prompt": included}})

    with small(folder) as embedder:
        found = embedder.embed_queries(QUERIES)

    assert_same_direction(found, peer_of(folder).encode_query(QUERIES))


@pytest.mark.parametrize(
    "kept", [["Transformer", "Pooling"], ["Transformer", "Pooling", "Dropout"]]
)
def test_modules_that_keep_the_direction_are_taken(
    kept: list[str], variant: Callable[..., Path]
) -> None:
    folder = variant("embedding", {})
    _write_modules(folder, kept)
    (folder / "3_Dropout").mkdir()
    (folder / "3_Dropout" / "config.json").write_text('{"dropout": 0.1}')

    with small(folder) as embedder:
        found = embedder.embed_queries(QUERIES)

    assert_same_direction(found, peer_of(folder).encode_query(QUERIES))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_lasttoken": False, "pooling_mode_mean_tokens": True},
        {"pooling_mode_mean_tokens": True},  # both, one behind the other
        {"pooling_mode_lasttoken": None},
        {"pooling_mode": "mean"},
        {"pooling_mode": ["lasttoken", "mean"]},
        {"pooling_mode": "cls"},
    ],
)
def test_other_poolings_are_refused_by_name(
    pooling: dict[str, object], variant: Callable[..., Path]
) -> None:
    folder = variant("embedding", {"1_Pooling/config.json": pooling})

    with small(folder) as embedder, pytest.raises(ModelError, match=r"1_Pooling/config\.json"):
        embedder.warm_up()


@pytest.mark.parametrize("pooling", ["lasttoken", ["lasttoken"]])
def test_the_newer_form_of_the_pooling_is_read(
    pooling: object, variant: Callable[..., Path]
) -> None:
    folder = variant("embedding", {})
    content = {"embedding_dimension": 64, "pooling_mode": pooling, "include_prompt": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(content))

    with small(folder) as embedder:
        found = embedder.embed_documents(DOCUMENTS)

    assert_same_direction(found, peer_of(folder).encode_document(DOCUMENTS))


@pytest.mark.parametrize("kind", ["LayerNorm", "WordWeights", "CNN", "SpladePooling", "Router"])
def test_modules_that_are_not_implemented_are_refused_by_name(
    kind: str, variant: Callable[..., Path]
) -> None:
    folder = variant("embedding", {})
    _write_modules(folder, ["Transformer", "Pooling", kind])

    with small(folder) as embedder, pytest.raises(ModelError, match=f"modules.json.*'{kind}'"):
        embedder.warm_up()


@pytest.mark.parametrize("package", ["custom_st", "modeling", ""])
def test_modules_with_code_of_their_own_are_refused(
    package: str, variant: Callable[..., Path]
) -> None:
    folder = variant("embedding", {})
    _write_modules(folder, ["Transformer", "Pooling"], package)

    with small(folder) as embedder, pytest.raises(ModelError, match=f"of '{package}'"):
        embedder.warm_up()


def test_lower_casing_is_refused(variant: Callable[..., Path]) -> None:
    folder = variant("embedding", {"sentence_bert_config.json": {"do_lower_case": True}})

    with small(folder) as embedder, pytest.raises(ModelError, match="do_lower_case"):
        embedder.warm_up()


def _write_modules(
    folder: Path, kinds: list[str], package: str = "sentence_transformers.models"
) -> None:
    places = {"Transformer": "", "Pooling": "1_Pooling", "Dropout": "3_Dropout"}
    entries = [
        {
            "idx": index,
            "name": str(index),
            "path": places.get(kind, f"{index}_{kind}"),
            "type": f"{package}.{kind}",
        }
        for index, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(entries))


# ------------------------------------------------------------------ the longest text


@pytest.mark.parametrize(
    "files",
    [
        {"sentence_bert_config.json": {"max_seq_length": 80}},
        {"tokenizer_config.json": {"model_max_length": 80}},
        {
            "sentence_bert_config.json": {"max_seq_length": 80},
            "tokenizer_config.json": {"model_max_length": 131_072},
        },
        {
            "sentence_bert_config.json": {"max_seq_length": None},
            "tokenizer_config.json": {"model_max_length": 80},
        },
    ],
    ids=["sentence-transformers 5", "sentence-transformers 6", "both", "null"],
)
def test_texts_are_cut_where_the_checkpoint_says(
    variant: Callable[..., Path], files: Mapping[str, Mapping[str, Any]]
) -> None:
    folder = variant("embedding", files)
    documents = ["Paris is the capital. " * 40, "Paris"]
    right = peer_of(folder).encode_document(documents)

    with small(folder) as embedder, small(folder, max_length=8_192) as whole:
        found = embedder.embed_documents(documents, details=True)
        assert_same_direction(found.vectors, right)
        assert found.tokens
        assert found.tokens[0] == 80
        tokens = whole.embed_documents(documents, details=True).tokens
        assert tokens
        assert tokens[0] > 80  # a setting wins


def test_limits_above_the_default_change_nothing(variant: Callable[..., Path]) -> None:
    folder = variant(
        "embedding",
        {
            "config.json": {"max_position_embeddings": 32_768},
            "sentence_bert_config.json": {"max_seq_length": 32_768},
            "tokenizer_config.json": {"model_max_length": 1e30},
        },
    )
    with small(folder) as embedder:
        found = embedder.embed_documents(["?! " * 9_000], details=True)

    assert found.tokens == (8_192,)


@pytest.mark.parametrize("length", ["512", True, -1, float("nan")])
def test_limits_that_are_no_numbers_are_errors(
    variant: Callable[..., Path], length: object
) -> None:
    folder = variant("embedding", {"sentence_bert_config.json": {"max_seq_length": length}})

    with small(folder) as embedder, pytest.raises(ModelError, match="a number of tokens"):
        embedder.warm_up()
