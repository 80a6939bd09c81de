"""Hostile and damaged folders: each ends in a typed error or the right result, and harms nothing.

`hostile_folders.py` makes them by a generator and opens them in a process of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen3_rag import InputError, ModelError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.integration import resolve_checkpoint

MakeCheckpoint = Callable[..., Path]

SCRIPT = Path(__file__).with_name("hostile_folders.py")
COUNTS = {"configurations": 60, "weights": 60, "tokenizers": 10}

# A folder takes a tenth of a second; these are bounds for hanging and for taking memory.
SECONDS_OF_CPU = 2.0
SECONDS = 30.0
MEMORY = 2**30


def hostile(work: Path, counts: dict[str, int]) -> list[dict[str, Any]]:
    """Open hostile folders in a process of their own."""
    kinds = [f"{kind}:{count}" for kind, count in counts.items()]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(work), *kinds],
        capture_output=True,
        text=True,
        timeout=60 + 10 * sum(counts.values()),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, len(reports)) == (0, sum(counts.values())), done.stderr[-3_000:]
    return reports


def faults(report: dict[str, Any]) -> list[str]:
    """List what is wrong with the way in which a hostile folder was opened."""
    message = report.get("message", "")
    # A pattern of a tokenizer fails only when a text meets it.
    while_running = report.get("error") == "BackendError" and "could not be run" in message
    found = {
        "neither a ModelError nor a result": not (
            # A configuration can ask for a method of quantisation whose package is not there.
            report.get("error") in ("ModelError", "MissingExtraError")
            or while_running
            or "difference" in report
        ),
        "a wrong result": not report.get("difference", 0.0) < 1e-4,
        "a long message": len(message) >= 1_000,
        "the model beside it was wrong": not report["beside"] < 1e-4,
        "code was run": report["code"],
        "the network was asked": bool(report["network"]),
        "time": report["cpu"] > SECONDS_OF_CPU or report["wall"] > SECONDS,
        "memory": report["memory"] > MEMORY,
    }
    return [fault for fault, is_there in found.items() if is_there]


@pytest.fixture
def work(tmp_path: Path, embedding_folder: Path, reranking_folder: Path) -> Path:
    if sys.platform != "linux":
        pytest.skip("limits of memory and named pipes are tried on Linux")
    shutil.copytree(embedding_folder, tmp_path / "embedding")
    shutil.copytree(reranking_folder, tmp_path / "reranking")
    return tmp_path


def test_a_tenth_of_the_hostile_folders_does_no_harm(work: Path) -> None:
    reports = hostile(work, {kind: count // 10 for kind, count in COUNTS.items()})

    assert not [(fault, report) for report in reports for fault in faults(report)]


@pytest.mark.slow
def test_hostile_folders_do_no_harm(work: Path) -> None:
    reports = hostile(work, COUNTS)

    assert not [(fault, report) for report in reports for fault in faults(report)]
    # The generator makes both kinds.
    assert sum("error" in report for report in reports) > 60
    assert sum("difference" in report for report in reports) > 6


# ------------------------------------------------------------------ one by one, with their messages


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture
def folder(copy: Callable[[Path], Path], embedding_folder: Path) -> Path:
    return copy(embedding_folder)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder: Path, *parts: str) -> None:
    """Check that a folder is refused before transformers sees it, in a message with these parts."""
    with pytest.raises(ModelError) as caught:
        resolve_checkpoint(str(folder), "embedding")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "tokenizer.json", "model.safetensors", "modules.json"),
        *("generation_config.json", "1_Pooling/config.json", "config_sentence_transformers.json"),
        *("adapter_config.json", "model.safetensors.index.json"),
    ],
)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_in_place_of_any_file_is_named_and_not_waited_for(folder: Path, name: str) -> None:
    if name.endswith("index.json"):
        (folder / "model.safetensors").unlink()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)

    refused(folder, name, "is a named pipe, not a file")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "1_Pooling"])
def test_a_link_must_stay_inside_the_checkpoint(tmp_path: Path, folder: Path, name: str) -> None:
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    refused(folder, name, "leads outside the checkpoint", "Put the file itself")

    (folder / name).unlink()
    (tmp_path / "outside").rename(folder / "inside")
    (folder / name).symlink_to("inside")
    resolve_checkpoint(str(folder), "embedding")


def test_a_link_that_leads_nowhere(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("gone")

    refused(folder, "model.safetensors", "cannot be read: No such file", "If it is a link")


def test_the_cache_of_the_hub_links_to_its_own_blobs(tmp_path: Path, folder: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "1234"
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    folder.rename(tmp_path / "whole")
    for path in sorted((tmp_path / "whole").rglob("*")):
        if path.is_file():
            place = snapshot / path.relative_to(tmp_path / "whole")
            place.parent.mkdir(parents=True, exist_ok=True)
            blob = blobs / path.relative_to(tmp_path / "whole").as_posix().replace("/", "_")
            path.rename(blob)
            place.symlink_to(os.path.relpath(blob, place.parent))
    with Qwen3Embedder(str(snapshot), device="cpu") as embedder:
        embedder.warm_up()

    elsewhere = tmp_path / "models--c--d" / "blobs"
    elsewhere.mkdir(parents=True)
    shutil.copy(blobs / "model.safetensors", elsewhere)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(elsewhere / "model.safetensors")
    refused(snapshot, "leads outside the checkpoint")


def with_index(folder: Path, place: Any) -> None:
    """List the weights in an index."""
    names = load_file(folder / "model.safetensors").keys()
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, place)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "place",
    [
        "../x.safetensors",
        "sub/../../x.safetensors",
        "w.bin",
        "C:x.safetensors",
        "a\\b.safetensors",
        5,
    ],
)
def test_an_index_lists_safetensors_files_inside_the_folder_only(folder: Path, place: Any) -> None:
    shutil.copy(folder / "model.safetensors", folder.parent / "x.safetensors")
    with_index(folder, place)

    refused(folder, "model.safetensors.index.json", repr(place), "inside the folder")


def test_an_index_with_an_absolute_name(folder: Path) -> None:
    outside = folder.parent / "x.safetensors"
    shutil.copy(folder / "model.safetensors", outside)
    with_index(folder, str(outside))

    refused(folder, "inside the folder")


def test_an_index_with_a_file_that_is_missing(folder: Path) -> None:
    with_index(folder, "gone.safetensors")

    refused(folder, "gone.safetensors", "is missing")


def test_an_index_may_list_files_in_folders_of_the_checkpoint(folder: Path) -> None:
    (folder / "sub").mkdir()
    shutil.copy(folder / "model.safetensors", folder / "sub" / "x.safetensors")
    with Qwen3Embedder(str(folder), device="cpu") as embedder:
        expected = embedder.embed_documents(["a"])
    with_index(folder, "sub/x.safetensors")

    with Qwen3Embedder(str(folder), device="cpu") as embedder:
        assert (embedder.embed_documents(["a"]) == expected).all()


def test_weights_of_a_distributed_checkpoint_are_not_taken_instead(folder: Path) -> None:
    (folder / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b"")

    refused(folder, "part of a distributed checkpoint", "save_pretrained")


def test_an_adapter_in_a_format_that_can_hold_code(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.bin").write_bytes(b"")

    refused(folder, "no adapter_model.safetensors", "can hold code and are not read")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "modules.json"])
def test_a_pointer_of_git_lfs(folder: Path, name: str) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")

    refused(folder, name, "is a Git LFS pointer", "git lfs pull")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"head_dim": 1_000_000}, ("k_norm.weight is [16], not [1000000]", "head_dim = 1000000")),
        (
            {"num_hidden_layers": 100_000, "layer_types": None},
            ("lacks weights", "num_hidden_layers = 100000"),
        ),
        ({"num_hidden_layers": 2, "layer_types": None}, ("does not have", "layers.2.")),
        ({"vocab_size": 300}, ("embed_tokens.weight", "[300, 64]")),
        ({"intermediate_size": 161}, ("mlp.", "intermediate_size = 161")),
        ({"attention_bias": True}, ("lacks weights", "self_attn.q_proj.bias")),
        (
            {"head_dim": 1_000_000, "quantization_config": {"quant_method": "bitsandbytes"}},
            ("describes 3,", "head_dim = 1000000"),
        ),
    ],
)
def test_sizes_that_the_weights_do_not_have(
    folder: Path, changes: dict[str, Any], parts: tuple[str, ...]
) -> None:
    edit(folder / "config.json", **changes)

    refused(folder, *parts)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("hidden_size", "abc", "a whole number from 1"),
        ("hidden_size", True, "a whole number from 1"),
        ("head_dim", None, "a whole number from 1"),
        ("head_dim", 15, "even"),
        ("num_key_value_heads", 3, "a divisor of 4"),
        ("max_position_embeddings", 0, "128 to"),
        ("max_position_embeddings", 8, "128 to"),
        ("max_position_embeddings", -1, "128 to"),
        ("architectures", 5, "a list of names"),
        ("layer_types", 5, "a list of names"),
        ("layer_types", ["full_attention"], "a list of 4 names"),
        ("num_labels", 10**9, "1 to 1,000"),
        ("rms_norm_eps", float("nan"), "a positive number"),
        ("rope_theta", float("inf"), "a positive number"),
        ("rope_parameters", {"rope_theta": 0}, "positive `rope_theta`"),
        ("rope_parameters", {"partial_rotary_factor": 1e9}, "no partial rotation"),
        ("tie_word_embeddings", "yes", "true or false"),
        ("torch_dtype", "load", "bfloat16, float16"),
        ("quantization_config", [], "a dictionary"),
        ("pad_token_id", 10**6, "a row of the embedding table"),
        ("attn_implementation", "owner/name", "none is loaded from the Hub"),
        ("_attn_implementation", "owner/name:f", "none is loaded from the Hub"),
    ],
)
def test_a_setting_that_is_not_allowed(folder: Path, field: str, value: Any, allowed: str) -> None:
    edit(folder / "config.json", **{field: value})

    refused(folder, f"has {field} = {value!r}", allowed, "Correct it, or fetch")


@pytest.mark.parametrize(
    "field",
    [
        *("transformers_weights", "configuration_files", "attribute_map", "per_layer_config"),
        *("fusion_config", "kernel_config", "trust_remote_code", "__class__"),
    ],
)
def test_a_setting_that_leads_to_other_files_or_code(folder: Path, field: str) -> None:
    edit(folder / "config.json", **{field: {}})

    refused(folder, f"has {field!r}", "remove the setting")


@pytest.mark.parametrize("value", [False, None, 0])
def test_attention_to_later_tokens_is_not_taken_for_causal(folder: Path, value: object) -> None:
    edit(folder / "config.json", is_causal=value)

    refused(folder, "is built on Qwen3 but changes it")


def test_an_attention_that_is_not_installed_is_not_needed(folder: Path) -> None:
    with Qwen3Embedder(str(folder), device="cpu") as embedder:
        expected = embedder.embed_documents(["a"])
    edit(folder / "config.json", _attn_implementation="flash_attention_3")

    with Qwen3Embedder(str(folder), device="cpu") as embedder:
        assert (embedder.embed_documents(["a"]) == expected).all()


def with_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header = change(header) or header
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


NORM = "norm.weight"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda header: header[NORM]["data_offsets"].reverse(), "does not agree with its -256"),
        (lambda header: header[NORM].update(data_offsets=[0, 10**15]), "norm.weight"),
        (lambda header: header[NORM].update(data_offsets=[0.0, 256.0]), "not one of whole numbers"),
        (lambda header: header[NORM].update(shape=[65]), "does not agree with its 256 bytes"),
        (lambda header: header[NORM].update(shape=[1] * 1_000), "not one of whole numbers"),
        (lambda header: header[NORM].update(dtype="F33"), "unknown type"),
        (lambda header: header[NORM].update(dtype="I32"), "norm.weight of the type I32"),
        (lambda header: header.update(more=header[NORM]), "do not follow the tensor before"),
        (lambda header: header.update(more=5), "no type, shape and range"),
        (lambda header: header.pop(NORM) and None, "its header describes"),
        (lambda header: [header], "not a dictionary"),
    ],
)
def test_a_header_that_contradicts_itself(
    folder: Path, change: Callable[[dict[str, Any]], object], part: str
) -> None:
    with_header(folder / "model.safetensors", change)

    refused(folder, part)


def test_bytes_between_two_tensors(folder: Path) -> None:
    # They could hold anything, such as a file of another format.
    path = folder / "model.safetensors"
    with_header(
        path,
        lambda header: (
            [
                entry.update(data_offsets=[each + 8 for each in entry["data_offsets"]])
                for name, entry in header.items()
                if name != "__metadata__"
            ]
            and None
        ),
    )
    path.write_bytes(path.read_bytes() + bytes(8))

    refused(folder, "do not follow the tensor before")


def test_one_tensor_under_two_names(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(64)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    refused(folder, "two tensors")


def test_a_header_longer_than_any_published(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**23) + b" " * 2**23)

    refused(folder, "would have a header of 8,388,608")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subfolder", "../other"),
        ("variant", "b"),
        ("revision", "main"),
        ("gguf_file", "x.gguf"),
        ("config", "elsewhere"),
        ("trust_remote_code", True),
        ("use_kernels", True),
        ("transformers_weights", "other.safetensors"),
        ("attn_implementation", "owner/name"),
        ("attn_implementation", {"": "owner/name"}),
    ],
)
def test_arguments_that_load_what_is_not_checked(name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"`model_kwargs`|{name}"):
        Qwen3Embedder("a/b", model_kwargs={name: value})


def test_arguments_that_turn_it_off_are_fine(embedding_folder: Path) -> None:
    given = {"trust_remote_code": False, "subfolder": "", "attn_implementation": "eager"}

    with Qwen3Embedder(str(embedding_folder), device="cpu", model_kwargs=given) as embedder:
        embedder.warm_up()


# ------------------------------------------------------------------ tokenizers


def with_tokenizer(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    definition = json.loads((folder / "tokenizer.json").read_text())
    change(definition)
    (folder / "tokenizer.json").write_text(json.dumps(definition))


@pytest.mark.parametrize("value", [4_000_000_000, 382])
def test_a_token_beyond_the_embedding_table(copy: Any, reranking_folder: Path, value: int) -> None:
    folder = copy(reranking_folder)
    with_tokenizer(folder, lambda definition: definition["model"]["vocab"].update({"a": value}))

    with (
        Qwen3Reranker(str(folder), device="cpu") as reranker,
        pytest.raises(ModelError, match=f"has {value + 1} tokens and its embedding table 382"),
    ):
        reranker.rank("a", ["a"])


def test_an_added_token_that_would_get_another_id(copy: Any, reranking_folder: Path) -> None:
    folder = copy(reranking_folder)
    with_tokenizer(folder, lambda definition: definition["added_tokens"][0].update(id=5_000))

    with (
        Qwen3Reranker(str(folder), device="cpu") as reranker,
        pytest.raises(ModelError, match="the id 5000, which is not free or leaves a gap"),
    ):
        reranker.warm_up()


def test_added_tokens_that_no_prompt_contains_need_no_rows(
    make_checkpoint: MakeCheckpoint, copy: Any
) -> None:
    # As in checkpoints whose table ends before the last of the 26 added tokens.
    folder = copy(make_checkpoint("embedding"))
    tensors = load_file(folder / "model.safetensors")
    rows = len(tensors["embed_tokens.weight"]) - 4
    tensors["embed_tokens.weight"] = tensors["embed_tokens.weight"][:rows].clone()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    edit(folder / "config.json", vocab_size=rows)

    with Qwen3Embedder(str(folder), device="cpu") as embedder:
        assert embedder.embed_documents(["</think> a"]).shape == (1, 64)


def test_a_tokenizer_that_makes_its_library_panic(folder: Path) -> None:
    broken = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    with_tokenizer(folder, lambda definition: definition.update(normalizer=broken))

    with (
        Qwen3Embedder(str(folder), device="cpu") as embedder,
        pytest.raises(ModelError, match=r"tokenizer of .* cannot be read"),
    ):
        embedder.warm_up()


# ------------------------------------------------------------------ adapters


def with_adapter(folder: Path, settings: object) -> None:
    pytest.importorskip("peft", reason="adapters need peft")
    weights = {"base_model.model.layers.0.mlp.up_proj.lora_A.weight": torch.ones(4, 64)}
    save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"r": 10_000_000}, "has r = 10000000; it must be a size of its weights, 1 to 64"),
        ({"r": "4"}, "has r = '4'"),
        ({"r": 4, "rank_pattern": {"up_proj": 65}}, "has rank_pattern = 65"),
        ({"r": 4, "target_modules": "(.*a*)*x"}, "none nested"),
        ({"r": 4, "target_modules": ".*.*.*.*.*x"}, "at most 4 repetitions"),
        ({"r": 4, "rank_pattern": {"(a+)+x": 4}}, "none nested"),
        ({"r": 4, "layer_replication": [[0, 4]] * 1_000}, "has layer_replication"),
        ({"r": 4, "megatron_core": "os", "megatron_config": {}}, "has megatron_config = {}"),
        ([], "holds no settings"),
    ],
)
def test_an_adapter_that_takes_memory_or_time(folder: Path, settings: object, part: str) -> None:
    with_adapter(folder, settings)

    refused(folder, "adapter_config.json", part)


@pytest.mark.parametrize(
    "modules", [["q_proj", "up_proj"], r".*\.layers\.\d+\.self_attn\.(q|k|v|o)_proj", "all-linear"]
)
def test_an_adapter_as_peft_saves_it(folder: Path, modules: object) -> None:
    with_adapter(folder, {"r": 4, "target_modules": modules, "rank_pattern": {}})

    resolve_checkpoint(str(folder), "embedding")


@pytest.mark.parametrize("name", ["", 5, None, "\0", "\ud800", "."])
def test_an_adapter_whose_base_model_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: object
) -> None:
    monkeypatch.chdir(tmp_path)
    with_adapter(tmp_path, {"r": 4, "base_model_name_or_path": name})

    refused(tmp_path, f"names the base model {name!r}", "id or folder")
