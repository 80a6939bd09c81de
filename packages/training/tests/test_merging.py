"""SLERP against its closed form, and the merging of checkpoint files."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from qwen3_rag.errors import InputError, ModelError
from qwen3_rag_training.merging import Merging, merge, slerp


def closed_form(first: np.ndarray, second: np.ndarray, share: float) -> tuple[np.ndarray, float]:
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    angle = math.acos(cosine)
    left = math.sin((1 - share) * angle) / math.sin(angle)
    return left * first + math.sin(share * angle) / math.sin(angle) * second, angle


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_slerp_matches_the_closed_form(seed: int, share: float) -> None:
    first, second = np.random.default_rng(seed).standard_normal((2, 12))

    result, angle, linear = slerp(torch.from_numpy(first), torch.from_numpy(second), share)

    expected, expected_angle = closed_form(first, second, share)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12)
    assert angle == pytest.approx(expected_angle, rel=1e-12)
    assert not linear


def test_slerp_of_unit_vectors_stays_on_the_sphere() -> None:
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])

    result, angle, _ = slerp(first, second, 0.25)

    expected = torch.tensor([math.cos(math.pi / 8), math.sin(math.pi / 8)])
    torch.testing.assert_close(result, expected)
    assert angle == pytest.approx(math.pi / 2)


def test_parallel_tensors_are_interpolated_linearly() -> None:
    vector = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    result, angle, linear = slerp(vector, vector * 3, 0.25)

    torch.testing.assert_close(result, vector * 1.5)
    assert angle == pytest.approx(0.0, abs=1e-12)
    assert linear


def test_opposite_tensors_are_interpolated_linearly() -> None:
    vector = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    result, angle, linear = slerp(vector, -vector, 0.25)

    torch.testing.assert_close(result, vector * 0.5)
    assert angle == pytest.approx(math.pi)
    assert linear


def test_zero_tensor_is_interpolated_linearly() -> None:
    result, _, linear = slerp(torch.zeros(3), torch.ones(3), 0.25)

    torch.testing.assert_close(result, torch.full((3,), 0.25))
    assert linear


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_shares_zero_and_one_give_the_exact_tensors(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 7).to(dtype)

    assert torch.equal(slerp(first, second, 0.0)[0], first)
    assert torch.equal(slerp(first, second, 1.0)[0], second)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_slerp_of_equal_tensors_changes_nothing(share: float) -> None:
    torch.manual_seed(0)
    tensor = torch.randn(11).to(torch.bfloat16)

    assert torch.equal(slerp(tensor, tensor.clone(), share)[0], tensor)


def checkpoint(folder: Path, seed: int, *, dtype: torch.dtype = torch.bfloat16) -> Path:
    """Write two weight files and a config, not a runnable model."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    save_file(
        {"b": torch.randn(3, 4).to(dtype), "a": torch.randn(5).to(dtype)},
        folder / "model-00001-of-00002.safetensors",
        metadata={"format": "pt"},
    )
    save_file({"c": torch.randn(2, 2).to(dtype)}, folder / "model-00002-of-00002.safetensors")
    (folder / "config.json").write_text(json.dumps({"seed": seed}))
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def test_merge_interpolates_every_tensor_and_keeps_dtype(tmp_path: Path) -> None:
    one, two = checkpoint(tmp_path / "one", 1), checkpoint(tmp_path / "two", 2)

    report = merge(Merging(models=(one, two), output=tmp_path / "out", shares=(3.0, 1.0)))

    left, right, found = weights(one), weights(two), weights(tmp_path / "out")
    assert found.keys() == left.keys()
    for name, tensor in found.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, slerp(left[name], right[name], 0.25)[0])
    assert {entry.name for entry in report.tensors} == {"a", "b", "c"}
    assert all(0 < entry.angles[0] < math.pi for entry in report.tensors)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == {"seed": 1}


def test_merge_of_three_weights_them_equally(tmp_path: Path) -> None:
    folders = [checkpoint(tmp_path / str(n), n, dtype=torch.float32) for n in range(3)]

    merge(Merging(models=tuple(folders), output=tmp_path / "out"))

    parts = [weights(folder)["c"].double() for folder in folders]
    half, _, _ = slerp(parts[0], parts[1], 0.5)
    expected, _, _ = slerp(half, parts[2], 1 / 3)
    torch.testing.assert_close(weights(tmp_path / "out")["c"], expected.float())


def test_model_merged_with_itself_keeps_every_byte(tmp_path: Path) -> None:
    one = checkpoint(tmp_path / "one", 1)
    shutil.copytree(one, tmp_path / "same")

    report = merge(Merging(models=(one, tmp_path / "same"), output=tmp_path / "out"))

    for file in one.glob("*.safetensors"):
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()
    assert report.largest.angles == (0.0,)


def test_merged_checkpoint_loads_in_transformers(
    tmp_path: Path, checkpoints: dict[str, Path]
) -> None:
    source = checkpoints["embedding"]
    other = tmp_path / "other"
    shutil.copytree(source, other)
    doubled = {name: tensor * 2 for name, tensor in weights(source).items()}
    save_file(doubled, other / "model.safetensors", metadata={"format": "pt"})

    merge(Merging(models=(source, other), output=tmp_path / "out"))

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    expected = weights(source)["model.embed_tokens.weight"] * 1.5
    torch.testing.assert_close(model.model.embed_tokens.weight.detach(), expected)


def test_a_trained_checkpoint_merges_with_a_published_one(tmp_path: Path) -> None:
    # The published embedding checkpoints omit the prefix `model.`.
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(4, 4, generator=generator) for _ in range(2)]
    for folder, name, tensor in zip(
        ("published", "trained"), ("norm.weight", "model.norm.weight"), tensors, strict=True
    ):
        (tmp_path / folder).mkdir()
        save_file({name: tensor}, tmp_path / folder / "model.safetensors")
    folders = (tmp_path / "published", tmp_path / "trained")

    merge(Merging(models=folders, output=tmp_path / "one"))
    merge(Merging(models=folders[::-1], output=tmp_path / "two"))

    one = load_file(tmp_path / "one" / "model.safetensors")
    two = load_file(tmp_path / "two" / "model.safetensors")
    assert (list(one), list(two)) == (["norm.weight"], ["model.norm.weight"])
    torch.testing.assert_close(one["norm.weight"], two["model.norm.weight"])
    torch.testing.assert_close(one["norm.weight"], slerp(tensors[0], tensors[1], 0.5)[0])


def test_merged_reranker_keeps_its_chat_template(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    source = checkpoints["reranking"]

    merge(Merging(models=(source, source), output=tmp_path / "merged"))

    files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    merged = tmp_path / "merged"
    assert {path.relative_to(merged) for path in merged.rglob("*") if path.is_file()} == files


def test_missing_tensor_is_reported_with_its_model(tmp_path: Path) -> None:
    one, two = checkpoint(tmp_path / "one", 1), checkpoint(tmp_path / "two", 2)
    (two / "model-00002-of-00002.safetensors").unlink()

    with pytest.raises(ModelError, match=r"two.*lacks the tensor 'c'"):
        merge(Merging(models=(one, two), output=tmp_path / "out"))


def test_different_shape_is_an_error(tmp_path: Path) -> None:
    one, two = checkpoint(tmp_path / "one", 1), checkpoint(tmp_path / "two", 2)
    save_file({"c": torch.zeros(3)}, two / "model-00002-of-00002.safetensors")

    with pytest.raises(ModelError, match=r"'c' has the shape \(3,\)"):
        merge(Merging(models=(one, two), output=tmp_path / "out"))


def test_invalid_file_is_a_model_error(tmp_path: Path) -> None:
    one, two = checkpoint(tmp_path / "one", 1), checkpoint(tmp_path / "two", 2)
    (two / "model-00001-of-00002.safetensors").write_bytes(b"not weights")

    with pytest.raises(ModelError, match="cannot be read"):
        merge(Merging(models=(one, two), output=tmp_path / "out"))


def test_folder_without_weights_is_a_model_error(tmp_path: Path) -> None:
    one = checkpoint(tmp_path / "one", 1)

    with pytest.raises(ModelError, match="holds no"):
        merge(Merging(models=(one, tmp_path), output=tmp_path / "out"))


def test_output_must_not_be_one_of_the_models(tmp_path: Path) -> None:
    one, two = checkpoint(tmp_path / "one", 1), checkpoint(tmp_path / "two", 2)

    with pytest.raises(InputError, match="is one of the models"):
        merge(Merging(models=(one, two), output=one))


@pytest.mark.parametrize(
    "shares",
    [
        (1.0,),
        (1.0, 0.0),
        (1.0, -1.0),
        (1.0, math.nan),
        (math.nan, 1.0),
        (1.0, math.inf),
        (-math.inf, 1.0),
        (1e308, 1e308),
    ],
)
def test_shares_must_be_positive_and_one_per_model(shares: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="`shares`"):
        Merging(models=(Path("a"), Path("b")), output=Path("c"), shares=shares)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, place: int, value: float) -> None:
    folders = [checkpoint(tmp_path / name, seed) for seed, name in enumerate(("one", "two"))]
    file = folders[place] / "model-00002-of-00002.safetensors"
    broken = load_file(file)["c"]
    broken[1, 1] = value
    save_file({"c": broken}, file)

    with pytest.raises(ModelError, match=rf"'c' of .*{folders[place].name}.*NaN or infinity"):
        merge(Merging(models=tuple(folders), output=tmp_path / "out"))

    assert not list((tmp_path / "out").iterdir())


def test_result_too_large_for_its_dtype_is_an_error(tmp_path: Path) -> None:
    one = checkpoint(tmp_path / "one", 1, dtype=torch.float16)
    two = checkpoint(tmp_path / "two", 2, dtype=torch.float32)
    file = two / "model-00002-of-00002.safetensors"
    save_file({"c": load_file(file)["c"] * 1e6}, file)

    with pytest.raises(ModelError, match=r"'c' becomes too large for torch\.float16"):
        merge(Merging(models=(one, two), output=tmp_path / "out"))


@pytest.mark.parametrize("share", [math.nan, math.inf])
def test_slerp_refuses_a_share_that_is_not_finite(share: float) -> None:
    with pytest.raises(InputError, match="must be finite"):
        slerp(torch.ones(2), torch.zeros(2), share)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_slerp_refuses_tensors_that_are_not_finite(value: float) -> None:
    for pair in (
        (torch.ones(2), torch.tensor([0.0, value])),
        (torch.tensor([value]), torch.ones(1)),
    ):
        with pytest.raises(InputError, match="must be finite"):
            slerp(*pair, 0.5)


def test_adapters_are_not_merged(tmp_path: Path) -> None:
    one, two = checkpoint(tmp_path / "one", 1), checkpoint(tmp_path / "two", 2)
    (two / "adapter_config.json").write_text("{}")

    with pytest.raises(ModelError, match=r"two.*is an adapter.*merge_and_unload"):
        merge(Merging(models=(one, two), output=tmp_path / "out"))


@pytest.mark.parametrize("method", ["fp8", "bitsandbytes"])
def test_quantised_models_are_not_merged(tmp_path: Path, method: str) -> None:
    one, two = checkpoint(tmp_path / "one", 1), checkpoint(tmp_path / "two", 2)
    settings = {"quantization_config": {"quant_method": method}}
    (one / "config.json").write_text(json.dumps(settings))

    with pytest.raises(ModelError, match=r"one.*is quantised"):
        merge(Merging(models=(one, two), output=tmp_path / "out"))


def test_merging_needs_two_models() -> None:
    with pytest.raises(InputError, match="two or more"):
        Merging(models=(Path("a"),), output=Path("c"))
