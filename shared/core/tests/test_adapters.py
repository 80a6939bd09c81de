"""Folders with an adapter of peft open by name, and give the numbers of peft and transformers."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from qwen3_rag import MissingExtraError, ModelError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.integration import resolve_checkpoint
from qwen3_rag_testkit.checkpoints import write_checkpoint

peft = pytest.importorskip("peft", reason="makes the adapters")

# peft asks transformers 5.23 for a name that it is about to drop, and warns about tied weights.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning", "ignore:.*:UserWarning:peft"
)

TEXTS = ["Paris is the capital of France.", "a roof", "x", ""]
QUERIES = ["capital of France?", "roof"]
PAIRS = [(query, text) for query in QUERIES for text in TEXTS]

SIDES = ("one", "two")

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("bases") / "embedding", "embedding")


@pytest.fixture(scope="module")
def reranking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("bases") / "reranking", "reranking")


def adapt(base: Path, folder: Path, config: Any, kind: Any = AutoModel, **options: Any) -> Any:
    """Put an adapter with random weights on a base model and save it; return the adapted model."""
    torch.manual_seed(3)
    model = kind.from_pretrained(base, dtype=torch.float32, **options)
    adapted = peft.get_peft_model(model, config).eval()
    for _, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            noise = torch.randn_like(parameter)
            parameter.data = parameter.data + 0.1 * noise if parameter.any() else 0.1 * noise
    adapted.save_pretrained(folder)
    return adapted


def vectors(model: Qwen3Embedder) -> np.ndarray:
    with model:
        return np.concatenate([model.embed_queries(QUERIES), model.embed_documents(TEXTS)])


def logits(model: Qwen3Reranker) -> np.ndarray:
    with model:
        return np.array(model.score(PAIRS, details=True).logits)


def embedder(folder: Path) -> np.ndarray:
    return vectors(Qwen3Embedder(folder, device="cpu", dtype="float32"))


def reranker(folder: Path) -> np.ndarray:
    return logits(Qwen3Reranker(folder, device="cpu", dtype="float32"))


def assert_same_vectors(ours: np.ndarray, right: np.ndarray) -> None:
    assert (ours * right).sum(axis=1).min() > 0.99999


EMBEDDING = {
    "every layer": (peft.LoraConfig(r=4, target_modules=LINEAR), AutoModel),
    "rank-stabilised, two matrices": (
        peft.LoraConfig(r=2, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "v_proj"]),
        AutoModel,
    ),
    "DoRA": (peft.LoraConfig(r=4, use_dora=True, target_modules=LINEAR), AutoModel),
    "LoHa": (peft.LoHaConfig(r=4, target_modules=LINEAR), AutoModel),
    "VeRA, whose layers share two matrices": (
        peft.VeraConfig(r=4, target_modules=["q_proj"]),
        AutoModel,
    ),
    "input table": (peft.LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"]), AutoModel),
    "task of a feature extractor": (
        peft.LoraConfig(r=4, target_modules=LINEAR, task_type="FEATURE_EXTRACTION"),
        AutoModel,
    ),
    "made with a head around it": (
        peft.LoraConfig(r=4, target_modules=LINEAR, task_type="CAUSAL_LM"),
        AutoModelForCausalLM,
    ),
}


@pytest.mark.parametrize("kind", EMBEDDING)
def test_embedder_equals_peft(kind: str, embedding: Path, tmp_path: Path) -> None:
    config, auto = EMBEDDING[kind]
    adapted = adapt(embedding, tmp_path, config, auto)
    trunk = adapted.get_base_model()
    tokenizer = AutoTokenizer.from_pretrained(embedding)

    ours = embedder(tmp_path)

    right = vectors(Qwen3Embedder.from_model(getattr(trunk, "model", trunk), tokenizer))
    assert_same_vectors(ours, right)
    assert (ours * embedder(embedding)).sum(axis=1).min() < 0.999  # the adapter changes something


RERANKING = {
    "every layer": peft.LoraConfig(r=4, target_modules=LINEAR, task_type="CAUSAL_LM"),
    "head too": peft.LoraConfig(r=4, target_modules=["q_proj", "lm_head"]),
    "head replaced": peft.LoraConfig(r=4, target_modules=LINEAR, modules_to_save=["lm_head"]),
    "input table": peft.LoraConfig(r=4, target_modules=["embed_tokens", "v_proj"]),
}


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside its base's weights"])
@pytest.mark.parametrize("tied", [False, True], ids=["own head", "tied head"])
@pytest.mark.parametrize("kind", RERANKING)
def test_reranker_equals_peft(kind: str, tied: bool, beside: bool, tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", "reranking", config={"tie_word_embeddings": tied})
    folder = tmp_path / "adapter"
    adapted = adapt(base, folder, RERANKING[kind], AutoModelForCausalLM)
    if beside:
        for file in base.glob("*.*"):
            shutil.copy(file, folder)
        shutil.copytree(base / "1_LogitScore", folder / "1_LogitScore")

    ours = reranker(folder)

    tokenizer = AutoTokenizer.from_pretrained(base)
    right = logits(Qwen3Reranker.from_model(adapted, tokenizer))
    np.testing.assert_allclose(ours, right, atol=1e-4)
    assert abs(ours - reranker(base)).max() > 0.01


def test_classification_head_is_the_adapters(reranking: Path, tmp_path: Path) -> None:
    config = peft.LoraConfig(r=4, target_modules=LINEAR, task_type="SEQ_CLS")
    auto = AutoModelForSequenceClassification
    adapted = adapt(reranking, tmp_path, config, auto, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(reranking)

    ours = reranker(tmp_path)

    merged = adapted.merge_and_unload()
    np.testing.assert_allclose(ours, logits(Qwen3Reranker.from_model(merged, tokenizer)), atol=1e-4)


def test_adapter_on_an_adapter(embedding: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    config = peft.LoraConfig(r=4, target_modules=LINEAR)
    whole = adapt(embedding, first, config).merge_and_unload()
    whole.save_pretrained(tmp_path / "whole")
    shutil.copy(embedding / "tokenizer.json", tmp_path / "whole")
    adapt(tmp_path / "whole", second, config)
    settings = json.loads((second / "adapter_config.json").read_text())
    right = embedder(second)

    settings["base_model_name_or_path"] = str(first)
    (second / "adapter_config.json").write_text(json.dumps(settings))

    assert_same_vectors(embedder(second), right)


@pytest.mark.parametrize("with_base", [False, True])
def test_adapter_in_the_folder_of_the_transformer(
    with_base: bool, embedding: Path, tmp_path: Path
) -> None:
    peer = adapt(embedding, tmp_path / "peer", EMBEDDING["every layer"][0]).merge_and_unload()
    folder = Path(shutil.copytree(embedding, tmp_path / "folder"))
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        if with_base or name.startswith("tokenizer"):
            shutil.copy(folder / name, inner)
        (folder / name).unlink()
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = inner.name
    (folder / "modules.json").write_text(json.dumps(modules))
    for file in (tmp_path / "peer").glob("adapter_*"):
        shutil.copy(file, inner)
    before = resolve_checkpoint(str(folder), "embedding").fingerprint

    right = vectors(Qwen3Embedder.from_model(peer, AutoTokenizer.from_pretrained(embedding)))
    assert_same_vectors(embedder(folder), right)

    weights = inner / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert resolve_checkpoint(str(folder), "embedding").fingerprint != before


def test_adapter_of_tiny_is_found_by_its_name(tmp_path: Path) -> None:
    tiny = pytest.importorskip("qwen3_rag_tiny", reason="the base model")
    config = peft.LoraConfig(r=4, target_modules=LINEAR)
    adapt(tiny.embedding_folder(), tmp_path, config)
    right = embedder(tmp_path)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())

    settings["base_model_name_or_path"] = "tiny"
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))

    np.testing.assert_array_equal(embedder(tmp_path), right)


def test_tokens_that_the_adapter_adds_are_read(embedding: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedding)
    tokenizer.add_tokens(["<|unit|>", "zugspitze"])
    model = AutoModel.from_pretrained(embedding, dtype=torch.float32)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    config = peft.LoraConfig(r=4, target_modules=["v_proj"], modules_to_save=["embed_tokens"])
    adapted = peft.get_peft_model(model, config).eval()
    adapted.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    ours = embedder(tmp_path)

    right = vectors(Qwen3Embedder.from_model(adapted.get_base_model(), tokenizer))
    assert_same_vectors(ours, right)


def test_bfloat16_is_near(embedding: Path, tmp_path: Path) -> None:
    adapt(embedding, tmp_path, peft.LoraConfig(r=4, target_modules=LINEAR))

    near = vectors(Qwen3Embedder(tmp_path, device="cpu", dtype="bfloat16"))

    assert (near * embedder(tmp_path)).sum(axis=1).min() > 0.97


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("adapter_config.json", lambda text: text.replace('"lora_alpha": 8', '"lora_alpha": 80')),
        ("adapter_model.safetensors", None),
    ],
)
def test_two_adapters_never_share_a_model(
    name: str, change: Any, embedding: Path, tmp_path: Path
) -> None:
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=LINEAR)
    adapt(embedding, tmp_path / "one", config)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    file = tmp_path / "two" / name
    if change:
        file.write_text(change(file.read_text()))
    else:
        content = bytearray(file.read_bytes())
        content[-2] ^= 0x40
        file.write_bytes(content)
    prints = {resolve_checkpoint(str(tmp_path / side), "embedding").fingerprint for side in SIDES}
    assert len(prints) == 2
    one, two = (Qwen3Embedder(tmp_path / side, device="cpu") for side in SIDES)

    with one, two:
        # Exactly equal if they shared one; one bit of an adapter changes a vector by little.
        assert not np.array_equal(one.embed_documents(TEXTS), two.embed_documents(TEXTS))


def test_prompt_tuning_is_refused(reranking: Path, tmp_path: Path) -> None:
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    adapt(reranking, tmp_path, config, AutoModelForCausalLM)

    with pytest.raises(ModelError, match=r"virtual tokens.*Only adapters on the weights"):
        reranker(tmp_path)


@pytest.fixture
def adapter(embedding: Path, tmp_path: Path) -> Path:
    adapt(embedding, tmp_path / "adapter", peft.LoraConfig(r=4, target_modules=LINEAR))
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("/nowhere/base", "is an adapter, and its base model cannot be opened: There is no folder"),
        ("", "names the base model ''. Enter the id or folder"),
        (None, "names the base model None. Enter the id or folder"),
        ("itself", "Enter the id or folder of the model that was adapted"),
    ],
)
def test_base_model_that_cannot_be_found(base: str | None, message: str, adapter: Path) -> None:
    settings = json.loads((adapter / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(adapter) if base == "itself" else base
    (adapter / "adapter_config.json").write_text(json.dumps(settings))

    with pytest.raises(ModelError, match=message):
        embedder(adapter)


def test_adapter_without_weights_or_with_half_of_them(adapter: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor for name, tensor in tensors.items() if "layers.1" not in name}, file)
    with pytest.raises(ModelError, match=r"lacks: base_model.model.layers.1\."):
        embedder(adapter)
    save_file(
        {**tensors, "base_model.model.layers.9.mlp.up_proj.lora_A.weight": torch.ones(4, 4)}, file
    )
    with pytest.raises(ModelError, match=r"for a part that the model lacks: .*layers\.9"):
        embedder(adapter)
    file.unlink()
    with pytest.raises(ModelError, match=r"and no adapter_model\.safetensors"):
        embedder(adapter)


def test_adapter_of_another_size(adapter: Path, tmp_path: Path) -> None:
    settings = json.loads((adapter / "adapter_config.json").read_text())
    wide = write_checkpoint(tmp_path / "wide", "embedding", config={"hidden_size": 96})
    settings["base_model_name_or_path"] = str(wide)
    (adapter / "adapter_config.json").write_text(json.dumps(settings))

    with pytest.raises(ModelError, match="has in another shape"):
        embedder(adapter)


def test_without_peft_the_extra_is_named(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "peft" else there(name)
    )

    with pytest.raises(MissingExtraError, match=r"qwen3-rag\[peft\]"):
        embedder(adapter)
