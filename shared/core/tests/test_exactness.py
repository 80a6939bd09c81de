"""Every way of computing gives the reference's numbers, in float32 on hot random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag._prompts import EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag._published import Role
from qwen3_rag.backends._base import Limits
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._checkpoint.hub import resolve
from qwen3_rag.backends._checkpoint.tokens import PromptTokenizer
from qwen3_rag.backends._local.loading.weights import load_weights
from qwen3_rag.backends._local.model.forward import PackedForward
from qwen3_rag.backends._local.spec import LocalSpec
from qwen3_rag_testkit.checkpoints import SIZES, write_checkpoint
from qwen3_rag_testkit.contracts import TEXTS
from qwen3_rag_testkit.reference import TASK, reference_logits, reference_vectors

MakeCheckpoint = Callable[..., Path]

LOGIT = 1e-4
COSINE = 1e-5

QUERY = "what is the capital of France?"
DOCUMENTS = [text for text in TEXTS if "<|" not in text and "</" not in text]
DOCUMENTS += ["Paris " * n + "is what the query asks. " * (n % 5) for n in (1, 40, 7, 90, 2)]
PAIRS = [(QUERY, document) for document in DOCUMENTS]


def assert_same_vectors(left: Any, right: Any) -> None:
    np.testing.assert_array_less(1 - (left * right).sum(axis=1), COSINE)


@pytest.fixture(params=list(SIZES))
def size(request: pytest.FixtureRequest) -> dict[str, Any]:
    settings: dict[str, Any] = SIZES[request.param]
    return settings


@pytest.fixture
def embedding(make_checkpoint: MakeCheckpoint, size: dict[str, Any]) -> Path:
    return make_checkpoint("embedding", config=size)


@pytest.fixture
def reranking(make_checkpoint: MakeCheckpoint, size: dict[str, Any]) -> Path:
    return make_checkpoint("reranking", config=size)


# ------------------------------------------------------------------ the fixture itself


def test_fixture_notices_a_swapped_pair_of_tokens(reranking: Path) -> None:
    pairs = [(QUERY, "Paris is the capital, not Lyon")]

    moved = reference_logits(reranking, pairs, swap=(13, 14)) - reference_logits(reranking, pairs)

    assert abs(moved[0]) > 1e-2


def test_fixture_notices_a_position_off_by_one(reranking: Path) -> None:
    pairs = [(QUERY, "Paris is the capital, not Lyon")]

    moved = reference_logits(reranking, pairs, shift=1) - reference_logits(reranking, pairs)

    assert abs(moved[0]) > 1e-2


# ------------------------------------------------------------------ against the model cards


def test_vectors_equal_the_model_cards(embedding: Path) -> None:
    with Qwen3Embedder(str(embedding), dtype="float32", device="cpu") as embedder:
        documents = embedder.embed_documents(DOCUMENTS)
        queries = embedder.embed_queries([QUERY, "another"])

    assert_same_vectors(documents, reference_vectors(embedding, DOCUMENTS))
    assert_same_vectors(documents, reference_vectors(embedding, DOCUMENTS, batch=1))
    assert_same_vectors(queries, reference_vectors(embedding, [QUERY, "another"], task=TASK))


def test_logits_equal_the_model_cards(reranking: Path) -> None:
    with Qwen3Reranker(str(reranking), dtype="float32", device="cpu") as reranker:
        logits = reranker.score(PAIRS, details=True).logits

    np.testing.assert_allclose(logits, reference_logits(reranking, PAIRS), atol=LOGIT)
    np.testing.assert_allclose(logits, reference_logits(reranking, PAIRS, batch=1), atol=LOGIT)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("batch_tokens", [1, 200, 100_000])
def test_batch_size_order_and_attention_change_nothing(
    reranking_folder: Path, embedding_folder: Path, attention: Any, batch_tokens: int
) -> None:
    settings: dict[str, Any] = {
        "dtype": "float32",
        "device": "cpu",
        "attention": attention,
        "batch_tokens": batch_tokens,
    }
    with Qwen3Reranker(str(reranking_folder), **settings) as reranker:
        logits = reranker.score(PAIRS[::-1], details=True).logits[::-1]
    with Qwen3Embedder(str(embedding_folder), **settings) as embedder:
        vectors = embedder.embed_documents(DOCUMENTS[::-1])[::-1]

    np.testing.assert_allclose(logits, reference_logits(reranking_folder, PAIRS), atol=LOGIT)
    assert_same_vectors(vectors, reference_vectors(embedding_folder, DOCUMENTS))


def test_classifier_gives_the_language_models_logits(make_checkpoint: MakeCheckpoint) -> None:
    untied = {"tie_word_embeddings": False}
    reranking = make_checkpoint("reranking", config=untied, seed=3)
    classifier = make_checkpoint("reranking", config=untied, seed=3, classifier=True)

    with Qwen3Reranker(str(classifier), dtype="float32", device="cpu") as reranker:
        logits = reranker.score(PAIRS, details=True).logits

    np.testing.assert_allclose(logits, reference_logits(reranking, PAIRS), atol=LOGIT)


@pytest.mark.parametrize("settings", [{"shards": True}, {"modules": False}])
def test_published_layouts_load_alike(
    make_checkpoint: MakeCheckpoint, embedding_folder: Path, settings: dict[str, bool]
) -> None:
    folder = make_checkpoint("embedding", **settings)
    if "shards" in settings:
        assert len(list(folder.glob("*.safetensors"))) > 1

    with Qwen3Embedder(str(folder), dtype="float32", device="cpu") as embedder:
        vectors = embedder.embed_documents(DOCUMENTS)

    assert_same_vectors(vectors, reference_vectors(embedding_folder, DOCUMENTS))


# ------------------------------------------------------------------ one forward against another


@pytest.fixture(params=["embedding", "reranking"])
def role(request: pytest.FixtureRequest) -> Role:
    role: Role = request.param
    return role


def test_shared_prefix_equals_repeating_it(role: Role, make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint(role)
    spec = LocalSpec(str(folder), role)
    tokens = PromptTokenizer.from_folder(folder, role, name="small")

    def forward() -> PackedForward:
        checkpoint = resolve(spec.source)
        trunk, head = load_weights(spec, checkpoint, tokens, device="cpu", dtype=torch.float32)
        return PackedForward(trunk, head, "cpu")

    prompts: list[Prompt] = [
        EmbedPrompt(text) if role == "embedding" else RerankPrompt(query, text)
        for query in (QUERY, "other")
        for text in DOCUMENTS
    ]
    sequences = [item.sequence for item in tokens.encode(prompts, Limits(), 4096)]

    shared = forward().run(sequences)
    repeated = forward().run([TokenSequence((), (*s.prefix, *s.ids)) for s in sequences])
    one_by_one = forward()
    alone = np.concatenate([one_by_one.run([s]) for s in sequences])

    scale = max(1.0, float(np.abs(alone).max()))
    np.testing.assert_allclose(shared, repeated, atol=LOGIT * scale, rtol=0)
    np.testing.assert_allclose(shared, alone, atol=LOGIT * scale, rtol=0)


def test_callers_own_model_gives_the_same_and_is_not_changed(
    embedding_folder: Path, reranking_folder: Path
) -> None:
    trunk = AutoModel.from_pretrained(embedding_folder, dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(reranking_folder, dtype=torch.float32)
    before = [_state(m) for m in (trunk, model)]

    with Qwen3Embedder.from_model(
        trunk, AutoTokenizer.from_pretrained(embedding_folder), batch_tokens=300
    ) as embedder:
        vectors = embedder.embed_documents(DOCUMENTS)
    with Qwen3Reranker.from_model(
        model, AutoTokenizer.from_pretrained(reranking_folder), batch_tokens=1000
    ) as reranker:
        logits = reranker.score(PAIRS, details=True).logits

    assert_same_vectors(vectors, reference_vectors(embedding_folder, DOCUMENTS))
    np.testing.assert_allclose(logits, reference_logits(reranking_folder, PAIRS), atol=LOGIT)
    assert before == [_state(m) for m in (trunk, model)]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's own
def test_callers_model_with_an_adapter_gives_the_merged_models_logits(
    reranking_folder: Path, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    tokenizer = AutoTokenizer.from_pretrained(reranking_folder)
    model = AutoModelForCausalLM.from_pretrained(reranking_folder, dtype=torch.float32)
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, lora)

    with Qwen3Reranker.from_model(adapted, tokenizer) as reranker:
        logits = reranker.score(PAIRS, details=True).logits
    adapted.merge_and_unload().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    np.testing.assert_allclose(logits, reference_logits(tmp_path, PAIRS), atol=LOGIT)
    assert np.abs(logits - reference_logits(reranking_folder, PAIRS)).max() > 0.01


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # torch's own
def test_callers_quantised_model_runs_as_it_is(reranking_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(reranking_folder, dtype=torch.float32)
    quantise: Any = torch.ao.quantization.quantize_dynamic
    small = quantise(model, {torch.nn.Linear}, dtype=torch.qint8)

    with Qwen3Reranker.from_model(
        small, AutoTokenizer.from_pretrained(reranking_folder)
    ) as reranker:
        logits = reranker.score(PAIRS, details=True).logits

    off = np.abs(logits - reference_logits(reranking_folder, PAIRS))
    assert 0 < off.max() < 0.5


def _state(model: Any) -> Any:
    config = model.config
    return config.to_dict(), config._attn_implementation, model.training, model.dtype


# ------------------------------------------------------------------ against sentence-transformers


@pytest.fixture
def sentence_transformers() -> Any:
    return pytest.importorskip("sentence_transformers", minversion="6.2")


def test_vectors_equal_sentence_transformers(embedding: Path, sentence_transformers: Any) -> None:
    peer = sentence_transformers.SentenceTransformer(
        str(embedding), device="cpu", model_kwargs={"dtype": torch.float32}
    )

    with Qwen3Embedder(str(embedding), dtype="float32", device="cpu") as embedder:
        documents = embedder.embed_documents(DOCUMENTS)
        queries = embedder.embed_queries([QUERY])

    assert_same_vectors(documents, peer.encode_document(DOCUMENTS))
    assert_same_vectors(queries, peer.encode_query([QUERY]))


def test_logits_equal_a_cross_encoder_given_the_same_prompt(
    reranking: Path, sentence_transformers: Any
) -> None:
    peer = sentence_transformers.CrossEncoder(
        str(reranking), device="cpu", model_kwargs={"dtype": torch.float32}
    )

    expected = cross_encoder_logits(peer, [RerankPrompt(*pair).rendered for pair in PAIRS])
    with Qwen3Reranker(str(reranking), dtype="float32", device="cpu") as reranker:
        logits = reranker.score(PAIRS, details=True).logits

    np.testing.assert_allclose(logits, expected, atol=LOGIT)


def cross_encoder_logits(peer: Any, prompts: list[str]) -> list[float]:
    """Run the peer's own modules, LogitScore included, on rendered prompts."""
    logits = []
    for prompt in prompts:
        features = peer.tokenizer([prompt], return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            logits.append(float(peer.forward(dict(features))["scores"].reshape(-1)[0]))
    return logits


# ------------------------------------------------------------------ at full size


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The exact 0.6B shape but for the vocabulary, 1.8 GB in float32."""
    folder = write_checkpoint(
        tmp_path_factory.mktemp("full") / "reranker",
        "reranking",
        config={
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 40960,
            "initializer_range": 0.02,
        },
    )
    yield folder
    for file in folder.glob("*.safetensors"):
        file.unlink()


@pytest.mark.slow
def test_full_size_logits_equal_the_model_cards(full_size: Path) -> None:
    pairs = PAIRS[:6]

    with Qwen3Reranker(str(full_size), dtype="float32", device="cpu") as reranker:
        logits = reranker.score(pairs, details=True).logits

    np.testing.assert_allclose(logits, reference_logits(full_size, pairs), atol=LOGIT)
