"""Opening a model by name, folder or object, and every way that it can fail, with real files."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from qwen3_rag import (
    InputError,
    InputTypeError,
    MissingExtraError,
    ModelError,
    Qwen3Embedder,
    Qwen3RagError,
    Qwen3Reranker,
)
from qwen3_rag.backends._checkpoint.fingerprint import fingerprint
from qwen3_rag.backends._checkpoint.hub import FILES, NOT_FILES
from qwen3_rag.backends._local import device as machine
from qwen3_rag.backends._local.cpus import allowed_threads, container_quota
from qwen3_rag.integration import PUBLISHED, device_report, resolve_checkpoint
from qwen3_rag_testkit.checkpoints import write_checkpoint

MakeCheckpoint = Callable[..., Path]
Kind = type[Qwen3Embedder] | type[Qwen3Reranker]

EMBEDDING = "Qwen/Qwen3-Embedding-0.6B"


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copytree(folder, tmp_path / "copy"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def fails(kind: Kind, folder: Path | str, match: str, **options: Any) -> None:
    with (
        kind(str(folder), device="cpu", **options) as opened,
        pytest.raises(ModelError, match=match),
    ):
        opened.warm_up()


# ------------------------------------------------------------------ names


def cached(cache: Path, folder: Path, name: str, revision: str) -> None:
    """Lay a checkpoint out as the Hub's client keeps it."""
    place = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / revision)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(revision)


def test_published_name_takes_the_pinned_revision(tmp_path: Path, embedding_folder: Path) -> None:
    cached(tmp_path, embedding_folder, EMBEDDING, PUBLISHED[EMBEDDING].revision)

    with Qwen3Embedder(EMBEDDING, cache_folder=str(tmp_path), local_files_only=True) as embedder:
        assert embedder.warm_up().fingerprint == fingerprint(embedding_folder)
    fails(
        Qwen3Embedder,
        EMBEDDING,
        "at revision 'other' is neither a folder here nor in the local cache",
        cache_folder=str(tmp_path),
        local_files_only=True,
        revision="other",
    )


def test_a_cached_commit_is_opened_without_a_request_to_the_hub(
    tmp_path: Path, embedding_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    cached(tmp_path, embedding_folder, EMBEDDING, PUBLISHED[EMBEDDING].revision)
    asked: list[bool] = []
    download = huggingface_hub.snapshot_download

    def watch(*args: Any, **options: Any) -> Any:
        asked.append(options["local_files_only"])
        if not options["local_files_only"]:
            raise ConnectionError("no network")
        return download(*args, **options)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", watch)
    with Qwen3Embedder(EMBEDDING, cache_folder=str(tmp_path)) as embedder:
        embedder.warm_up()
    assert asked == [True]

    # An interrupted download is not mistaken for the checkpoint.
    for file in tmp_path.rglob("*.safetensors"):
        file.unlink()
    with (
        Qwen3Embedder(EMBEDDING, cache_folder=str(tmp_path)) as embedder,
        pytest.raises(ModelError, match=r"was interrupted|no network"),
    ):
        embedder.warm_up()
    assert asked[:2] == [True, True]
    assert len(asked) == 3


def test_other_names_take_the_main_branch(tmp_path: Path, reranking_folder: Path) -> None:
    cached(tmp_path, reranking_folder, "somebody/reranker", "1" * 40)

    with Qwen3Reranker(
        "somebody/reranker", cache_folder=str(tmp_path), local_files_only=True
    ) as reranker:
        assert reranker.warm_up().model == "somebody/reranker"


def test_download_from_a_hub(tmp_path: Path, embedding_folder: Path) -> None:
    # A local hub, named by an environment variable that the client reads once: hence the process.
    script = Path(__file__).with_name("hub_download.py")

    done = subprocess.run(
        [sys.executable, str(script), str(embedding_folder), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["fingerprint"] == fingerprint(embedding_folder)
    assert report["authorization"] == "Bearer secret"
    assert set(report["files"]) >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert "pytorch_model.bin" not in report["files"]


def test_modelscope_name(tmp_path: Path, embedding_folder: Path) -> None:
    pytest.importorskip("modelscope")
    place = tmp_path / "models" / "Qwen" / "Qwen3-Embedding-0.6B"
    shutil.copytree(embedding_folder, place)

    with Qwen3Embedder(
        f"modelscope:{EMBEDDING}", cache_folder=str(tmp_path), local_files_only=True
    ) as embedder:
        assert embedder.warm_up().fingerprint == fingerprint(embedding_folder)


def test_tiny_is_the_pair_that_comes_as_a_package() -> None:
    with Qwen3Embedder("tiny") as embedder, Qwen3Reranker("tiny") as reranker:
        query = embedder.embed_queries(["What is the capital of France?"])
        texts = ["Bananas are yellow and sweet.", "Paris is the capital city of France."]
        assert (query @ embedder.embed_documents(texts).T).argmax() == 1
        assert reranker.rank("What is the capital of France?", texts)[0].index == 1


def test_tiny_without_its_package_names_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"pip install \./shared/tiny"):
        resolve_checkpoint("tiny", "embedding")


def test_modelscope_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r'pip install "qwen3-rag\[modelscope\]"'):
        resolve_checkpoint("modelscope:a/b", "embedding")


@pytest.mark.parametrize(
    "name",
    [
        "~nobody-here/x",
        "a\0b",
        "x" * 5_000,
        "no/such/folder",
        "./missing",
        "/missing/folder",
        "missing",
        "~/missing-checkpoint",
    ],
)
def test_missing_folder(name: str) -> None:
    fails(Qwen3Embedder, name, "There is no folder")


def test_unknown_name_without_network(tmp_path: Path) -> None:
    fails(
        Qwen3Embedder,
        "nobody/nothing",
        "'nobody/nothing' is neither a folder here nor in the local cache, and",
        cache_folder=str(tmp_path),
    )


def test_a_failed_load_is_tried_again(tmp_path: Path, embedding_folder: Path) -> None:
    folder = tmp_path / "late"
    with Qwen3Embedder(str(folder)) as embedder:
        for _ in range(2):
            with pytest.raises(ModelError):
                embedder.warm_up()
        shutil.copytree(embedding_folder, folder)
        assert embedder.embed_documents(["a"]).shape == (1, 64)


# ------------------------------------------------------------------ broken checkpoints


@pytest.mark.parametrize("kept", [0, 7, 100, 5_000])
def test_truncated_weights(copy: Any, embedding_folder: Path, kept: int) -> None:
    folder = copy(embedding_folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])

    fails(Qwen3Embedder, folder, "weights of .* cannot be read")


def test_missing_shard(make_checkpoint: MakeCheckpoint, copy: Any) -> None:
    folder = copy(make_checkpoint("embedding", shards=True))
    sorted(folder.glob("*.safetensors"))[1].unlink()

    fails(Qwen3Embedder, folder, "cannot be read|lacks weights")


def test_missing_tensor(copy: Any, embedding_folder: Path) -> None:
    folder = copy(embedding_folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors["layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    fails(Qwen3Embedder, folder, "lacks weights .*layers.1.mlp.up_proj.weight")


def test_untied_head_that_is_missing(make_checkpoint: MakeCheckpoint, copy: Any) -> None:
    folder = copy(make_checkpoint("reranking", config={"tie_word_embeddings": False}))
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    fails(Qwen3Reranker, folder, "lacks weights .*lm_head.weight")


@pytest.mark.parametrize("classifier", [False, True])
def test_head_that_cannot_separate(
    make_checkpoint: MakeCheckpoint, copy: Any, classifier: bool
) -> None:
    untied = {"tie_word_embeddings": False}
    folder = copy(make_checkpoint("reranking", config=untied, classifier=classifier))
    tensors = load_file(folder / "model.safetensors")
    name = "score.weight" if classifier else "lm_head.weight"
    tensors[name] = torch.zeros_like(tensors[name]) + (0 if classifier else 0.1)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    fails(Qwen3Reranker, folder, "cannot tell yes from no")


def test_head_with_nan(make_checkpoint: MakeCheckpoint, copy: Any) -> None:
    folder = copy(make_checkpoint("reranking", config={"tie_word_embeddings": False}))
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][:] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    fails(Qwen3Reranker, folder, "holds NaN or infinity")


def test_weights_with_nan_never_become_vectors(copy: Any, embedding_folder: Path) -> None:
    folder = copy(embedding_folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["norm.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    with (
        Qwen3Embedder(str(folder), device="cpu") as embedder,
        pytest.raises(ModelError, match="gave NaN or infinity for text 0"),
    ):
        embedder.embed_documents(["a"])


def test_another_family(copy: Any, embedding_folder: Path) -> None:
    folder = copy(embedding_folder)
    edit(folder / "config.json", model_type="bert")

    fails(Qwen3Embedder, folder, "of the family 'bert'")


@pytest.mark.parametrize(
    "changes",
    [
        {"architectures": ["JinaForRanking"]},
        {"auto_map": {"AutoModel": "modeling.Own"}},
        {"is_causal": False},
    ],
)
def test_own_code_on_top_of_qwen3(
    copy: Any, embedding_folder: Path, changes: dict[str, Any]
) -> None:
    folder = copy(embedding_folder)
    edit(folder / "config.json", **changes)

    fails(Qwen3Embedder, folder, "is built on Qwen3 but changes it")


def test_weights_that_qwen3_does_not_have(copy: Any, embedding_folder: Path) -> None:
    folder = copy(embedding_folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["projector.0.weight"] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    fails(Qwen3Embedder, folder, "has weights that Qwen3 does not have: projector.0.weight")


def test_tokenizer_of_another_checkpoint(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint("embedding", config={"vocab_size": 300})

    fails(Qwen3Embedder, folder, "tokens and its embedding table 300")


@pytest.mark.parametrize("name", ["config.json", "modules.json"])
@pytest.mark.parametrize("content", ["[]", "3", '["x"]', '{"a": 1}'])
def test_configuration_that_makes_no_sense(
    copy: Any, embedding_folder: Path, name: str, content: str
) -> None:
    folder = copy(embedding_folder)
    (folder / name).write_text(content)
    if (name, content) == ("modules.json", "[]"):
        return  # no modules at all is as good as no file

    fails(Qwen3Embedder, folder, "Fetch the checkpoint again|of the family None")


def test_a_dense_layer_behind_the_pooling(copy: Any, embedding_folder: Path) -> None:
    folder = copy(embedding_folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules.append(
        {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    )
    (folder / "modules.json").write_text(json.dumps(modules))

    fails(Qwen3Embedder, folder, "has a dense layer behind the pooling")


def test_sliding_window(copy: Any, embedding_folder: Path) -> None:
    folder = copy(embedding_folder)
    edit(folder / "config.json", use_sliding_window=True)

    fails(Qwen3Embedder, folder, "sliding-window")


def test_another_activation(copy: Any, embedding_folder: Path) -> None:
    folder = copy(embedding_folder)
    edit(folder / "config.json", hidden_act="gelu")

    fails(Qwen3Embedder, folder, "changes it .activation 'gelu'")


def test_folder_without_config_weights_or_tokenizer(copy: Any, embedding_folder: Path) -> None:
    folder = copy(embedding_folder)
    (folder / "tokenizer.json").unlink()
    fails(Qwen3Embedder, folder, "needs the checkpoint's tokenizer.json")
    (folder / "model.safetensors").unlink()
    fails(Qwen3Embedder, folder, r"no \*.safetensors file")
    (folder / "config.json").write_text("{")
    fails(Qwen3Embedder, folder, "config.json of .* cannot be read")
    (folder / "config.json").unlink()
    fails(Qwen3Embedder, folder, "has no config.json")


def test_a_model_of_the_other_role(embedding_folder: Path, reranking_folder: Path) -> None:
    fails(Qwen3Embedder, reranking_folder, "is a reranker. Open it with Qwen3Reranker")
    fails(Qwen3Reranker, embedding_folder, "is an embedding model. Open it with Qwen3Embedder")
    with pytest.raises(InputError, match="Open it with Qwen3Reranker"):
        Qwen3Embedder("Qwen/Qwen3-Reranker-0.6B")
    with pytest.raises(InputError, match="Open it with Qwen3Embedder"):
        Qwen3Reranker("Qwen/Qwen3-Embedding-0.6B")


@pytest.mark.parametrize("pooling", [{"pooling_mode_lasttoken": False}, {"pooling_mode": "mean"}])
def test_another_pooling(copy: Any, embedding_folder: Path, pooling: dict[str, Any]) -> None:
    folder = copy(embedding_folder)
    edit(folder / "1_Pooling" / "config.json", **pooling)

    fails(Qwen3Embedder, folder, "only .lasttoken. is implemented")


def test_tokenizer_without_end_token_still_gives_the_same_vectors(
    make_checkpoint: MakeCheckpoint, embedding_folder: Path
) -> None:
    old = make_checkpoint("embedding", append_end=False)

    with (
        Qwen3Embedder(str(old), dtype="float32", device="cpu") as embedder,
        Qwen3Embedder(str(embedding_folder), dtype="float32", device="cpu") as published,
    ):
        with pytest.warns(UserWarning, match="appends no end token"):
            without = embedder.embed_documents(["some text"])
        expected = published.embed_documents(["some text"])

    assert (without * expected).sum() == pytest.approx(1, abs=1e-5)


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"device": "tpu9"}, "not one torch knows"),
        ({"device": "cuda:99"}, "not available here"),
        ({"device": "meta"}, "not available here"),
        ({"model_kwargs": {"no_such_option": 1}}, "refused by transformers"),
    ],
)
def test_settings_that_cannot_be_met(
    embedding_folder: Path, settings: dict[str, Any], match: str
) -> None:
    with (
        Qwen3Embedder(str(embedding_folder), **settings) as embedder,
        pytest.raises(InputError, match=match),
    ):
        embedder.warm_up()


def test_two_devices_load_at_once(embedding_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both are the CPU, each with a thread and a replica of its own.
    monkeypatch.setattr(machine, "choose_devices", lambda device: ("cpu", "cpu:0"))
    texts = [f"text {i}" for i in range(50)]

    for _ in range(5):
        with Qwen3Embedder(str(embedding_folder), dtype="bfloat16", batch_tokens=64) as embedder:
            vectors = embedder.embed_documents(texts)
        assert vectors.shape == (50, 64)
        assert torch.get_default_dtype() is torch.float32


def test_torchs_own_objects_and_paths_are_fine(embedding_folder: Path) -> None:
    settings: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
    with Qwen3Embedder(embedding_folder, **settings) as embedder:
        assert embedder.warm_up().dim == 64


def test_dtype_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_has_bfloat16", lambda: True)
    assert machine.choose_dtype(None, "cpu", hidden_size=1024) is torch.bfloat16
    monkeypatch.setattr(machine, "cpu_has_bfloat16", lambda: False)
    assert machine.choose_dtype(None, "cpu", hidden_size=1024) is torch.float32
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert machine.choose_dtype(None, "cuda:0", hidden_size=1024) is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert machine.choose_dtype(None, "cuda:0", hidden_size=1024) is torch.float32
    assert machine.choose_dtype(None, "mps", hidden_size=1024) is torch.float32
    assert machine.choose_dtype("float16", "cuda:0", hidden_size=2560) is torch.float16
    with pytest.raises(InputError, match="overflows in the 8B models"):
        machine.choose_dtype("float16", "cuda:0", hidden_size=4096)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_container_quota(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)

    assert container_quota(tmp_path) == expected


def test_threads_never_exceed_what_the_process_may_use() -> None:
    assert 1 <= allowed_threads() <= (container_quota() or 10_000)


def test_the_report_has_the_threads_that_torch_was_given() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert device_report("cpu").threads == 1
        torch.set_num_threads(10_000)
        assert device_report("cpu").threads == device_report("cpu").cpus == allowed_threads()
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------------------------ the caller's own objects


def test_objects_that_are_no_qwen3_model(embedding_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedding_folder)
    model = AutoModel.from_pretrained(embedding_folder)

    for thing in (None, object(), torch.nn.Linear(1, 1)):
        with pytest.raises(InputTypeError, match="must be a transformers Qwen3 model, got"):
            Qwen3Embedder.from_model(thing, tokenizer).warm_up()
    with pytest.raises(InputTypeError, match="must be a fast tokenizer, got int"):
        Qwen3Embedder.from_model(model, 3).warm_up()


def test_trunk_without_a_head_is_refused_as_a_reranker(reranking_folder: Path) -> None:
    trunk = AutoModel.from_pretrained(reranking_folder)
    tokenizer = AutoTokenizer.from_pretrained(reranking_folder)

    with pytest.raises(ModelError, match="without a language-model head"):
        Qwen3Reranker.from_model(trunk, tokenizer).warm_up()


def test_callers_model_in_training_mode_is_refused(reranking_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(reranking_folder)
    model.model.layers[0].mlp = torch.nn.Sequential(
        model.model.layers[0].mlp, torch.nn.Dropout(0.1)
    )
    model.train()
    tokenizer = AutoTokenizer.from_pretrained(reranking_folder)

    with pytest.raises(ModelError, match=r"Call `model.eval\(\)`"):
        Qwen3Reranker.from_model(model, tokenizer).warm_up()
    with Qwen3Reranker.from_model(model.eval(), tokenizer) as reranker:
        reranker.warm_up()


def test_callers_model_with_a_blind_head_is_refused(reranking_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(reranking_folder)
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    tokenizer = AutoTokenizer.from_pretrained(reranking_folder)

    with pytest.raises(ModelError, match="cannot tell yes from no"):
        Qwen3Reranker.from_model(model, tokenizer).warm_up()


def test_from_model_refuses_pickling(reranking_folder: Path) -> None:
    import pickle

    model = AutoModelForCausalLM.from_pretrained(reranking_folder)
    reranker = Qwen3Reranker.from_model(model, AutoTokenizer.from_pretrained(reranking_folder))

    with pytest.raises(Qwen3RagError, match="which no pickle or file holds"):
        pickle.dumps(reranker)
    reranker.close()


def test_fingerprint_is_the_contents_not_the_paths(tmp_path: Path, embedding_folder: Path) -> None:
    twin = Path(shutil.copytree(embedding_folder, tmp_path / "twin"))
    other = write_checkpoint(tmp_path / "other", "embedding", seed=1)

    assert fingerprint(twin) == fingerprint(embedding_folder)
    assert fingerprint(other) != fingerprint(embedding_folder)


@pytest.mark.parametrize("name", ["norm.weight", "layers.3.self_attn.q_norm.weight"])
def test_fingerprint_notices_one_number_of_a_large_file(
    make_checkpoint: MakeCheckpoint, copy: Any, name: str
) -> None:
    big = make_checkpoint("embedding", config={"hidden_size": 512, "intermediate_size": 2048})
    folder = copy(big)
    tensors = load_file(folder / "model.safetensors")
    tensors[name][5] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    assert fingerprint(folder) != fingerprint(big)


def test_only_the_checkpoints_own_files_are_fetched() -> None:
    utils: Any = importlib.import_module("huggingface_hub.utils")
    wanted = ["config.json", "model-00001-of-00002.safetensors", "tokenizer.json"]
    wanted += ["model.safetensors.index.json", "1_Pooling/config.json"]
    others = ["checkpoint-500/model.safetensors", "mlx/model.safetensors", "data/train.json"]
    others += ["pytorch_model.bin", "onnx/model.onnx", "a/b/config.json"]

    kept = utils.filter_repo_objects(
        wanted + others, allow_patterns=FILES, ignore_patterns=NOT_FILES
    )

    assert list(kept) == wanted


def test_loading_prints_nothing(embedding_folder: Path, reranking_folder: Path) -> None:
    code = (
        "from qwen3_rag import Qwen3Embedder, Qwen3Reranker\n"
        f"Qwen3Embedder({str(embedding_folder)!r}).embed_documents(['a'], progress=True)\n"
        f"Qwen3Reranker({str(reranking_folder)!r}).rank('q', ['a'], progress=True)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
