"""Two folders that differ in anything that is loaded never share a fingerprint or a model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from qwen3_rag import ModelError, Qwen3Embedder
from qwen3_rag.integration import resolve_checkpoint

MakeCheckpoint = Callable[..., Path]


@pytest.fixture(scope="module")
def whole(make_checkpoint: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in two files, one in a folder of its own, with an adapter beside it."""
    pytest.importorskip("peft", reason="adapters need peft")
    folder = tmp_path_factory.mktemp("identity") / "whole"
    shutil.copytree(make_checkpoint("embedding"), folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "sub").mkdir()
    layers = {name: value for name, value in tensors.items() if name.startswith("layers.")}
    others = {name: value for name, value in tensors.items() if name not in layers}
    save_file(layers, folder / "sub" / "layers.safetensors", {"format": "pt"})
    save_file(others, folder / "others.safetensors", {"format": "pt"})
    index = dict.fromkeys(layers, "sub/layers.safetensors")
    index |= dict.fromkeys(others, "others.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4}))
    adapter = {"base_model.model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(4, 64)}
    save_file(adapter, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')
    return folder


READ = [
    *("config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json"),
    *("config_sentence_transformers.json", "sentence_bert_config.json", "tokenizer_config.json"),
    *("sub/layers.safetensors", "others.safetensors"),
    *("adapter_config.json", "adapter_model.safetensors"),
]


def identity(folder: Path) -> str:
    """The fingerprint, or the message of the refusal."""
    try:
        return resolve_checkpoint(str(folder), "embedding").fingerprint
    except ModelError as error:
        return str(error)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(READ), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_copy_with_one_bit_changed_has_another_fingerprint(
    tmp_path_factory: pytest.TempPathFactory, whole: Path, name: str, where: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("copy") / "copy"
    shutil.copytree(whole, folder)
    assert identity(folder) == identity(whole)
    content = bytearray((folder / name).read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    (folder / name).write_bytes(content)

    assert identity(folder) != identity(whole)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", READ)
def test_a_copy_without_one_file_has_another_fingerprint(
    tmp_path: Path, whole: Path, name: str
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "copy"))
    (folder / name).unlink()

    assert identity(folder) != identity(whole)


def test_what_moves_from_one_file_to_the_next_is_noticed(tmp_path: Path, whole: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "copy"))
    first, second = (
        folder / "config_sentence_transformers.json",
        folder / "sentence_bert_config.json",
    )
    contents = first.read_text(), second.read_text()
    first.write_text(contents[0] + " ")
    before = identity(folder)
    first.write_text(contents[0])
    second.write_text(" " + contents[1])

    assert identity(folder) != before


def test_files_that_are_not_loaded_change_nothing(tmp_path: Path, whole: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "copy"))
    (folder / "README.md").write_text("other words")
    (folder / "optimizer.safetensors").write_bytes(b"")
    (folder / "generation_config.json").write_text("{}")

    assert identity(folder) == identity(whole)


def test_one_number_of_a_large_tensor_makes_another_model(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    # The fingerprint takes samples of large tensors and can miss it; two models must not.
    sizes: dict[str, Any] = {"hidden_size": 512, "intermediate_size": 2048}
    big = make_checkpoint("embedding", config=sizes)
    folder = Path(shutil.copytree(big, tmp_path / "copy"))
    tensors = load_file(folder / "model.safetensors")
    weight = tensors["layers.3.mlp.down_proj.weight"]
    assert weight.nbytes > 2**20
    weight[100] *= 50
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert identity(folder) == identity(big)

    with (
        Qwen3Embedder(str(big), dtype="float32", device="cpu") as first,
        Qwen3Embedder(str(folder), dtype="float32", device="cpu") as second,
    ):
        vectors = first.embed_documents(["a text"]), second.embed_documents(["a text"])
        assert float((vectors[0] * vectors[1]).sum()) < 0.999


def test_weights_replaced_in_place_are_loaded_anew(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(make_checkpoint("embedding"), tmp_path / "copy"))
    other = make_checkpoint("embedding", seed=1)

    with Qwen3Embedder(str(folder), dtype="float32", device="cpu") as first:
        before = first.embed_documents(["a text"])
        shutil.copy(other / "model.safetensors", folder / "new.safetensors")
        (folder / "new.safetensors").replace(folder / "model.safetensors")
        with (
            Qwen3Embedder(str(folder), dtype="float32", device="cpu") as second,
            Qwen3Embedder(str(other), dtype="float32", device="cpu") as expected,
        ):
            after = second.embed_documents(["a text"])
            assert (after == expected.embed_documents(["a text"])).all()
        assert (first.embed_documents(["a text"]) == before).all()
