"""What training starts from: whole checkpoints of its own role, whose words it keeps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Role
from qwen3_rag.errors import InputError, ModelError
from qwen3_rag.integration import resolve_checkpoint, trainable_model
from qwen3_rag_testkit.checkpoints import write_checkpoint
from qwen3_rag_training import (
    EmbeddingTraining,
    LoRA,
    RerankingTraining,
    Schedule,
    train_embedder,
    train_reranker,
)
from qwen3_rag_training.inputs import Inputs

SCHEDULE = Schedule(steps=2, batch_size=4, learning_rate=1e-3)


def run(role: str, model: Path | str, data: Path, output: Path, lora: LoRA | None = None) -> Path:
    settings: dict[str, Any] = {"model": model, "data": data, "output": output, "lora": lora}
    if role == "embedding":
        return train_embedder(EmbeddingTraining(schedule=SCHEDULE, **settings)).folder
    return train_reranker(RerankingTraining(schedule=SCHEDULE, **settings)).folder


def change(file: Path, **more: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def rename_weights(folder: Path, name: Callable[[str], str | None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    renamed = {new: tensor for old, tensor in tensors.items() if (new := name(old))}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})


RENAMINGS: dict[str, Callable[[str], str | None]] = {
    "a trainer's prefix": lambda name: f"_orig_mod.{name}",
    "another trainer's prefix": lambda name: f"base_model.model.{name}",
    "a missing layer": lambda name: None if "layers.1." in name else name,
    "a missing norm": lambda name: None if name.endswith("k_norm.weight") else name,
    "other names": lambda name: name.replace("mlp.", "feed_forward."),
}


@pytest.mark.parametrize("role", ["embedding", "reranking"])
@pytest.mark.parametrize("case", RENAMINGS)
def test_weights_that_do_not_match_are_not_trained(
    role: str, case: str, checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    start = Path(shutil.copytree(checkpoints[role], tmp_path / "start"))
    rename_weights(start, RENAMINGS[case])

    with pytest.raises(ModelError):
        run(role, start, data, tmp_path / "out")

    assert not list((tmp_path / "out").glob("*.safetensors"))


@pytest.mark.parametrize(
    "wrong", [{"num_hidden_layers": 3}, {"num_hidden_layers": 1}, {"intermediate_size": 96}]
)
def test_layers_that_do_not_match_are_not_trained(
    wrong: dict[str, Any], checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    start = Path(shutil.copytree(checkpoints["embedding"], tmp_path / "start"))
    change(start / "config.json", **wrong, layer_types=None)

    with pytest.raises(ModelError):
        run("embedding", start, data, tmp_path / "out")


def mean_pooling(folder: Path) -> None:
    change(
        folder / "1_Pooling/config.json",
        pooling_mode_lasttoken=False,
        pooling_mode_mean_tokens=True,
    )


def first_token(folder: Path) -> None:
    file = folder / "1_Pooling/config.json"
    file.write_text(json.dumps({"word_embedding_dimension": 32, "pooling_mode": "cls"}))


def bidirectional(folder: Path) -> None:
    change(folder / "config.json", is_causal=False)


def sliding_window(folder: Path) -> None:
    change(folder / "config.json", use_sliding_window=True)


def other_family(folder: Path) -> None:
    change(folder / "config.json", model_type="qwen2")


def dense_layer(folder: Path) -> None:
    file = folder / "modules.json"
    dense = {"idx": 9, "name": "9", "path": "9_Dense", "type": "sentence_transformers.models.Dense"}
    file.write_text(json.dumps([*json.loads(file.read_text()), dense]))


@pytest.mark.parametrize(
    "alter",
    [mean_pooling, first_token, bidirectional, sliding_window, other_family, dense_layer],
)
def test_what_the_classes_refuse_is_not_trained(
    alter: Callable[[Path], None], checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    start = Path(shutil.copytree(checkpoints["embedding"], tmp_path / "start"))
    alter(start)
    with pytest.raises(ModelError) as refused, Qwen3Embedder(start, device="cpu") as embedder:
        embedder.warm_up()

    with pytest.raises(ModelError) as found:
        run("embedding", start, data, tmp_path / "out")

    assert str(found.value) == str(refused.value)


@pytest.mark.parametrize("modules", [True, False])
@pytest.mark.parametrize("role", ["embedding", "reranking"])
def test_model_of_the_other_role_is_an_error(
    role: str, modules: bool, data: Path, tmp_path: Path
) -> None:
    other: Role = "reranking" if role == "embedding" else "embedding"
    start = write_checkpoint(tmp_path / "start", other, modules=modules)

    with pytest.raises(ModelError, match=r"is a reranker|is an embedding model|end token"):
        run(role, start, data, tmp_path / "out")


def test_embedding_tokenizer_without_end_token_is_an_error(data: Path, tmp_path: Path) -> None:
    start = write_checkpoint(tmp_path / "start", "embedding", append_end=False)

    with pytest.raises(ModelError, match="appends no end token"):
        run("embedding", start, data, tmp_path / "out")


def test_adapter_is_not_a_start(checkpoints: dict[str, Path], data: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="adapters need peft")
    adapter = run("embedding", checkpoints["embedding"], data, tmp_path / "adapter", LoRA(rank=2))
    beside = Path(shutil.copytree(checkpoints["embedding"], tmp_path / "beside"))
    shutil.copy(adapter / "adapter_config.json", beside)
    inner = tmp_path / "old layout" / "0_Transformer"
    shutil.copytree(adapter, inner)
    modules = json.loads((inner / "modules.json").read_text(encoding="utf-8"))
    modules[0]["path"] = inner.name
    (inner.parent / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    shutil.copytree(inner / "1_Pooling", inner.parent / "1_Pooling")

    for start in (adapter, beside, inner.parent):
        with pytest.raises(ModelError, match=r"is an adapter.*merge_and_unload"):
            run("embedding", start, data, tmp_path / "out")


@pytest.mark.parametrize("lora", [None, LoRA(), LoRA(merged=True)])
@pytest.mark.parametrize("method", ["fp8", "gptq", "awq", "compressed-tensors", "torchao"])
def test_quantised_weights_are_not_trained(
    method: str, lora: LoRA | None, checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    start = Path(shutil.copytree(checkpoints["embedding"], tmp_path / "start"))
    change(start / "config.json", quantization_config={"quant_method": method})

    with pytest.raises(ModelError, match=rf"is quantised \({method}\).*quantised from"):
        run("embedding", start, data, tmp_path / "out", lora)


@pytest.mark.parametrize(
    ("lora", "message"), [(None, r"Train an adapter"), (LoRA(merged=True), "without `merged`")]
)
def test_bitsandbytes_weights_take_an_unmerged_adapter_alone(
    lora: LoRA | None, message: str, checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    start = Path(shutil.copytree(checkpoints["embedding"], tmp_path / "start"))
    change(
        start / "config.json",
        quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True},
    )

    with pytest.raises(ModelError, match=message):
        run("embedding", start, data, tmp_path / "out", lora)


def test_output_must_not_be_the_start(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    start = Path(shutil.copytree(checkpoints["embedding"], tmp_path / "start"))

    with pytest.raises(InputError, match="is the checkpoint to start from"):
        run("embedding", start, data, tmp_path / "." / "start")


def test_untied_embedder_gets_no_head(data: Path, tmp_path: Path) -> None:
    start = write_checkpoint(tmp_path / "start", "embedding", config={"tie_word_embeddings": False})

    trained = run("embedding", start, data, tmp_path / "out")

    assert (
        load_file(trained / "model.safetensors").keys()
        == load_file(start / "model.safetensors").keys()
    )
    before, after = (json.loads((one / "config.json").read_text()) for one in (start, trained))
    assert after["architectures"] == before["architectures"]


def test_classifier_is_trained_through_its_own_head(data: Path, tmp_path: Path) -> None:
    start = write_checkpoint(tmp_path / "start", "reranking", classifier=True)
    before = load_file(start / "model.safetensors")["score.weight"]

    trained = run("reranking", start, data, tmp_path / "out")

    assert not torch.equal(load_file(trained / "model.safetensors")["score.weight"], before)
    with Qwen3Reranker(trained, device="cpu") as reranker:
        assert len(reranker.rank("rivers", ["All about rivers.", "No."])) == 2


def test_prompts_and_modules_of_the_start_are_kept(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    names = ["modules.json", "config_sentence_transformers.json", "1_Pooling/config.json"]
    start = Path(shutil.copytree(checkpoints["embedding"], tmp_path / "start"))
    change(start / names[1], truncate_dim=None, model_type="SentenceTransformer")

    trained = run("embedding", start, data, tmp_path / "out")

    for name in [*names, "tokenizer.json", "tokenizer_config.json"]:
        assert (trained / name).read_bytes() == (start / name).read_bytes()


@pytest.mark.parametrize("role", ["embedding", "reranking"])
def test_start_without_module_files_gets_those_of_the_published_layout(
    role: Role, checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    start = write_checkpoint(tmp_path / "start", role, modules=False)

    trained = run(role, start, data, tmp_path / "out")

    kinds = [
        [module["type"] for module in json.loads((folder / "modules.json").read_text())]
        for folder in (trained, checkpoints[role])
    ]
    assert kinds[0] == kinds[1]
    assert (trained / "chat_template.jinja").exists() == (role == "reranking")


def test_model_can_be_named(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("qwen3_rag_tiny", reason="the test names the tiny checkpoint")

    trained = run("embedding", "tiny", data, tmp_path / "out")

    with Qwen3Embedder(trained, device="cpu") as embedder:
        assert embedder.embed_documents(["rivers"]).shape == (1, 512)


# ------------------------------------------------------------------ the checkpoint's own words


@pytest.mark.parametrize(
    "prompts",
    [
        {"query": "Instruct: Find law\nQuery: ", "document": "- "},
        {"web_search_query": "Instruct: a\nQuery: ", "sts_query": "Instruct: b\nQuery: "},
        {"query": "query: ", "passage": "passage: "},
    ],
)
def test_texts_are_encoded_as_the_embedder_does(
    prompts: dict[str, str], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(checkpoints["embedding"], folder)
    change(folder / "config_sentence_transformers.json", prompts=prompts)
    start = trainable_model(resolve_checkpoint(str(folder), "embedding"), "embedding")
    inputs = Inputs(start)
    texts = ["about rivers", "All about marble."]

    with Qwen3Embedder(folder, dtype="float32", device="cpu") as embedder:
        expected = embedder.embed_queries(texts), embedder.embed_documents(texts)
    batches = inputs.queries(texts, [None, None], 64), inputs.documents(texts, 64)

    for batch, vectors in zip(batches, expected, strict=True):
        with torch.inference_mode():
            hidden = start.trunk(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state[
                torch.arange(2), batch.last
            ]
        found = torch.nn.functional.normalize(hidden, dim=1).numpy()
        np.testing.assert_allclose(found, vectors, atol=1e-5)


@pytest.mark.parametrize("instruction", ["Find law", "找法律"])
def test_pairs_have_the_rerankers_saved_instruction(
    instruction: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(checkpoints["reranking"], folder)
    settings = {"prompts": {"law": instruction}, "default_prompt_name": "law"}
    change(folder / "config_sentence_transformers.json", **settings)
    inputs = Inputs(trainable_model(resolve_checkpoint(str(folder), "reranking"), "reranking"))

    assert inputs.pair("a", "b", None).instruction == instruction
    assert inputs.pair("a", "b", "Find code").instruction == "Find code"


def test_a_checkpoint_of_the_old_layout_is_trained_into_the_new_one(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    peers = pytest.importorskip("sentence_transformers")
    folder, inner = tmp_path / "old", tmp_path / "old" / "0_Transformer"
    shutil.copytree(checkpoints["embedding"], folder)
    inner.mkdir()
    for file in folder.glob("*.*"):
        if file.name not in ("modules.json", "config_sentence_transformers.json"):
            file.rename(inner / file.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    change(folder / "config_sentence_transformers.json", prompts={"query": "query: "})

    trained = run("embedding", folder, data, tmp_path / "out")

    peer = peers.SentenceTransformer(str(trained), device="cpu")
    with Qwen3Embedder(trained, dtype="float32", device="cpu") as embedder:
        found = embedder.embed_queries(["about rivers"])
    np.testing.assert_allclose(found, peer.encode_query(["about rivers"]), atol=1e-5)
    assert not (trained / "0_Transformer").exists()
