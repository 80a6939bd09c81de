"""`train embed`, `train rerank` and `merge`, on checkpoints of a few thousand weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import Qwen3Embedder, Qwen3Reranker

TOPICS = ("apples", "rivers", "engines", "violins", "glaciers", "lanterns", "pepper", "marble")
QUICK = ("--steps", "2", "--batch-size", "4", "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "training.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for index, topic in enumerate(TOPICS):
            record = {
                "query": f"what about {topic}",
                "positive": f"All about {topic}.",
                "negatives": [f"Nothing but {TOPICS[index - 3]}."],
            }
            lines.write(json.dumps(record) + "\n")
    return file


def test_train_embed_writes_a_checkpoint_that_loads(cli: Any, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "adapted"
    options = ["--model", cli.embedding, "--held-out", data, "--dim", "64", "--dim", "32"]

    said = cli.run("train", "embed", data, "--output", output, *options, *QUICK, "--json")

    assert said.code == 0, said.err
    assert said.json["folder"] == str(output)
    assert said.json["steps"] == 2
    assert said.json["loss"] > 0
    assert said.json["evaluation"].keys() == {"ndcg@10", "ndcg@10/32"}
    with Qwen3Embedder(cli.embedding, device="cpu") as before:
        old = before.embed_documents(["All about rivers."])
    with Qwen3Embedder(output, device="cpu") as after:
        assert abs(after.embed_documents(["All about rivers."]) - old).max() > 1e-6


def test_train_rerank_writes_a_checkpoint_that_loads(cli: Any, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "adapted"
    options = ["--model", cli.reranking, "--held-out", data]

    said = cli.run("train", "rerank", data, "--output", output, *options, *QUICK)

    assert said.code == 0, said.err
    assert said.out.startswith("2 steps. Loss ")
    assert "pair_accuracy" in said.out
    assert str(output) in said.out.replace("\n", "")
    with Qwen3Reranker(output, device="cpu") as reranker:
        assert len(reranker.rank("rivers", ["All about rivers.", "No."])) == 2


def test_train_with_lora_writes_an_adapter(cli: Any, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="adapters need peft")
    lora = ("--lora", "--rank", "2", "--alpha", "3", "--dropout", "0.1", "--target", "q_proj")
    command = ("train", "embed", data, "--output", tmp_path, "--model", cli.embedding, *QUICK)

    said = cli.run(*command, *lora)

    assert said.code == 0, said.err
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert [config[name] for name in ("r", "lora_alpha", "lora_dropout")] == [2, 3, 0.1]
    assert config["target_modules"] == ["q_proj"]
    assert [file.name for file in tmp_path.glob("*.safetensors")] == ["adapter_model.safetensors"]


def test_train_with_lora_and_merged_writes_a_checkpoint(
    cli: Any, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="adapters need peft")
    command = ("train", "rerank", data, "--output", tmp_path, "--model", cli.reranking, *QUICK)

    said = cli.run(*command, "--lora", "--merged")

    assert said.code == 0, said.err
    with Qwen3Reranker(tmp_path, device="cpu") as reranker:
        assert len(reranker.rank("rivers", ["All about rivers.", "No."])) == 2


def test_without_steps_the_data_is_gone_through_once(cli: Any, data: Path, tmp_path: Path) -> None:
    said = cli.run(
        "train", "embed", data, "--output", tmp_path / "adapted", "--model", cli.embedding,
        "--batch-size", "4", "--device", "cpu", "--json",
    )  # fmt: skip

    assert said.json["steps"] == len(TOPICS) / 4


def test_a_finished_training_run_again_changes_nothing(
    cli: Any, data: Path, tmp_path: Path
) -> None:
    command = ("train", "embed", data, "--output", tmp_path, "--model", cli.embedding, *QUICK)
    first = cli.run(*command, "--json").json
    weights = (tmp_path / "model.safetensors").read_bytes()

    assert cli.run(*command, "--json").json == first
    assert (tmp_path / "model.safetensors").read_bytes() == weights


def test_another_training_in_the_same_folder_is_refused(
    cli: Any, data: Path, tmp_path: Path
) -> None:
    command = ("train", "embed", data, "--output", tmp_path, "--model", cli.embedding, *QUICK)
    cli.run(*command)

    said = cli.run(*command, "--seed", "7")

    assert said.code == 2
    assert "belongs to a run with other settings" in said.err


def test_quiet_training_says_nothing(cli: Any, data: Path, tmp_path: Path) -> None:
    said = cli.process(
        "train", "embed", data, "--output", tmp_path, "--model", cli.embedding, *QUICK, "--quiet"
    )

    assert (said.code, said.out, said.err) == (0, "", "")


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--batch-size", "0", "`batch_size`"),
        ("--steps", "0", "`steps`"),
        ("--device", "abacus", "`device`"),
        ("--dtype", "int8", "`dtype`"),
        ("--dim", "4096", "`dims`"),
        ("--held-out", "nowhere.jsonl", "nowhere.jsonl"),
        ("--learning-rate", "nan", "`learning_rate`"),
        ("--rank", "4", "--rank: only with --lora"),
        ("--target", "q_proj", "--target: only with --lora"),
    ],
)
def test_wrong_options_are_input_errors(
    option: str, value: str, named: str, cli: Any, data: Path, tmp_path: Path
) -> None:
    command = ["train", "embed", data, "--output", tmp_path, "--model", cli.embedding, *QUICK]

    said = cli.run(*command, option, value)

    assert said.code == 2, said.err
    assert said.err.startswith("Error: ")
    assert named in said.err
    assert not (tmp_path / "model.safetensors").exists()


def test_broken_lines_are_named(cli: Any, data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(data.read_text() + '{"query": "alone"}\n')

    said = cli.run("train", "rerank", broken, "--output", tmp_path, "--model", cli.reranking)

    assert said.code == 2
    assert f"line {len(TOPICS) + 1}: `positive` must be" in said.err


def test_a_reranker_is_no_embedding_model(cli: Any, data: Path, tmp_path: Path) -> None:
    said = cli.run("train", "embed", data, "--output", tmp_path, "--model", cli.reranking, *QUICK)

    assert said.code == 4
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_is_an_input_error(
    cli: Any, data: Path, tmp_path: Path
) -> None:
    output = data / "adapted"  # below a file
    trained = cli.run("train", "embed", data, "--output", output, "--model", cli.embedding, *QUICK)
    merged = cli.run("merge", cli.embedding, cli.embedding, "--output", output)

    for said in (trained, merged):
        assert said.code == 2
        assert "`output`" in said.err


def test_merge_of_a_model_with_itself_is_itself(cli: Any, tmp_path: Path) -> None:
    said = cli.run("merge", cli.embedding, cli.embedding, "--output", tmp_path / "same", "--json")

    assert said.code == 0, said.err
    assert said.json["largest_angle"]["radians"] == 0
    assert said.json["tensors"] > 0
    for file in cli.embedding.glob("*.safetensors"):
        assert (tmp_path / "same" / file.name).read_bytes() == file.read_bytes()


def test_merge_takes_a_share_for_each_model(cli: Any, data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    more = ("--learning-rate", "0.01", "--model", cli.embedding, *QUICK)
    cli.run("train", "embed", data, "--output", other, *more)
    shares = ("--share", "3", "--share", "1")

    said = cli.run("merge", cli.embedding, other, "--output", tmp_path / "merged", *shares)
    refused = cli.run("merge", cli.embedding, other, "--output", tmp_path / "no", "--share", "3")

    assert said.code == 0, said.err
    assert "Largest angle: 0." in said.out
    assert refused.code == 2
    assert "one positive, finite number per model" in refused.err


@pytest.mark.parametrize("share", ["nan", "inf", "-inf"])
def test_share_that_is_not_finite_is_an_input_error(share: str, cli: Any, tmp_path: Path) -> None:
    shares = ("--share", "1", "--share", share)

    said = cli.run(
        "merge", cli.embedding, cli.embedding, "--output", tmp_path / "no", *shares, "--json"
    )

    assert said.code == 2
    assert "finite" in said.err
    assert said.out == ""
    assert not (tmp_path / "no").exists()


def test_merge_of_a_model_with_nan_is_a_model_error(cli: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(cli.embedding, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    next(iter(weights.values())).view(-1)[3] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})

    said = cli.run("merge", cli.embedding, broken, "--output", tmp_path / "no", "--json")

    assert said.code == 4
    assert "holds NaN or infinity" in said.err
    assert said.out == ""
    assert not list((tmp_path / "no").glob("*.safetensors"))


def test_merge_of_one_model_is_an_input_error(cli: Any, tmp_path: Path) -> None:
    said = cli.run("merge", cli.embedding, "--output", tmp_path / "merged")

    assert said.code == 2
    assert "two or more models, got 1" in said.err


@pytest.mark.parametrize(
    "command", [["train", "embed", "x", "--output", "y"], ["merge", "a", "b", "--output", "c"]]
)
def test_without_the_training_package_the_install_line_is_given(command: list[str]) -> None:
    pytest.importorskip("torch")
    code = (
        "import sys\nsys.modules['qwen3_rag_training'] = None\n"
        f"from qwen3_rag_cli.app import app\napp({command!r})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 5
    assert "pip install ./packages/training" in done.stderr
    assert "Traceback" not in done.stderr
