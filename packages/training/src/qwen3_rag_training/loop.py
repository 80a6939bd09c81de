"""Full fine-tuning with a schedule, logs, and a state that survives a kill.

Knows torch and files; the loss is a function it is given. A run that was killed and started again
with the same arguments ends with the numbers of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qwen3_rag.errors import InputError, ModelError
from qwen3_rag.integration import progress_bar

__all__ = ["LOG", "STATE", "Schedule", "TrainedRun", "optimise"]

LOG = "training_log.jsonl"
STATE = "training_state.pt"

# Cosine decay ends at this share of the peak, so that the last steps still do something.
_FLOOR = 0.05


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to train; what both jobs have in common.

    Attributes:
        steps: Optimiser steps in all.
        batch_size: Examples per step.
        learning_rate: At its peak.
        warmup: Share of the steps the learning rate takes to get there.
        weight_decay: On matrices; never on norms or the token embeddings.
        clip: Largest norm of the gradient.
        seed: Of the order of examples.
        block: Neighbouring lines that stay neighbours; see `data.batches`.
        log_every: Steps between log lines.
        save_every: Steps between saved states.
        evaluate_every: Steps between held-out evaluations; 0 evaluates at the end only.
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
        if not self.learning_rate > 0:
            raise InputError(f"`learning_rate` must be positive, got {self.learning_rate}.")

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: linear up, then half a cosine down."""
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        done = (step - rising) / max(1, self.steps - rising)
        share = _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.learning_rate * share


@dataclass(frozen=True)
class TrainedRun:
    """What came of a run.

    Attributes:
        folder: The checkpoint.
        steps: Steps taken in all, earlier runs of the same state included.
        loss: Loss of the last step.
        evaluation: Figures on the held-out examples; empty without any.
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
        kept = parameter.ndim < 2 or "embed_tokens" in name
        (plain if kept else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": decay},
        {"params": plain, "weight_decay": 0.0},
    ]


class _Log:
    """JSON lines; on resume, lines of steps that will be taken again are dropped."""

    def __init__(self, file: Path, step: int) -> None:
        self._file = file
        kept = []
        if file.is_file():
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
                except ValueError:
                    continue  # the line a kill cut off
        file.write_text("".join(kept), encoding="utf-8")

    def write(self, **record: Any) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


def _digest(schedule: Schedule, job: str) -> str:
    """Equal for equal jobs. How often to log, save or look does not change a run's numbers."""
    settings = asdict(schedule)
    for name in ("log_every", "save_every", "evaluate_every"):
        del settings[name]
    return hashlib.sha256(json.dumps([settings, job], sort_keys=True).encode()).hexdigest()


def _save(file: Path, state: dict[str, Any]) -> None:
    part = file.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, file)  # a kill leaves the old state or the new one, never half of one


def _load(file: Path, digest: str) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise their own
        raise ModelError(
            f"The training state {str(file)!r} cannot be read: {error}. Delete it to start anew."
        ) from error
    if state["digest"] != digest:
        raise InputError(
            f"{str(file)!r} belongs to a run with other settings or data. Give the same "
            "arguments to go on with it, another output folder, or delete it to start anew."
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
    """Run or continue a training.

    Args:
        model: Trained in place.
        loss_of: Loss of the examples with these indices.
        order: Batches of indices from a step on.
        schedule: How long and how fast.
        output: Holds log and state; an existing state is continued.
        job: What else the run depends on (data, model, sizes); a state of another is refused.
        evaluate: Figures on held-out examples, for the log.
        progress: Whether to show a bar on a terminal.
        stop_after: Leave after this many steps of the schedule, as a kill would but with a saved
            state.

    Returns:
        Loss of the last step, and the last evaluation.

    Raises:
        ModelError: The loss is not finite, or the state cannot be read.
        InputError: The state belongs to another run.
    """
    output.mkdir(parents=True, exist_ok=True)
    optimiser = torch.optim.AdamW(_groups(model, schedule.weight_decay), betas=(0.9, 0.98))
    digest = _digest(schedule, job)
    state = _load(output / STATE, digest)
    first, loss, figures = 0, math.nan, dict[str, float]()
    if state is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first, loss, figures = state["step"], state["loss"], state["figures"]
    log = _Log(output / LOG, first)
    steps = schedule.steps if stop_after is None else min(stop_after, schedule.steps)
    model.train()
    with progress_bar(progress, steps - first, "Training", "step") as advance:
        started = time.monotonic()
        for step, batch in zip(range(first, steps), order(first), strict=False):
            rate = schedule.rate(step)
            loss, norm = _step(model, optimiser, loss_of(batch), rate, schedule.clip)
            done = step + 1
            if done % schedule.log_every == 0 or done == steps:
                seconds = round(time.monotonic() - started, 1)
                log.write(step=done, loss=loss, learning_rate=rate, norm=norm, seconds=seconds)
            if evaluate and (done == steps or _due(done, schedule.evaluate_every)):
                figures = _evaluated(model, evaluate)
                log.write(step=done, **figures)
            if done == steps or done % schedule.save_every == 0:
                saved: dict[str, Any] = {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                }
                saved |= {"step": done, "loss": loss, "figures": figures, "digest": digest}
                _save(output / STATE, saved)
            if advance:
                advance(1)
    model.eval()
    return loss, figures


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
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    return value, norm


def _evaluated(model: nn.Module, evaluate: Callable[[], dict[str, float]]) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        figures = evaluate()
    model.train()
    return figures
