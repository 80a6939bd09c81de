"""Adapters (LoRA): what is trained, how it resumes, and that every program reads the result."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.errors import InputError, MissingExtraError
from qwen3_rag_testkit.checkpoints import write_checkpoint
from qwen3_rag_training import (
    EmbeddingTraining,
    LoRA,
    RerankingTraining,
    Schedule,
    TrainedRun,
    train_embedder,
    train_reranker,
)
from qwen3_rag_training.loop import LOG, STATE

pytest.importorskip("peft", reason="adapters need peft")

SCHEDULE = Schedule(steps=8, batch_size=8, learning_rate=5e-3, log_every=1, save_every=3)
LORA = LoRA(rank=4, alpha=8)
TEXTS = ["what about rivers 2", "All about rivers, number 2 of them.", "Nothing but pepper."]


def run(role: str, model: Path, data: Path, output: Path, **more: Any) -> TrainedRun:
    stop_after = more.pop("stop_after", None)
    settings: dict[str, Any] = {"schedule": SCHEDULE, "lora": LORA, "negatives": 1, **more}
    settings |= {"model": model, "data": data, "output": output}
    if role == "embedding":
        return train_embedder(EmbeddingTraining(**settings), stop_after=stop_after)
    return train_reranker(RerankingTraining(**settings), stop_after=stop_after)


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def numbers_of(model: Qwen3Embedder | Qwen3Reranker) -> np.ndarray:
    with model:
        if isinstance(model, Qwen3Embedder):
            return np.concatenate([model.embed_queries(TEXTS), model.embed_documents(TEXTS)])
        pairs = [(query, text) for query in TEXTS for text in TEXTS]
        return np.array(model.score(pairs, details=True).logits)


def here(role: str, folder: Path) -> np.ndarray:
    kind: Any = Qwen3Embedder if role == "embedding" else Qwen3Reranker
    return numbers_of(kind(folder, device="cpu", dtype="float32"))


def with_peft(role: str, folder: Path) -> np.ndarray:
    """Open an adapter with peft and transformers, and hand the model over."""
    kind: Any = AutoModel if role == "embedding" else AutoModelForCausalLM
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ours: Any = Qwen3Embedder if role == "embedding" else Qwen3Reranker
    return numbers_of(ours.from_model(model, tokenizer))


def sentence_transformers_(role: str, folder: Path) -> np.ndarray:
    library = pytest.importorskip("sentence_transformers", reason="compares with it")
    options: Any = {"device": "cpu", "model_kwargs": {"dtype": torch.float32}}
    if role == "embedding":
        model = library.SentenceTransformer(str(folder), **options)
        queries = model.encode(TEXTS, prompt_name="query")
        return np.concatenate([queries, model.encode(TEXTS)])
    encoder = library.CrossEncoder(str(folder), **options)
    return np.array(encoder.predict([(query, text) for query in TEXTS for text in TEXTS]))


def assert_same(role: str, left: np.ndarray, right: np.ndarray) -> None:
    if role == "embedding":
        assert (left * right).sum(axis=1).min() > 0.99999
    np.testing.assert_allclose(left, right, atol=1e-4)


@pytest.mark.parametrize("role", ["embedding", "reranking"])
def test_only_the_adapter_is_trained_and_saved(
    role: str, checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    long = dataclasses.replace(SCHEDULE, steps=40, warmup=0.05)

    result = run(role, checkpoints[role], data, tmp_path, schedule=long)

    seen = losses(result.folder)
    assert sum(seen[-5:]) < 0.8 * sum(seen[:5])
    assert [file.name for file in tmp_path.rglob("*.safetensors")] == ["adapter_model.safetensors"]
    state = torch.load(tmp_path / STATE, weights_only=True)
    adapter = sum(
        tensor.numel() for tensor in load_file(tmp_path / "adapter_model.safetensors").values()
    )
    assert sum(tensor.numel() for tensor in state["model"].values()) == adapter
    moments = [moment["exp_avg"].numel() for moment in state["optimiser"]["state"].values()]
    assert sum(moments) == adapter


@pytest.mark.parametrize("role", ["embedding", "reranking"])
@pytest.mark.parametrize("stopped_at", [3, 5])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_resumed_run_gives_the_result_of_an_uninterrupted_one(
    role: str,
    stopped_at: int,
    dropout: float,
    checkpoints: dict[str, Path],
    data: Path,
    tmp_path: Path,
) -> None:
    lora = dataclasses.replace(LORA, dropout=dropout)
    whole = run(role, checkpoints[role], data, tmp_path / "whole", lora=lora)

    run(role, checkpoints[role], data, tmp_path / "broken", lora=lora, stop_after=stopped_at)
    torch.manual_seed(stopped_at)  # another process has other random numbers
    resumed = run(role, checkpoints[role], data, tmp_path / "broken", lora=lora)

    assert resumed.loss == pytest.approx(whole.loss, abs=1e-6)
    assert losses(resumed.folder) == pytest.approx(losses(whole.folder), abs=1e-6)
    left, right = (
        load_file(folder / "adapter_model.safetensors") for folder in (whole.folder, resumed.folder)
    )
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        torch.testing.assert_close(right[name], tensor, atol=1e-6, rtol=0)


def test_dropout_takes_part(checkpoints: dict[str, Path], data: Path, tmp_path: Path) -> None:
    dropped = dataclasses.replace(LORA, dropout=0.3)

    plain = run("embedding", checkpoints["embedding"], data, tmp_path / "a")
    other = run("embedding", checkpoints["embedding"], data, tmp_path / "b", lora=dropped)

    assert plain.loss != other.loss


@pytest.mark.parametrize("role", ["embedding", "reranking"])
@pytest.mark.parametrize("size", ["tied", "untied"])
def test_adapter_scores_the_same_merged_and_in_sentence_transformers(
    role: Any, size: str, data: Path, tmp_path: Path
) -> None:
    base = write_checkpoint(tmp_path / "base", role, config={"tie_word_embeddings": size == "tied"})

    adapter = run(role, base, data, tmp_path / "adapter").folder
    merged = run(
        role, base, data, tmp_path / "merged", lora=dataclasses.replace(LORA, merged=True)
    ).folder

    numbers = here(role, merged)
    assert np.abs(numbers - here(role, base)).max() > 0.05, "nothing was learned"
    assert_same(role, numbers, sentence_transformers_(role, merged))
    assert_same(role, numbers, sentence_transformers_(role, adapter))
    assert_same(role, numbers, with_peft(role, adapter))


@pytest.mark.parametrize("role", ["embedding", "reranking"])
def test_adapter_folder_opens_in_the_classes(
    role: Any, checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    adapter = run(role, checkpoints[role], data, tmp_path).folder

    assert_same(role, here(role, adapter), with_peft(role, adapter))


def test_finished_run_can_be_saved_in_the_other_form(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    base = checkpoints["embedding"]
    merged = dataclasses.replace(LORA, merged=True)
    whole = run("embedding", base, data, tmp_path / "whole", lora=merged)
    weights = (whole.folder / "model.safetensors").read_bytes()
    run("embedding", base, data, tmp_path / "again")

    again = run("embedding", base, data, tmp_path / "again", lora=merged)

    assert (again.folder / "model.safetensors").read_bytes() == weights
    assert not list(again.folder.glob("adapter_*"))
    back = run("embedding", base, data, tmp_path / "again")
    assert not (back.folder / "model.safetensors").exists()


def test_adapter_names_its_base(checkpoints: dict[str, Path], data: Path, tmp_path: Path) -> None:
    lora = LoRA(rank=2, alpha=3, targets=("v_proj", "q_proj"))

    run("embedding", checkpoints["embedding"], data, tmp_path, lora=lora)

    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(checkpoints["embedding"].resolve())
    assert (config["r"], config["lora_alpha"]) == (2, 3)
    assert config["target_modules"] == ["q_proj", "v_proj"]
    with safe_open(tmp_path / "adapter_model.safetensors", framework="pt") as file:
        assert {name.split(".")[-3] for name in file.keys()} == {"q_proj", "v_proj"}  # noqa: SIM118


def test_adapter_of_bfloat16_weights_is_trained_in_float32(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    run("embedding", checkpoints["embedding"], data, tmp_path, dtype="bfloat16")

    tensors = load_file(tmp_path / "adapter_model.safetensors").values()
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


def test_state_of_other_weights_is_an_error(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    run("embedding", checkpoints["embedding"], data, tmp_path, stop_after=2)
    config = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}
    other = write_checkpoint(tmp_path / "other", "embedding", config=config)

    with pytest.raises(InputError, match="belongs to a run with other settings"):
        run("embedding", other, data, tmp_path)


def test_without_peft_the_extra_is_named(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)

    with pytest.raises(MissingExtraError, match=r"qwen3-rag\[peft\]"):
        run("embedding", checkpoints["embedding"], data, tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"alpha": 0},
        {"alpha": float("nan")},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"targets": ()},
        {"targets": ("q_proj", "lm_head")},
        {"targets": ("query",)},
    ],
)
def test_invalid_settings_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"`{next(iter(wrong))}`"):
        LoRA(**wrong)
