"""Folders and names that are not a checkpoint as it is published: opened, or told what they are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen3_rag import ModelError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.integration import resolve_checkpoint

torch = pytest.importorskip("torch")

TEXTS = ["Paris is the capital of France.", "", "  two\nlines"]

MakeCheckpoint = Callable[..., Path]


def refused(name: Path | str, kind: Any = Qwen3Embedder, **options: Any) -> str:
    """Open what is no checkpoint, and return the message."""
    with kind(name, device="cpu", **options) as model, pytest.raises(ModelError) as caught:
        model.warm_up()
    said = str(caught.value)
    assert len(re.findall(r"[.?] ?(?=[A-Z']|$)", said)) <= 5, said
    return said


# ------------------------------------------------------------------ the old layout


@pytest.fixture
def inner_layout(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> Callable[..., Path]:
    """Put the transformer into a folder of its own, as sentence-transformers 1 did."""

    def make(name: str = "0_Transformer", prompts: dict[str, str] | None = None) -> Path:
        folder = tmp_path / "old"
        shutil.copytree(make_checkpoint("embedding"), folder)
        inner = folder / name
        inner.mkdir()
        for file in folder.glob("*.*"):
            if file.name not in ("modules.json", "config_sentence_transformers.json"):
                file.rename(inner / file.name)
        modules = json.loads((folder / "modules.json").read_text())
        modules[0]["path"] = name
        (folder / "modules.json").write_text(json.dumps(modules))
        if prompts is not None:
            settings = folder / "config_sentence_transformers.json"
            settings.write_text(json.dumps({"prompts": prompts}))
        return folder

    return make


@pytest.mark.parametrize("name", ["0_Transformer", "0_Qwen3", "encoder"])
def test_a_transformer_in_a_folder_of_its_own_opens(
    name: str, inner_layout: Callable[..., Path]
) -> None:
    peers = pytest.importorskip("sentence_transformers", minversion="6.2")
    folder = inner_layout(name, {"query": "query: ", "document": "- "})
    peer = peers.SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}
    )

    with Qwen3Embedder(folder, dtype="float32", device="cpu") as embedder:
        documents = embedder.embed_documents(TEXTS)
        queries = embedder.embed_queries(TEXTS[:1])

    assert (documents * peer.encode_document(TEXTS)).sum(axis=1).min() > 0.99999
    assert (queries * peer.encode_query(TEXTS[:1])).sum(axis=1).min() > 0.99999


def test_its_weights_and_its_prompts_are_in_the_fingerprint(
    inner_layout: Callable[..., Path],
) -> None:
    folder = inner_layout()
    seen = {resolve_checkpoint(str(folder), "embedding").fingerprint}

    for file in ("0_Transformer/model.safetensors", "config_sentence_transformers.json"):
        path = folder / file
        content = path.read_bytes()
        path.write_bytes(content[:-4] + bytes([1]) + content[-3:] if "model" in file else b"{}")
        seen.add(resolve_checkpoint(str(folder), "embedding").fingerprint)

    assert len(seen) == 3


def test_a_module_outside_the_folder_is_not_opened(
    inner_layout: Callable[..., Path], tmp_path: Path
) -> None:
    folder = inner_layout()
    (folder / "0_Transformer").rename(tmp_path / "elsewhere")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))

    assert "outside the checkpoint" in refused(folder) or "config.json" in refused(folder)


# ------------------------------------------------------------------ names of tensors


@pytest.mark.parametrize("role", ["embedding", "reranking"])
@pytest.mark.parametrize(
    ("prefix", "remedy"),
    [
        ("_orig_mod.", "torch.compile"),
        ("module.", "several devices"),
        ("base_model.model.", "merge_and_unload"),
        ("_fsdp_wrapped_module.", "FSDP"),
        ("auto_model.", "sentence-transformers"),
        # Not in the list of reports.
        ("student.", "'student."),
        ("model.module.", "several devices"),
        ("0.auto.", "'0.auto."),
    ],
)
def test_a_prefix_that_a_trainer_left_is_named(
    role: Any, prefix: str, remedy: str, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "prefixed"
    shutil.copytree(make_checkpoint(role), folder)
    weights = load_file(folder / "model.safetensors")
    renamed = {prefix + name: value for name, value in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})

    said = refused(folder, Qwen3Embedder if role == "embedding" else Qwen3Reranker)

    assert remedy in said
    assert "save_pretrained" in said
    assert repr(prefix)[1:-1].removeprefix("model.") in said


def test_tensors_with_the_prefix_of_the_whole_model_open(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "whole"
    shutil.copytree(make_checkpoint("embedding"), folder)
    weights = load_file(folder / "model.safetensors")
    renamed = {f"model.{name}": value for name, value in weights.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})

    with (
        Qwen3Embedder(folder, device="cpu") as renamed_one,
        Qwen3Embedder(make_checkpoint("embedding"), device="cpu") as published,
    ):
        np.testing.assert_allclose(
            renamed_one.embed_documents(TEXTS), published.embed_documents(TEXTS), atol=1e-6
        )


# ------------------------------------------------------------------ rerankers of another kind


@pytest.mark.parametrize("kind", [Qwen3Embedder, Qwen3Reranker])
@pytest.mark.parametrize("last", [["Dense"], []])
def test_a_reranker_that_scores_behind_a_pooling_is_named(
    kind: Any, last: list[str], make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "dense"
    shutil.copytree(make_checkpoint("embedding"), folder)
    modules = json.loads((folder / "modules.json").read_text())[:2]
    package = "sentence_transformers.base.modules"
    modules += [
        {"idx": 2, "name": "2", "path": "2_Dense", "type": f"{package}.dense.{each}"}
        for each in last
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    settings = {"model_type": "CrossEncoder"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))

    said = refused(folder, kind)

    assert "modules.json" in said
    assert "CrossEncoder" in said
    assert "Open it with" not in said  # no circle between the two classes


# ------------------------------------------------------------------ other files and folders


def test_a_gguf_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "model-Q8_0.gguf", tmp_path / "MODEL.GGUF"):
        path.write_bytes(b"GGUF")
        assert "GGUF file, which is for llama.cpp" in refused(path)
    (tmp_path / "MODEL.GGUF").unlink()
    assert "GGUF file, which is for llama.cpp" in refused(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "pytorch_model.bin"])
def test_a_file_of_a_checkpoint_is_told_from_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"{}")

    assert "is a file. Give the folder that holds config.json" in refused(tmp_path / name)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_git_lfs_pointer_is_named(
    file: str, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "pointers"
    shutil.copytree(make_checkpoint("embedding"), folder)
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1191586416\n"
    )
    (folder / file).write_text(pointer)

    said = refused(folder)

    assert "Git LFS pointer" in said
    assert "git lfs pull" in said
    assert file in said


@pytest.fixture
def cache(embedding_folder: Path, reranking_folder: Path, tmp_path: Path) -> Path:
    """A cache of the Hub with two Qwen3 models, another model and an unfinished download."""
    names = {
        "somebody/embedder": embedding_folder,
        "Qwen/Qwen3-Reranker-0.6B": reranking_folder,
    }
    for name, folder in names.items():
        place = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, place / "snapshots" / ("1" * 40))
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("1" * 40)
    other = tmp_path / "hub" / "models--google--bert" / "snapshots" / "2" / "config.json"
    other.parent.mkdir(parents=True)
    other.write_text('{"model_type": "bert"}')
    unfinished = tmp_path / "hub" / "models--a--b" / "snapshots" / "3"
    unfinished.mkdir(parents=True)
    (unfinished.parent.parent / "blobs").mkdir()
    (unfinished.parent.parent / "blobs" / "abc.incomplete").write_bytes(b"")
    return tmp_path / "hub"


def test_a_cache_of_the_hub_is_named_with_its_models(cache: Path) -> None:
    for folder in (cache, cache.parent):  # HF_HUB_CACHE and HF_HOME
        said = refused(folder)
        assert "is a cache of downloads" in said
        assert "'somebody/embedder'" in said
        assert "'Qwen/Qwen3-Reranker-0.6B'" in said
        assert "bert" not in said
        assert "`cache_folder`" in said


@pytest.mark.parametrize("name", ["somebody/embedder", "Qwen/Qwen3-Reranker-0.6B"])
def test_the_cache_of_one_model_is_named_with_its_snapshot(cache: Path, name: str) -> None:
    said = refused(cache / f"models--{name.replace('/', '--')}")

    assert f"is the cache of the model {name!r}" in said
    assert str(Path("snapshots") / ("1" * 40)) in said


def test_an_interrupted_download_is_named(
    cache: Path, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    assert "was interrupted" in refused(cache / "models--a--b" / "snapshots" / "3")
    folder = tmp_path / "local"
    shutil.copytree(make_checkpoint("embedding"), folder)
    (folder / "model.safetensors").unlink()
    assert "save_pretrained" in refused(folder)
    place = folder / ".cache" / "huggingface" / "download"
    place.mkdir(parents=True)
    (place / "model.safetensors.abc.incomplete").write_bytes(b"")
    assert "was interrupted" in refused(folder)


def test_an_interrupted_download_by_name_is_named(cache: Path) -> None:
    for file in cache.glob("models--somebody--embedder/snapshots/*/*.safetensors"):
        file.unlink()

    said = refused("somebody/embedder", cache_folder=str(cache), local_files_only=True)

    assert "download of 'somebody/embedder' was interrupted" in said


@pytest.mark.parametrize("names", [["checkpoint-500"], ["checkpoint-1", "checkpoint-2"]])
def test_a_folder_around_checkpoints_names_them(
    names: list[str], embedding_folder: Path, tmp_path: Path
) -> None:
    for name in names:
        shutil.copytree(embedding_folder, tmp_path / name)

    said = refused(tmp_path)

    assert all(repr(name) in said for name in names)


def test_a_folder_with_nothing_of_a_checkpoint_says_what_one_holds(tmp_path: Path) -> None:
    assert "Give the folder that holds config.json" in refused(tmp_path)


# ------------------------------------------------------------------ names that are not found


@pytest.mark.parametrize(
    ("meant", "given"),
    [
        ("Qwen/Qwen3-Embedding-0.6B", "Qwen3-Embedding-0.6B"),
        ("Qwen/Qwen3-Embedding-0.6B", "qwen/qwen3-embedding-0.6b"),
        ("Qwen/Qwen3-Embedding-8B", "Qwen/Qwen3-Embeding-8B"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(
    meant: str, given: str, tmp_path: Path
) -> None:
    said = refused(given, cache_folder=str(tmp_path), local_files_only=True)

    assert f"Did you mean {meant!r}?" in said


def test_what_is_at_hand_is_named(cache: Path) -> None:
    options: dict[str, Any] = {"cache_folder": str(cache), "local_files_only": True}

    embedders = refused("nobody/nothing", **options)
    rerankers = refused("nobody/nothing", Qwen3Reranker, **options)

    assert "'tiny', 'somebody/embedder'." in embedders
    assert "'Qwen/Qwen3-Reranker-0.6B', 'somebody/embedder'." in rerankers
    assert "`local_files_only` forbids" in embedders


SERVER = """
import socket, sys, time
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen(0)
waiting = [socket.socket() for _ in range(4)]
for each in waiting:  # fill the queue, so that connecting hangs as behind a firewall
    each.setblocking(False)
    each.connect_ex(server.getsockname())
print(server.getsockname()[1], flush=True)
time.sleep(600)
"""

CLIENT = """
import sys, time
from qwen3_rag import ModelError, Qwen3Embedder
import huggingface_hub, tqdm
started = time.monotonic()
try:
    Qwen3Embedder(sys.argv[1], cache_folder=sys.argv[2]).warm_up()
except ModelError as error:
    print(f"{time.monotonic() - started:.2f} {error}")
print("torch" in sys.modules)
"""


@pytest.mark.parametrize("name", ["Qwen/Qwen3-Embedding-0.6B", "nobody/nothing"])
@pytest.mark.parametrize("hangs", [False, True])
def test_without_a_network_the_answer_comes_at_once(name: str, hangs: bool, tmp_path: Path) -> None:
    """The client itself takes half a minute to two minutes."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            port = int(server.stdout.readline()) if hangs else 9
            done = subprocess.run(
                [sys.executable, "-c", CLIENT, name, str(tmp_path)],
                capture_output=True,
                text=True,
                timeout=100,
                env={**_environment(), "HF_ENDPOINT": f"http://127.0.0.1:{port}"},
            )
        finally:
            server.kill()

    answer, torch_loaded = done.stdout.strip().splitlines()
    seconds, _, said = answer.partition(" ")
    assert "cannot be reached" in said
    assert "'tiny'" in said
    assert float(seconds) < 15
    assert torch_loaded == "False"


def _environment() -> dict[str, str]:
    import os

    left_out = ("HF_HUB_OFFLINE", "HF_HUB_ETAG_TIMEOUT", "HTTP_PROXY", "http_proxy", "ALL_PROXY")
    return {name: value for name, value in os.environ.items() if name not in left_out}
