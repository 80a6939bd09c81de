"""A fine-tune's own tokens, other end tokens, and tables of other sizes.

The right value is the model card's procedure with plain transformers on the same folder.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen3_rag import ModelError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag._prompts import CONTROL_TOKENS, EmbedPrompt
from qwen3_rag.backends import Limits, Role
from qwen3_rag.integration import prompt_tokenizer
from qwen3_rag_testkit.tokenizer import ADDED_TOKENS

torch = pytest.importorskip("torch")

MakeCheckpoint = Callable[..., Path]

TASK = "Given a web search query, retrieve relevant passages that answer the query"


def test_the_control_tokens_are_the_published_ones() -> None:
    assert set(ADDED_TOKENS) == CONTROL_TOKENS


@pytest.fixture
def with_tokens(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> Callable[..., Path]:
    """Add tokens to a checkpoint as transformers does: the tokenizer's, and rows of the table."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def make(role: Role, tokens: list[Any], *, resize: bool = True) -> Path:
        folder = tmp_path / "added"
        shutil.copytree(make_checkpoint(role), folder)
        path = folder / "tokenizer.json"
        definition = json.loads(path.read_text("utf-8"))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens(tokens)
        written = json.loads(tokenizer.backend_tokenizer.to_str())
        definition["added_tokens"] = written["added_tokens"]
        path.write_text(json.dumps(definition), encoding="utf-8")
        if resize:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            torch.manual_seed(1)
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            with torch.no_grad():
                table: Any = model.get_input_embeddings()
                table.weight[-len(tokens) :].normal_(0, 0.3)
            kept = model.model if role == "embedding" else model
            kept.config.architectures = ["Qwen3ForCausalLM"]
            kept.save_pretrained(folder)
        return folder

    return make


OWN: list[tuple[list[Any], list[str]]] = [
    (["<|law|>"], ["<|law|> of France", "the <|law|><|law|>", "law", ""]),
    (["[DOC]", "[SEP]"], ["[DOC] Paris [SEP] is", "a[SEP]b", "[ DOC ]", "[SEP]"]),
    (["名前", "ΑΒΓ"], ["私の名前は何", "x ΑΒΓ y", "名 前"]),
    # Not in the list of reports.
    (["newword", " the capital"], ["a newword here", "is the capital of", "newwords"]),
]


@pytest.mark.parametrize(("tokens", "texts"), OWN)
def test_added_tokens_are_tokens_in_texts(
    tokens: list[Any], texts: list[str], with_tokens: Callable[..., Path]
) -> None:
    from qwen3_rag_testkit.reference import reference_vectors

    folder = with_tokens("embedding", tokens)
    expected = reference_vectors(folder, texts)

    with Qwen3Embedder(folder, dtype="float32", device="cpu") as embedder:
        found = embedder.embed_documents(texts)
        queries = embedder.embed_queries([text or "a" for text in texts])

    assert (found * expected).sum(axis=1).min() > 0.99999
    asked = reference_vectors(folder, [text or "a" for text in texts], task=TASK)
    assert (queries * asked).sum(axis=1).min() > 0.99999


@pytest.mark.parametrize(("tokens", "texts"), OWN)
def test_added_tokens_are_tokens_in_pairs(
    tokens: list[Any], texts: list[str], with_tokens: Callable[..., Path]
) -> None:
    from qwen3_rag_testkit.reference import reference_logits

    folder = with_tokens("reranking", tokens)
    pairs = [(texts[0], text) for text in texts]

    with Qwen3Reranker(folder, dtype="float32", device="cpu") as reranker:
        logits = reranker.score(pairs, details=True).logits

    np.testing.assert_allclose(logits, reference_logits(folder, pairs), atol=1e-4)


def test_control_tokens_stay_text_beside_added_ones(
    with_tokens: Callable[..., Path], embedding_folder: Path
) -> None:
    tokens = prompt_tokenizer(with_tokens("embedding", ["[DOC]"], resize=False), "embedding")
    plain = prompt_tokenizer(embedding_folder, "embedding")
    controls = {index for token, index in _added(embedding_folder).items()}

    for token in CONTROL_TOKENS:
        prompts = [EmbedPrompt(f"a {token} b"), EmbedPrompt(f"a[DOC]{token}", "Find")]
        alone, beside = tokens.encode(prompts, Limits(), 4096)
        [expected] = plain.encode(prompts[:1], Limits(), 4096)
        assert alone.sequence == expected.sequence
        assert controls.isdisjoint([*beside.sequence.prefix, *beside.sequence.ids[:-1]])


def test_a_text_is_cut_between_added_tokens(with_tokens: Callable[..., Path]) -> None:
    folder = with_tokens("embedding", ["[DOC]"])

    with Qwen3Embedder(folder, dtype="float32", device="cpu", max_length=64) as embedder:
        found = embedder.embed_documents(["[DOC]" * 500], details=True)
        again = embedder.embed_documents(["[DOC]" * 63])

    assert found.cut_at == (63 * len("[DOC]"),)
    np.testing.assert_allclose(found.vectors, again, atol=1e-6)


@pytest.mark.parametrize("role", ["embedding", "reranking"])
@pytest.mark.parametrize("token", ["[PAD]", "<|pad|>", "<unk>"])
def test_a_token_without_a_row_is_named(
    role: Role, token: str, with_tokens: Callable[..., Path]
) -> None:
    folder = with_tokens(role, [token], resize=False)
    kind: Any = Qwen3Embedder if role == "embedding" else Qwen3Reranker

    with kind(folder, dtype="float32", device="cpu") as model, pytest.raises(ModelError) as refused:
        model.warm_up()

    said = str(refused.value)
    assert repr(token) in said
    assert "without resizing" in said
    assert "resize_token_embeddings" in said


# ------------------------------------------------------------------ tables of other sizes


def _added(folder: Path) -> dict[str, int]:
    definition = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    return {token["content"]: token["id"] for token in definition["added_tokens"]}


@pytest.mark.parametrize("lacking", [1, 4, 25])
def test_a_table_without_rows_for_tokens_that_are_only_text_opens(
    lacking: int, make_checkpoint: MakeCheckpoint, embedding_folder: Path
) -> None:
    """As third parties cut them: 151,665 rows for the 26 added tokens up to 151,668."""
    from qwen3_rag_testkit.reference import reference_vectors

    rows = max(_added(embedding_folder).values()) + 1 - lacking
    folder = make_checkpoint("embedding", config={"vocab_size": rows})
    texts = ["Paris is the capital", "", "</think> 5"]

    with Qwen3Embedder(folder, dtype="float32", device="cpu") as embedder:
        found = embedder.embed_documents(texts)

    expected = reference_vectors(folder, texts[:2])
    assert (found[:2] * expected).sum(axis=1).min() > 0.99999
    assert np.isfinite(found).all()


def test_a_table_with_more_rows_than_tokens_opens(make_checkpoint: MakeCheckpoint) -> None:
    from qwen3_rag_testkit.reference import reference_logits

    folder = make_checkpoint("reranking", config={"vocab_size": 512})
    pairs = [("what is", "the capital")]

    with Qwen3Reranker(folder, dtype="float32", device="cpu") as reranker:
        logits = reranker.score(pairs, details=True).logits

    np.testing.assert_allclose(logits, reference_logits(folder, pairs), atol=1e-4)


@pytest.mark.parametrize(("role", "lacking"), [("embedding", 26), ("reranking", 1)])
def test_a_table_without_a_row_for_a_token_of_the_prompt_is_refused(
    role: Role, lacking: int, make_checkpoint: MakeCheckpoint, embedding_folder: Path
) -> None:
    rows = max(_added(embedding_folder).values()) + 1 - lacking
    folder = make_checkpoint(role, config={"vocab_size": rows})
    kind: Any = Qwen3Embedder if role == "embedding" else Qwen3Reranker

    with (
        kind(folder, dtype="float32", device="cpu") as model,
        pytest.raises(ModelError, match=rf"tokens and its embedding table {rows}"),
    ):
        model.warm_up()


# ------------------------------------------------------------------ end tokens


@pytest.fixture
def with_end(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> Callable[..., Path]:
    """Let a tokenizer append other tokens, or put some before a text."""

    def make(behind: list[str], before: list[str] | None = None) -> Path:
        folder = tmp_path / "end"
        shutil.copytree(make_checkpoint("embedding"), folder)
        path = folder / "tokenizer.json"
        definition = json.loads(path.read_text("utf-8"))
        ids = {**definition["model"]["vocab"], **_added(folder)}
        template = definition["post_processor"]["processors"][1]
        names = [*(before or []), *behind]
        template["single"] = [
            *[{"SpecialToken": {"id": name, "type_id": 0}} for name in before or []],
            {"Sequence": {"id": "A", "type_id": 0}},
            *[{"SpecialToken": {"id": name, "type_id": 0}} for name in behind],
        ]
        template["special_tokens"] = {
            name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in names
        }
        template["pair"] = template["single"] + [{"Sequence": {"id": "B", "type_id": 0}}]
        path.write_text(json.dumps(definition), encoding="utf-8")
        return folder

    return make


@pytest.mark.parametrize("end", ["<|im_end|>", "<|fim_pad|>", "</think>", "no"])
def test_the_end_token_is_the_tokenizers_own(end: str, with_end: Callable[..., Path]) -> None:
    from qwen3_rag_testkit.reference import reference_vectors

    folder = with_end([end])
    texts = ["Paris is the capital", "", "yes"]
    expected = reference_vectors(folder, texts)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Qwen3Embedder(folder, dtype="float32", device="cpu") as embedder:
            found = embedder.embed_documents(texts)

    assert (found * expected).sum(axis=1).min() > 0.99999


@pytest.mark.parametrize("end", ["<|im_end|>", "<|endoftext|>"])
def test_the_end_token_is_sentence_transformers_too(
    end: str, with_end: Callable[..., Path]
) -> None:
    peers = pytest.importorskip("sentence_transformers", minversion="6.2")
    folder = with_end([end])
    texts = ["Paris is the capital", "yes"]
    peer = peers.SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}
    )

    with Qwen3Embedder(folder, dtype="float32", device="cpu") as embedder:
        found = embedder.embed_documents(texts)

    assert (found * peer.encode_document(texts)).sum(axis=1).min() > 0.99999


@pytest.mark.parametrize(
    ("before", "behind"),
    [(["<|im_start|>"], ["<|endoftext|>"]), ([], ["<|im_end|>", "<|endoftext|>"]), (["yes"], [])],
)
def test_more_than_an_end_token_is_refused(
    before: list[str], behind: list[str], with_end: Callable[..., Path]
) -> None:
    with (
        Qwen3Embedder(with_end(behind, before), dtype="float32", device="cpu") as embedder,
        pytest.raises(ModelError, match="Only one token behind a text") as refused,
    ):
        embedder.warm_up()

    assert all(token in str(refused.value) for token in [*before, *behind])


def test_a_tokenizer_that_appends_nothing_is_told_apart(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint("embedding", append_end=False)

    with pytest.warns(UserWarning, match=r"appends no end token\. <\|endoftext\|>"):
        tokens = prompt_tokenizer(folder, "embedding")

    assert tokens.end == _added(folder)["<|endoftext|>"]
