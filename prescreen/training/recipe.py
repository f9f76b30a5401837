"""Recipe: how candidates are trained briefly, and the learning rate over the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch

from prescreen.checks import require, require_at_least, require_number, require_one_of
from prescreen.text import first_line

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["cosine", "linear", "constant"]
Amp = Literal["bf16", "fp16"]
Choice = Literal["auto", "plain"]

_DEFAULT_LR = {"sgd": 0.1, "adamw": 2e-3}


@dataclass(frozen=True)
class Training:
    """How candidates are trained briefly.

    Args:
        steps: the budget in optimizer steps, if ``seconds`` is None.
        seconds: the budget in seconds of training, without the time between steps. Such runs depend on
            the machine's speed and are not reproducible.
        batch_size: samples per step; a user's own DataLoader keeps its own.
        optimizer: ``"sgd"`` (Nesterov) or ``"adamw"``.
        lr: peak learning rate; None means 0.1 for SGD and 0.002 for AdamW.
        momentum: of SGD.
        weight_decay: decoupled for AdamW; not applied to biases and normalization weights.
        schedule: how the rate falls to zero at the budget's end, or ``"constant"``.
        warmup: share of the budget in which the rate rises linearly.
        clip: largest norm of the gradient of all parameters; None for no limit.
        seed: of initial weights, batches and dropout; the same for all candidates.
        device: where to train, such as ``"cpu"`` or ``"cuda:0"``.
        amp: autocast precision, ``"bf16"`` or ``"fp16"`` (with loss scaling), or None.
        execution: ``"auto"``: memory layout and optimizer as they are fastest for the network, which
            changes results by rounding only; ``"plain"``: as torch does without being told.

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
    execution: Choice = "auto"

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 1), ("seed", 0)):
            require_at_least(name, getattr(self, name), least)
        for name in ("momentum", "warmup"):
            value = getattr(self, name)
            require(name, "at least 0 and below 1", value, 0 <= value < 1)
        require_number("weight_decay", self.weight_decay, 0)
        for name in ("seconds", "lr", "clip"):
            value = getattr(self, name)
            require(name, "above 0, or None", value, value is None or 0 < value < math.inf)
        require_one_of("optimizer", self.optimizer, get_args(Optimizer))
        require_one_of("schedule", self.schedule, get_args(Schedule))
        require_one_of("execution", self.execution, get_args(Choice))
        if self.amp is not None:
            require_one_of("amp", self.amp, get_args(Amp))
        _require_device(self.device)

    def to_json(self) -> dict[str, Any]:
        """The settings as a flat dict."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def schedule_factor(training: Training, share: float) -> float:
    """Learning rate relative to its peak after ``share`` of the budget, from 0 to 1."""
    if share < training.warmup:
        # The rate of the first step must not be 0: begin at one hundredth of the ramp.
        return max(share / training.warmup, 0.01)
    if training.schedule == "constant":
        return 1.0
    left = (1 - share) / (1 - training.warmup)
    return left if training.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)


def peak_lr(training: Training) -> float:
    """The highest learning rate of the schedule."""
    return _DEFAULT_LR[training.optimizer] if training.lr is None else training.lr


def _require_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"`device` must be one that torch can use here, got {device!r}: {first_line(error)}"
        ) from None
