"""Recipe: how candidates are trained briefly, and the learning rate over the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch

from prescreen.text import first_line

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["cosine", "linear", "constant"]
Amp = Literal["bf16", "fp16"]

_DEFAULT_LR = {"sgd": 0.1, "adamw": 2e-3}


@dataclass(frozen=True)
class Training:
    """How candidates are trained briefly.

    Args:
        steps: the budget in optimizer steps, if ``seconds`` is None.
        seconds: the budget in seconds of training (time between steps does not count); such runs
            depend on the machine's speed and are not reproducible.
        batch_size: samples a step (a user's own DataLoader keeps its own).
        optimizer: ``"sgd"`` (Nesterov) or ``"adamw"``.
        lr: peak learning rate; None means 0.1 for SGD and 0.002 for AdamW.
        momentum: of SGD.
        weight_decay: decoupled for AdamW; not applied to biases and normalization weights.
        schedule: how the rate falls to zero at the budget's end, or ``"constant"``.
        warmup: share of the budget in which the rate rises linearly.
        clip: largest norm of the gradient of all parameters; None to leave it alone.
        seed: of initial weights, batches and dropout; the same for all candidates.
        device: where to train, such as ``"cpu"`` or ``"cuda:0"``.
        amp: autocast precision, ``"bf16"`` or ``"fp16"`` (with loss scaling), or None.

    Raises:
        ValueError: an argument is out of its range; the message names it.
    """

    steps: int = 100
    seconds: float | None = None
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "cosine"
    warmup: float = 0.1
    clip: float | None = 5.0
    seed: int = 0
    device: str = "cpu"
    amp: Amp | None = None

    def __post_init__(self) -> None:
        _require("steps", "an integer of at least 1", self.steps, self.steps >= 1)
        _require("batch_size", "at least 1", self.batch_size, self.batch_size >= 1)
        _require("seed", "0 or more", self.seed, self.seed >= 0)
        _require("momentum", "from 0 to below 1", self.momentum, 0 <= self.momentum < 1)
        _require("weight_decay", "0 or more", self.weight_decay, self.weight_decay >= 0)
        _require("warmup", "a share from 0 to below 1", self.warmup, 0 <= self.warmup < 1)
        for name in ("seconds", "lr", "clip"):
            value = getattr(self, name)
            _require(name, "more than 0, or None", value, value is None or 0 < value < math.inf)
        for name, kind in (("optimizer", Optimizer), ("schedule", Schedule), ("amp", Amp)):
            value, allowed = getattr(self, name), get_args(kind)
            optional = name == "amp" and value is None
            _require(name, f"one of {', '.join(allowed)}", value, optional or value in allowed)
        _require_device(self.device)

    def to_json(self) -> dict[str, Any]:
        """The settings as a flat dict."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def schedule_factor(training: Training, share: float) -> float:
    """Learning rate relative to its peak after ``share`` of the budget, from 0 to 1."""
    if share < training.warmup:
        # The first step must move: begin one hundredth up the ramp at least.
        return max(share / training.warmup, 0.01)
    if training.schedule == "constant":
        return 1.0
    left = (1 - share) / (1 - training.warmup)
    return left if training.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)


def peak_lr(training: Training) -> float:
    """The highest learning rate of the schedule."""
    return _DEFAULT_LR[training.optimizer] if training.lr is None else training.lr


def _require(name: str, allowed: str, value: object, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{name}: {allowed} is allowed, got {value!r}")


def _require_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {device!r} cannot be used here: {first_line(error)}") from None
