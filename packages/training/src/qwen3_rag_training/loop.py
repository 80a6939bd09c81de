"""The training loop: schedule, log, and a state from which an interrupted run resumes.

A run that is killed and started again with the same arguments gives the same result as an
uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qwen3_rag.errors import InputError, ModelError
from qwen3_rag.integration import check_count, progress_bar

__all__ = ["LOG", "STATE", "Schedule", "TrainedRun", "optimise"]

LOG = "training_log.jsonl"
STATE = "training_state.pt"

# The cosine decay ends at this share of the peak, so that the last steps still have an effect.
_FLOOR = 0.05


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Number of steps, batch size, learning rate, and how often to log, save and evaluate.

    Attributes:
        steps: Total number of optimiser steps.
        batch_size: Examples per step.
        learning_rate: Peak learning rate.
        warmup: Share of the steps in which the learning rate rises to its peak.
        weight_decay: Weight decay of matrices; norms and token embeddings have none.
        clip: Maximum gradient norm.
        seed: Seed of the order of examples.
        block: Number of consecutive lines that stay together; see `data.batches`.
        log_every: Steps between log lines.
        save_every: Steps between saved states.
        evaluate_every: Steps between evaluations; 0 evaluates at the end only.
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    block: int = 1
    log_every: int = 10
    save_every: int = 200
    evaluate_every: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "block", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        check_count(self.seed, "seed", 0, 2**63 - 1, required=True)
        if not 0 < self.learning_rate < math.inf:
            raise InputError(
                f"`learning_rate` must be a positive number, got {self.learning_rate}."
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (from 0): linear warm-up, then cosine decay."""
        warmup = max(1, round(self.warmup * self.steps))
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, self.steps - warmup)
        share = _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.learning_rate * share


@dataclass(frozen=True)
class TrainedRun:
    """The result of a training run.

    Attributes:
        folder: The checkpoint's folder.
        steps: Total number of steps, including those before a resume.
        loss: Loss of the last step.
        evaluation: Metrics on the held-out examples; empty without held-out examples.
    """

    folder: Path
    steps: int
    loss: float
    evaluation: dict[str, float]


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    plain: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        undecayed = parameter.ndim < 2 or "embed_tokens" in name
        (plain if undecayed else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": decay},
        {"params": plain, "weight_decay": 0.0},
    ]


class _Log:
    """A log in JSON lines. On resume, the lines of steps that will be repeated are dropped."""

    def __init__(self, file: Path, step: int) -> None:
        self._file = file
        kept = []
        if file.is_file():
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
                except ValueError:
                    continue  # a line cut short when the run was killed
        file.write_text("".join(kept), encoding="utf-8")

    def write(self, **record: Any) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


def _digest(schedule: Schedule, job: str) -> str:
    """Hash a job. The intervals of logging, saving and evaluating are not included."""
    settings = asdict(schedule)
    for name in ("log_every", "save_every", "evaluate_every"):
        del settings[name]
    return hashlib.sha256(json.dumps([settings, job], sort_keys=True).encode()).hexdigest()


def _save(file: Path, state: dict[str, Any]) -> None:
    part = file.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, file)  # atomic: a killed run leaves the old state or the new one


def _load(file: Path, digest: str) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise many types
        raise ModelError(
            f"The training state {str(file)!r} cannot be read: {error}. Delete it to start anew."
        ) from error
    if state["digest"] != digest:
        raise InputError(
            f"{str(file)!r} belongs to a run with other settings or data. Give the same "
            "arguments to resume it, give another output folder, or delete it to start again."
        )
    return state


def optimise(
    model: nn.Module,
    loss_of: Callable[[list[int]], Tensor],
    order: Callable[[int], Iterator[list[int]]],
    schedule: Schedule,
    output: Path,
    *,
    job: str,
    evaluate: Callable[[], dict[str, float]] | None = None,
    progress: bool = False,
    stop_after: int | None = None,
) -> tuple[float, dict[str, float]]:
    """Train a model, or resume from a saved state.

    Args:
        model: The model, trained in place.
        loss_of: Computes the loss of the examples with the given indices.
        order: Returns the batches of indices, starting at the given step.
        schedule: Number of steps, learning rate and intervals.
        output: Folder of the log and the state; an existing state is resumed.
        job: Identifies the data and settings; the state of another job is rejected.
        evaluate: Computes metrics on the held-out examples, for the log.
        progress: Whether to show a progress bar on a terminal.
        stop_after: Stop after this many steps of the schedule and save the state.

    Returns:
        The loss of the last step and the last metrics.

    Raises:
        ModelError: The loss, its gradient or a metric is not finite, or the state cannot be read.
        InputError: The state belongs to another run.
    """
    output.mkdir(parents=True, exist_ok=True)
    optimiser = torch.optim.AdamW(_groups(model, schedule.weight_decay), betas=(0.9, 0.98))
    digest = _digest(schedule, job)
    state = _load(output / STATE, digest)
    first, loss, metrics = 0, math.nan, dict[str, float]()
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    if state is not None:
        model.load_state_dict(state["model"], strict=False)  # frozen weights are not in it
        optimiser.load_state_dict(state["optimiser"])
        first, loss, metrics = state["step"], state["loss"], state["figures"]
    log = _Log(output / LOG, first)
    steps = schedule.steps if stop_after is None else min(stop_after, schedule.steps)
    model.train()
    with progress_bar(progress, steps - first, "Training", "step") as advance:
        started = time.monotonic()
        for step, batch in zip(range(first, steps), order(first), strict=False):
            rate = schedule.rate(step)
            with _seeded(model, schedule.seed, step):
                loss, norm = _step(model, optimiser, loss_of(batch), rate, schedule.clip)
            done = step + 1
            if done % schedule.log_every == 0 or done == steps:
                seconds = round(time.monotonic() - started, 1)
                log.write(step=done, loss=loss, learning_rate=rate, norm=norm, seconds=seconds)
            if evaluate and (done == steps or _due(done, schedule.evaluate_every)):
                metrics = _evaluated(model, evaluate)
                log.write(step=done, **metrics)
            if done == steps or done % schedule.save_every == 0:
                saved: dict[str, Any] = {
                    "model": trained,
                    "optimiser": optimiser.state_dict(),
                }
                saved |= {"step": done, "loss": loss, "figures": metrics, "digest": digest}
                _save(output / STATE, saved)
            if advance:
                advance(1)
    model.eval()
    return loss, metrics


@contextmanager
def _seeded(model: nn.Module, seed: int, step: int) -> Iterator[None]:
    """Let the random numbers of a step (dropout) depend on the seed and the step alone.

    A resumed run then draws the numbers of an uninterrupted one.
    """
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))
        yield


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _step(
    model: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor, rate: float, clip: float
) -> tuple[float, float]:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ModelError(
            f"The loss became {value}. Lower `learning_rate`, or train in float32 or bfloat16."
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch ships it without types
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), clip))
    if not math.isfinite(norm):
        raise ModelError(
            f"The gradient became {norm}. Lower `learning_rate`, or train in float32 or bfloat16."
        )
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return value, norm


def _evaluated(model: nn.Module, evaluate: Callable[[], dict[str, float]]) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        metrics = evaluate()
    model.train()
    if not all(map(math.isfinite, metrics.values())):
        raise ModelError(
            f"The held-out metrics became {metrics}. Lower `learning_rate`, or train in float32 or "
            "bfloat16."
        )
    return metrics
