"""Models that the caller loaded: the checks of a folder, heads of every kind, and other objects."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from qwen3_rag import InputTypeError, ModelError, Qwen3Embedder, Qwen3RagError, Qwen3Reranker
from qwen3_rag_testkit.checkpoints import write_checkpoint
from qwen3_rag_testkit.reference import reference_logits, reference_vectors

DOCUMENTS = ["Berlin is the capital of Germany.", "Rice needs water.", "x"]
PAIRS = [("capital of germany", document) for document in DOCUMENTS]

# ------------------------------------------------------------------ other architectures


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"is_causal": False}, "built on Qwen3 but changes it"),
        ({"hidden_act": "gelu"}, "activation 'gelu'"),
        ({"use_sliding_window": True, "sliding_window": 8}, "sliding-window attention"),
        (
            {"layer_types": ["sliding_attention", *["full_attention"] * 3], "sliding_window": 8},
            "sliding-window attention",
        ),
    ],
)
@pytest.mark.parametrize("role", ["embedding", "reranking"])
def test_what_a_folder_refuses_is_refused(
    role: str,
    settings: dict[str, Any],
    message: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(request.getfixturevalue(f"{role}_folder"), tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    loaded = AutoModel if role == "embedding" else AutoModelForCausalLM
    kind: Any = Qwen3Embedder if role == "embedding" else Qwen3Reranker

    for opened in (
        kind(str(folder), device="cpu"),
        kind.from_model(loaded.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)),
    ):
        with opened, pytest.raises(ModelError, match=message):
            opened.warm_up()


def test_layers_made_bidirectional_are_refused(embedding_folder: Path) -> None:
    model = AutoModel.from_pretrained(embedding_folder)
    for layer in model.layers:
        layer.self_attn.is_causal = False

    with pytest.raises(ModelError, match="attend to later tokens"):
        Qwen3Embedder.from_model(model, AutoTokenizer.from_pretrained(embedding_folder)).warm_up()


# ------------------------------------------------------------------ heads


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "classifier", "reranking", classifier=True)


def scores(model: Any, folder: Path) -> Any:
    with Qwen3Reranker.from_model(model, AutoTokenizer.from_pretrained(folder)) as reranker:
        return reranker.score(PAIRS, details=True).logits


def test_classifier_scores_as_its_folder_does(classifier: Path, reranking_folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(classifier, dtype=torch.float32)

    got = scores(model, classifier)

    np.testing.assert_allclose(got, reference_logits(reranking_folder, PAIRS), atol=1e-4)


def test_classifier_in_bfloat16_scores_without_ties(classifier: Path) -> None:
    # The logits of these documents are closer than bfloat16 can tell.
    model = AutoModelForSequenceClassification.from_pretrained(classifier, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(classifier)

    with Qwen3Reranker.from_model(model, tokenizer) as reranker:
        got = reranker.score([("q", f"text {i}") for i in range(20)], details=True).logits

    rounded = torch.tensor(np.array(got)).to(torch.bfloat16).float().numpy()
    assert (rounded != got).any()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's own
def test_adapter_on_a_classifiers_head_counts(classifier: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = AutoModelForSequenceClassification.from_pretrained(classifier, dtype=torch.float32)
    lora = peft.LoraConfig(r=4, target_modules=["score"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, lora).eval()

    got = scores(adapted, classifier)
    merged = adapted.merge_and_unload()

    np.testing.assert_allclose(got, scores(merged, classifier), atol=1e-4)


def test_classifier_of_other_labels_is_refused(classifier: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        classifier, num_labels=3, ignore_mismatched_sizes=True
    )

    with pytest.raises(ModelError, match=r"has 3 labels.*named 'no' and 'yes'"):
        scores(model, classifier)


# ------------------------------------------------------------------ sentence-transformers' objects


@pytest.fixture
def sentence_transformers() -> Any:
    return pytest.importorskip("sentence_transformers", minversion="6.2")


def advice(error: pytest.ExceptionInfo[Qwen3RagError]) -> str:
    """Return the line of code in a message."""
    line = str(error.value).partition("Give the model inside: ")[2]
    return line.partition(". Its prompts")[0]


def test_sentence_transformer_is_answered_with_a_line_that_works(
    embedding_folder: Path, sentence_transformers: Any
) -> None:
    model = sentence_transformers.SentenceTransformer(
        str(embedding_folder), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    with pytest.raises(InputTypeError, match="got a SentenceTransformer") as error:
        Qwen3Embedder.from_model(model, model.tokenizer).warm_up()

    with eval(advice(error), {"Qwen3Embedder": Qwen3Embedder, "model": model}) as embedder:
        got = embedder.embed_documents(DOCUMENTS)

    assert (got * reference_vectors(embedding_folder, DOCUMENTS)).sum(axis=1).min() > 0.99999


def test_cross_encoder_is_answered_with_a_line_that_works(
    reranking_folder: Path, sentence_transformers: Any
) -> None:
    model = sentence_transformers.CrossEncoder(
        str(reranking_folder), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    with pytest.raises(InputTypeError, match="got a CrossEncoder") as error:
        Qwen3Reranker.from_model(model, model.tokenizer).warm_up()

    with eval(advice(error), {"Qwen3Reranker": Qwen3Reranker, "model": model}) as reranker:
        got = reranker.score(PAIRS, details=True).logits

    np.testing.assert_allclose(got, reference_logits(reranking_folder, PAIRS), atol=1e-4)


@pytest.mark.parametrize("change", ["mean pooling", "dense layer"])
def test_sentence_transformer_that_does_more_is_refused(
    change: str, embedding_folder: Path, sentence_transformers: Any, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(embedding_folder, tmp_path / "copy"))
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    if change == "mean pooling":
        model[1].pooling_mode = "mean"
    else:
        from sentence_transformers.sentence_transformer.modules import Dense

        model.append(Dense(64, 32))

    with pytest.raises(ModelError, match="Use sentence-transformers for it"):
        Qwen3Embedder.from_model(model, model.tokenizer).warm_up()


# ------------------------------------------------------------------ fingerprints


def adapted(folder: Path, *, alpha: int = 8) -> Any:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    settings = {"target_modules": ["q_proj"], "r": 4, "init_lora_weights": False}
    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    model = peft.get_peft_model(model, peft.LoraConfig(lora_alpha=alpha, **settings))
    model.add_adapter("other", peft.LoraConfig(lora_alpha=8, **settings))
    return model.eval()


def one_row_changed(folder: Path) -> Any:
    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    model.embed_tokens.weight.data[-1, -1] += 1e-3
    return model


def other_rope(folder: Path) -> Any:
    copy = Path(shutil.copytree(folder, folder.parent / "other_rope", dirs_exist_ok=True))
    config = json.loads((copy / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 10_000.0
    (copy / "config.json").write_text(json.dumps(config))
    return AutoModel.from_pretrained(copy, dtype=torch.float32)


def other_adapter(folder: Path) -> Any:
    model = adapted(folder)
    model.set_adapter("other")
    return model.eval()


def without_adapter(folder: Path) -> Any:
    model = adapted(folder)
    model.base_model.disable_adapter_layers()
    return model


def plain(folder: Path) -> Any:
    return AutoModel.from_pretrained(folder, dtype=torch.float32)


def fingerprint_of(model: Any, tokenizer: Any) -> str:
    with Qwen3Embedder.from_model(model, tokenizer) as embedder:
        return embedder.warm_up().fingerprint


# peft asks transformers 5.23 for a name that it is about to drop.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (plain, one_row_changed),
        (plain, other_rope),
        (adapted, lambda folder: adapted(folder, alpha=9)),
        (adapted, other_adapter),
        (adapted, without_adapter),
    ],
    ids=["one number", "rope", "an adapter's scale", "the active adapter", "no adapter"],
)
def test_models_with_other_numbers_have_other_fingerprints(
    one: Any, other: Any, embedding_folder: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedding_folder)

    assert fingerprint_of(one(embedding_folder), tokenizer) != fingerprint_of(
        other(embedding_folder), tokenizer
    )


def test_another_end_token_gives_another_fingerprint(
    embedding_folder: Path, tmp_path: Path
) -> None:
    definition = json.loads((embedding_folder / "tokenizer.json").read_text())
    ids = {token["content"]: token["id"] for token in definition["added_tokens"]}
    end = json.dumps(definition["post_processor"]).replace("<|endoftext|>", "<|im_end|>")
    end = end.replace(str(ids["<|endoftext|>"]), str(ids["<|im_end|>"]))
    definition["post_processor"] = json.loads(end)
    model = plain(embedding_folder)

    changed, published = (
        fingerprint_of(model, Tokenizer.from_str(text))
        for text in (json.dumps(definition), (embedding_folder / "tokenizer.json").read_text())
    )

    assert changed != published


def test_fingerprint_is_that_of_the_model_not_of_how_it_was_used(embedding_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedding_folder)
    fresh = fingerprint_of(plain(embedding_folder), tokenizer)
    tokenizer(["a", "b c d"], padding=True, truncation=True, max_length=8)
    model = plain(embedding_folder).train()
    model.config.transformers_version = "4.51.0"
    model.config.use_cache = False

    assert fingerprint_of(model, tokenizer) == fresh
