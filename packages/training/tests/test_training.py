"""Both kinds of training end to end, on a checkpoint with a few thousand weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from qwen3_rag.errors import InputError, ModelError
from qwen3_rag_training import (
    EmbeddingTraining,
    RerankingTraining,
    Schedule,
    TrainedRun,
    train_embedder,
    train_reranker,
)
from qwen3_rag_training.loop import LOG, STATE, optimise

SCHEDULE = Schedule(steps=8, batch_size=8, learning_rate=3e-3, log_every=1, save_every=3)


def job(role: str, checkpoints: dict[str, Path], data: Path, output: Path, **more: Any) -> Any:
    kind: Any = EmbeddingTraining if role == "embedding" else RerankingTraining
    settings: dict[str, Any] = {"schedule": SCHEDULE, "negatives": 1, **more}
    return kind(model=checkpoints[role], data=data, output=output, **settings)


def run(config: Any, **more: Any) -> TrainedRun:
    train: Any = train_embedder if isinstance(config, EmbeddingTraining) else train_reranker
    result: TrainedRun = train(config, **more)
    return result


def losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    found = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    assert [step for step, _ in found] == list(range(1, len(found) + 1))
    return dict(found)


@pytest.mark.parametrize("role", ["embedding", "reranking"])
def test_training_lowers_the_loss(
    role: str, checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    long = dataclasses.replace(SCHEDULE, steps=40, warmup=0.05)

    run(job(role, checkpoints, data, tmp_path, schedule=long))

    seen = list(losses(tmp_path).values())
    assert sum(seen[-5:]) < 0.8 * sum(seen[:5])


@pytest.mark.parametrize("role", ["embedding", "reranking"])
@pytest.mark.parametrize("stopped_at", [3, 5])
def test_resumed_run_gives_the_result_of_an_uninterrupted_one(
    role: str, stopped_at: int, checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    whole = run(job(role, checkpoints, data, tmp_path / "whole"))
    broken = job(role, checkpoints, data, tmp_path / "broken")

    run(broken, stop_after=stopped_at)
    resumed = run(broken)

    assert resumed.loss == pytest.approx(whole.loss, abs=1e-6)
    assert losses(broken.output) == pytest.approx(losses(whole.folder), abs=1e-6)
    left = load_file(whole.folder / "model.safetensors")
    right = load_file(resumed.folder / "model.safetensors")
    for name, tensor in left.items():
        torch.testing.assert_close(right[name], tensor, atol=1e-6, rtol=0)


def test_steps_after_the_last_saved_state_are_repeated(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    whole = run(job("embedding", checkpoints, data, tmp_path / "whole"))
    broken = job("embedding", checkpoints, data, tmp_path / "broken")
    run(broken, stop_after=3)
    # A run killed at step 5 leaves the state of step 3, later log lines and an incomplete one.
    with (broken.output / LOG).open("a") as log:
        log.write('{"step": 4, "loss": 99.0}\n{"step": 5, "lo')

    resumed = run(broken)

    assert losses(resumed.folder) == pytest.approx(losses(whole.folder), abs=1e-6)


def test_state_of_a_run_with_other_settings_is_an_error(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    config = job("embedding", checkpoints, data, tmp_path)
    run(config, stop_after=2)

    with pytest.raises(InputError, match="belongs to a run with other settings"):
        run(dataclasses.replace(config, temperature=0.2))


def test_invalid_state_is_a_model_error(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    (tmp_path / STATE).write_bytes(b"half a st")

    with pytest.raises(ModelError, match="Delete it to start anew"):
        run(job("embedding", checkpoints, data, tmp_path))


def test_held_out_metrics_are_reported_and_logged(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    more = {"held_out": data, "dims": (32, 16)}

    embedding = run(job("embedding", checkpoints, data, tmp_path / "e", **more))
    reranking = run(job("reranking", checkpoints, data, tmp_path / "r", held_out=data))

    assert embedding.evaluation.keys() == {"ndcg@10", "ndcg@10/16"}
    assert all(0 < value <= 1 for value in embedding.evaluation.values())
    assert 0 <= reranking.evaluation["pair_accuracy"] <= 1
    last = json.loads((reranking.folder / LOG).read_text().splitlines()[-1])
    assert last == {"step": 8, **reranking.evaluation}


def test_seed_decides_the_result(checkpoints: dict[str, Path], data: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(SCHEDULE, seed=1)

    first = run(job("embedding", checkpoints, data, tmp_path / "a"))
    again = run(job("embedding", checkpoints, data, tmp_path / "b"))
    seeded = run(job("embedding", checkpoints, data, tmp_path / "c", schedule=other))

    assert again.loss == first.loss
    assert seeded.loss != first.loss


def test_non_finite_loss_stops_the_run(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)

    with pytest.raises(ModelError, match="The loss became nan"):
        optimise(
            model,
            lambda batch: model(torch.full((1, 2), torch.nan)).sum(),
            lambda first: iter([[0]] * 3),
            SCHEDULE,
            tmp_path,
            job="",
        )


def test_gradient_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)

    def loss(batch: list[int]) -> torch.Tensor:
        # The root of zero is zero, and its gradient infinite.
        zero: torch.Tensor = model(torch.ones(1, 2)) * 0
        return zero.abs().sqrt().sum()

    with pytest.raises(ModelError, match="The gradient became"):
        optimise(model, loss, lambda first: iter([[0]] * 3), SCHEDULE, tmp_path, job="")


def test_metrics_that_are_not_finite_stop_the_run(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)

    with pytest.raises(ModelError, match=r"held-out metrics became.*nan"):
        optimise(
            model,
            lambda batch: model(torch.ones(1, 2)).sum(),
            lambda first: iter([[0]] * 8),
            SCHEDULE,
            tmp_path,
            job="",
            evaluate=lambda: {"held_out_loss": float("nan")},
        )


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5])
def test_seeds_that_no_generator_takes_are_input_errors(seed: Any) -> None:
    with pytest.raises(InputError, match="`seed` must be"):
        Schedule(steps=1, seed=seed)


def test_learning_rate_warms_up_then_decays() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0, warmup=0.1)

    rates = [schedule.rate(step) for step in range(100)]

    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[10]) == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("name", ["steps", "batch_size", "block", "log_every", "save_every"])
def test_counts_must_be_positive(name: str) -> None:
    with pytest.raises(InputError, match=f"`{name}`"):
        Schedule(**{"steps": 5, name: 0})


def test_folder_without_a_checkpoint_is_a_model_error(data: Path, tmp_path: Path) -> None:
    config = EmbeddingTraining(
        model=tmp_path, data=data, output=tmp_path / "out", schedule=SCHEDULE
    )

    with pytest.raises(ModelError, match=r"no config\.json"):
        train_embedder(config)


@pytest.mark.parametrize("kind", [EmbeddingTraining, RerankingTraining])
@pytest.mark.parametrize(
    "wrong", [{"dtype": "int8"}, {"device": "abacus"}, {"negatives": -1}, {"max_query_tokens": 0}]
)
def test_invalid_settings_are_errors(
    kind: Any, wrong: dict[str, Any], data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"`{next(iter(wrong))}`"):
        kind(model=tmp_path, data=data, output=tmp_path, schedule=SCHEDULE, **wrong)


def test_dims_beyond_the_model_are_an_error_before_training(
    checkpoints: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="between 1 and the model's 32"):
        run(job("embedding", checkpoints, data, tmp_path, dims=(64, 16)))
