"""Makes hostile checkpoints with fixed seeds, opens each, and prints what happened as JSON lines.

Run by `test_hostile_folders`: the working folder, then kinds of damage with the number of folders,
such as `weights:60`.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import shutil
import socket
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from qwen3_rag import Qwen3Embedder, Qwen3RagError, Qwen3Reranker

TEXTS = ["a capital of France", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "Paris"]
PAIRS = [("what is this", text) for text in TEXTS]

MARK = "code-was-run"
HOSTILE_CODE = f"import pathlib; pathlib.Path(r'{{root}}', '{MARK}').touch()\n"

Damage = Callable[[Path, random.Random], object]


class _Pickled:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


# ------------------------------------------------------------------ any file


def truncate(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def random_bytes(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(rng.choice([0, 1, 7, 8, 9, 100, 100_000])))


def flip_bytes(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 3, 30])):
        content[rng.randrange(min(len(content), 2_000))] = rng.randrange(256)
    path.write_bytes(content)


def deep(path: Path, rng: random.Random) -> None:
    depth = rng.choice([500, 100_000])
    path.write_text(rng.choice(["[", '{"a":']) * depth)


def pipe(path: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def listening_socket(path: Path, rng: random.Random) -> None:
    path.unlink()
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket has a limit of 100 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def directory(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path, rng: random.Random) -> None:
    outside = path.parent.parent / f"outside-{path.name}"
    if not outside.exists():
        shutil.copy(path, outside)
    path.unlink()
    path.symlink_to(rng.choice([outside, Path("/dev/zero"), path, path.parent / "nowhere"]))


def pointer(path: Path, rng: random.Random) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")


def spaces(path: Path, rng: random.Random) -> None:
    path.write_text(" " * 200_000_000)


ANY_FILE: list[Damage] = [
    *(truncate, random_bytes, flip_bytes, deep, pipe, listening_socket),
    *(directory, link, pointer, spaces),
]


# ------------------------------------------------------------------ config.json

FIELDS = [
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("head_dim", "intermediate_size", "vocab_size", "max_position_embeddings", "num_labels"),
    *("architectures", "layer_types", "rope_theta", "rope_parameters", "rope_scaling"),
    *("rms_norm_eps", "tie_word_embeddings", "attention_bias", "hidden_act", "id2label"),
    *("pad_token_id", "dtype", "torch_dtype", "model_type", "auto_map", "use_sliding_window"),
    *("attn_implementation", "_attn_implementation", "_experts_implementation"),
    *("transformers_weights", "configuration_files", "quantization_config", "attribute_map"),
    *("per_layer_config", "fusion_config", "distributed_config", "text_config", "is_causal"),
    *("to_dict", "__class__", "__dict__", "name_or_path", "transformers_version", "use_cache"),
    *("partial_rotary_factor", "initializer_range", "attention_dropout", "sliding_window"),
    *("eos_token_id", "kernel_config", "label2id", "problem_type", "output_attentions"),
    *("chunk_size_feed_forward", "return_dict", "output_hidden_states", "is_encoder_decoder"),
    *("get_text_config", "base_model_tp_plan", "sub_configs", "custom_generate", "torchscript"),
    *("max_window_layers", "tie_encoder_decoder", "decoder", "pruned_heads", "cross_attention"),
]
VALUES: list[Any] = [
    *(None, True, False, "abc", "", -1, 0, 1, 3, 5, 8, 512, 1_000_000, 100_000, 2**31, 2**63),
    *(10**400, 0.5, float("nan"), float("inf"), 1e-300, [], ["abc", 5], ["full_attention"] * 4),
    *({}, {"a": [{"b": 5}]}, {"0": "x"}, "owner/name", "../outside", "float16", "A" * 100_000),
    *([[[[[[[[[[5]]]]]]]]]], {"num_hidden_layers": "vocab_size"}, {"rope_type": "yarn"}),
    {"rope_type": "yarn", "factor": 4.0, "partial_rotary_factor": 1e9, "rope_theta": 1e6},
    {"rope_type": "longrope", "short_factor": [1.0] * 9, "long_factor": "abc", "factor": 0},
    {"AutoModel": "modeling_hostile.Model", "AutoConfig": "configuration_hostile.Config"},
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
    {"quant_method": "gptq", "bits": 2},
]


def settings(folder: Path, rng: random.Random) -> object:
    """Change one to three settings."""
    path = folder / "config.json"
    changes = {rng.choice(FIELDS): rng.choice(VALUES) for _ in range(rng.choice([1, 1, 2, 3]))}
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return changes


def claims(folder: Path, rng: random.Random) -> object:
    """Claim sizes that take long or much memory, in forms that other checks might let through."""
    path = folder / "config.json"
    size = rng.choice(["head_dim", "num_hidden_layers", "vocab_size", "intermediate_size"])
    changes: dict[str, Any] = {
        size: rng.choice([20_000, 1_000_000, 10_000_000]),
        "layer_types": None,
    }
    if rng.random() < 0.5:
        changes["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return changes


def damage_configuration(folder: Path, rng: random.Random, seed: int) -> object:
    if seed % 4 == 0:
        damage = ANY_FILE[seed // 4 % len(ANY_FILE)]
        return damage.__name__, damage(folder / "config.json", rng)
    return claims(folder, rng) if seed % 4 == 1 else settings(folder, rng)


# ------------------------------------------------------------------ weights


def read_header(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write_header(path: Path, header: object, body: bytes, *, pad: int = 0) -> None:
    text = json.dumps(header).encode() + b" " * pad
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def entries(path: Path, rng: random.Random) -> object:
    """Change the entries of one to three tensors."""
    header, body = read_header(path)
    changes = []
    for name in rng.sample([key for key in header if key != "__metadata__"], rng.choice([1, 3])):
        field = rng.choice(["dtype", "shape", "data_offsets"])
        value = header[name][field]
        if field == "dtype":
            value = rng.choice(["I32", "F64", "F8_E4M3", "X", 5, None, "BOOL"])
        elif rng.random() < 0.4:
            value = value[::-1]
        elif rng.random() < 0.5:
            value = [rng.choice([-1, 0.5, 1e300, 2**63, 10**300, "1", None, True, *value])] * 2
        else:
            value = rng.choice([None, [], [value], {}, 5, [1] * 100_000])
        header[name][field] = value
        changes.append((name, field, str(value)[:50]))
    write_header(path, header, body)
    return changes


def overlapping(path: Path, rng: random.Random) -> None:
    header = {
        f"layers.{index}.mlp.up_proj.weight": {
            "dtype": "F32",
            "shape": [10_000],
            "data_offsets": [index % 7 * 4, index % 7 * 4 + 40_000],
        }
        for index in range(rng.choice([20_000, 60_000]))
    }
    write_header(path, header, bytes(100_000))


def wrong_length(path: Path, rng: random.Random) -> object:
    content = path.read_bytes()
    length = rng.choice([0, 1, 2, 10**6, 2**31, 2**62, 2**64 - 1])
    path.write_bytes(struct.pack("<Q", length) + content[8:])
    return length


def other_names(path: Path, rng: random.Random) -> object:
    header, body = read_header(path)
    names = [key for key in header if key != "__metadata__"]
    old = rng.choice(names)
    new = rng.choice(
        [
            *("layers.999999.mlp.up_proj.weight", "layers.-1.mlp.up_proj.weight", "__class__"),
            *("\ud800", "a" * 100_000, f"model.{rng.choice(names)}", "", "lm_head.weight"),
            *("layers.00.mlp.up_proj.weight", "module." + old, "../../x", "rotary.inv_freq"),
        ]
    )
    write_header(path, {(new if key == old else key): value for key, value in header.items()}, body)
    return old, new[:50]


def missing(path: Path, rng: random.Random) -> object:
    header, body = read_header(path)
    name = rng.choice(list(header))
    del header[name]
    write_header(path, header, body)
    return name


def harmless(path: Path, rng: random.Random) -> None:
    """Another order of the entries, and spaces behind them."""
    header, body = read_header(path)
    items = list(header.items())
    rng.shuffle(items)
    write_header(path, dict(items), body, pad=rng.randrange(1_000))


def metadata(path: Path, rng: random.Random) -> object:
    header, body = read_header(path)
    value: Any = rng.choice([5, [], {}, {"format": "tf"}, {"format": 5}, None])
    header["__metadata__"] = value
    write_header(path, header, body)
    return value


def nan(path: Path, rng: random.Random) -> None:
    header, body = read_header(path)
    write_header(path, header, b"\xff" * len(body))


def listed(path: Path, rng: random.Random) -> object:
    """Put the weights elsewhere and list them in an index, in one of many wrong ways."""
    folder = path.parent
    names = [key for key in read_header(path)[0] if key != "__metadata__"]
    outside = folder.parent / "outside.safetensors"
    shutil.copy(path, outside)
    place: Any = rng.choice(
        [
            *("../outside.safetensors", str(outside), "w.bin", "sub/../../outside.safetensors"),
            *("inside.safetensors", "sub/inside.safetensors", "gone.safetensors", 5, None, ""),
            *("a" * 5_000 + ".safetensors", "\0.safetensors", "/dev/zero", "C:\\x.safetensors"),
            *(".safetensors", "..", "linked/outside.safetensors"),
        ]
    )
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "linked").symlink_to("..")
    shutil.copy(path, folder / "inside.safetensors")
    shutil.copy(path, folder / "sub" / "inside.safetensors")
    (folder / "w.bin").write_bytes(pickle.dumps(_Pickled(folder.parent / MARK)))
    path.unlink()
    index: Any = {"metadata": {"total_size": 5}, "weight_map": dict.fromkeys(names, place)}
    index = rng.choice(
        [*([index] * 6), {"weight_map": {}}, {"weight_map": names}, [], {**index, "metadata": 5}]
    )
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return place if "weight_map" in index else index


def other_formats(path: Path, rng: random.Random) -> object:
    """Leave no safetensors file, or put one of another format beside it."""
    folder = path.parent
    name = rng.choice(
        [
            *("pytorch_model.bin", "adapter_model.bin", "model.gguf"),
            *("shard-00001-model-00001-of-00001.safetensors", "consolidated.safetensors"),
        ]
    )
    (folder / name).write_bytes(pickle.dumps(_Pickled(folder.parent / MARK)))
    (folder / ".metadata").write_bytes(pickle.dumps(_Pickled(folder.parent / MARK)))
    if rng.random() < 0.5:
        path.unlink()
    if name.startswith("adapter"):
        (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    return name


WEIGHTS: list[Damage] = [
    *ANY_FILE[:-1],
    *(entries, entries, entries, overlapping, wrong_length, other_names, other_names, missing),
    *(harmless, metadata, nan, listed, listed, listed, other_formats, other_formats),
]


def damage_weights(folder: Path, rng: random.Random, seed: int) -> object:
    damage = WEIGHTS[seed % len(WEIGHTS)]
    return damage.__name__, damage(folder / "model.safetensors", rng)


# ------------------------------------------------------------------ tokenizer.json


def ids(path: Path, rng: random.Random) -> object:
    """Give a token, or an added token, another id."""
    definition = json.loads(path.read_text())
    vocab = definition["model"]["vocab"]
    value = rng.choice([4_000_000_000, len(vocab) + 500, 2**32, -1, 0, 1.5, "5"])
    if rng.random() < 0.6:
        name = rng.choice(["a", "Ġa", *vocab])
        vocab[name] = value
    else:
        added = rng.choice(definition["added_tokens"][:3])
        name, added["id"] = added["content"], value
    path.write_text(json.dumps(definition))
    return name, value


def parts(path: Path, rng: random.Random) -> object:
    """Replace a part of the definition."""
    definition = json.loads(path.read_text())
    choices: list[tuple[str, Any]] = [
        ("model", None),
        ("model", {"type": "Unigram", "unk_id": 5, "vocab": [["a", 0.0]]}),
        ("model", {"type": "WordLevel", "vocab": {"a": 5}, "unk_token": "x"}),
        ("added_tokens", []),
        ("added_tokens", 5),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        ("pre_tokenizer", {"type": "Own"}),
        (
            "pre_tokenizer",
            {
                "type": "Split",
                "pattern": {"Regex": "(a+)+$"},
                "behavior": "Isolated",
                "invert": False,
            },
        ),
        ("post_processor", {"type": "TemplateProcessing", "single": [], "pair": []}),
        ("truncation", {"direction": "Right", "max_length": 0, "strategy": "OnlyFirst"}),
    ]
    name, value = rng.choice(choices)
    definition[name] = value
    path.write_text(json.dumps(definition))
    return name, value


def merges(path: Path, rng: random.Random) -> object:
    definition = json.loads(path.read_text())
    value = rng.choice([[["a", "zz"]], 5, [["a"]], [["a", "b"]] * 100_000, ["a b c"]])
    definition["model"]["merges"] = value
    path.write_text(json.dumps(definition))
    return str(value)[:50]


TOKENIZERS: list[Damage] = [ids, ids, ids, parts, parts, merges, *ANY_FILE]


def damage_tokenizer(folder: Path, rng: random.Random, seed: int) -> object:
    damage = TOKENIZERS[seed % len(TOKENIZERS)]
    return damage.__name__, damage(folder / "tokenizer.json", rng)


KINDS = {
    "configurations": damage_configuration,
    "weights": damage_weights,
    "tokenizers": damage_tokenizer,
}


# ------------------------------------------------------------------ opening them


def run(folder: Path, role: str) -> Any:
    """Open a folder and compute with it."""
    if role == "embedding":
        with Qwen3Embedder(str(folder), device="cpu", dtype="float32") as embedder:
            return embedder.embed_documents(TEXTS)
    with Qwen3Reranker(str(folder), device="cpu", dtype="float32") as reranker:
        return np.array(reranker.score(PAIRS, details=True).logits)


def reference(folder: Path, role: str) -> Any:
    from qwen3_rag_testkit.reference import reference_logits, reference_vectors

    if role == "embedding":
        return reference_vectors(folder, TEXTS)
    return reference_logits(folder, PAIRS)


def attempt(folder: Path, role: str) -> dict[str, Any]:
    """Open a hostile folder; returns the class of the error, or the largest difference.

    What opens is compared with plain transformers on the same folder.
    """
    try:
        values = run(folder, role)
    except Qwen3RagError as error:
        return {"error": type(error).__name__, "message": str(error)[:1_000]}
    except BaseException as error:
        return {"error": f"not of this project: {error!r}"[:1_000]}
    try:
        expected = reference(folder, role)
    except Exception:  # refuses a setting that is not used here: the right values are the old ones
        expected = reference(folder.parents[1] / role, role)
    return {"difference": float(np.abs(values - expected).max())}


def main(work: Path, kinds: list[str]) -> None:
    """Damage copies of the folders `embedding` and `reranking` in the working folder."""
    warnings.simplefilter("ignore")
    asked: list[str] = []

    def refuse(*address: object, **_: object) -> None:
        asked.append(repr(address))
        raise ConnectionRefusedError("no network")

    socket.getaddrinfo = refuse  # type: ignore[assignment]
    socket.socket.connect = refuse  # type: ignore[method-assign]
    right = {role: run(work / role, role) for role in ("embedding", "reranking")}
    start = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (start + 4 * 2**30,) * 2)  # spares the machine
    for kind, count in (each.split(":") for each in kinds):
        for seed in range(int(count)):
            report = one(work, kind, seed, right)
            report["network"], asked[:] = list(asked), []
            print(json.dumps(report), flush=True)  # noqa: T201


def one(work: Path, kind: str, seed: int, right: dict[str, Any]) -> dict[str, Any]:
    """Make a hostile folder, open it, and at the same time use a sound one."""
    rng = random.Random(f"{kind} {seed}")
    role = rng.choice(["embedding", "reranking"])
    folder = work / f"{kind}-{seed}" / "checkpoint"
    shutil.copytree(work / role, folder)
    for name in ("modeling_hostile", "configuration_hostile", "custom_generate/generate"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(HOSTILE_CODE.format(root=folder.parent))
    report: dict[str, Any] = {"kind": kind, "seed": seed, "role": role}
    report["damage"] = repr(KINDS[kind](folder, rng, seed))[:300]

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.monotonic(), time.process_time()
    hostile = threading.Thread(target=lambda: report.update(attempt(folder, role)))
    hostile.start()
    beside = run(work / role, role)
    report["beside"] = float(np.abs(beside - right[role]).max())
    hostile.join()
    report["wall"], report["cpu"] = time.monotonic() - wall, time.process_time() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report["memory"] = (after - before) * 1024
    report["code"] = (folder.parent / MARK).exists()
    shutil.rmtree(folder.parent)
    return report


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
