"""Brief training: a generator of optimizer steps that controls seed, device and precision."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prescreen.checks import require_kind
from prescreen.random_state import forked
from prescreen.tasks.base import Task, check_task, task_on
from prescreen.training.recipe import Training, peak_lr, schedule_factor
from prescreen.trees import to_device


@dataclass(frozen=True)
class TrainingStep:
    """One optimizer step.

    Args:
        number: counted from 1.
        loss: of the step's batch; training ends if it is not finite.
        share: of the budget that is spent; at least 1 at the last step.
    """

    number: int
    loss: float
    share: float

    @property
    def diverged(self) -> bool:
        """Whether the loss became NaN or infinite."""
        return not math.isfinite(self.loss)


def brief_training(model: nn.Module, task: Task, training: Training) -> Iterator[TrainingStep]:
    """Train ``model`` in place and yield after every optimizer step.

    Training and the caller do not affect each other's random state. On a CPU equal seeds therefore give
    bit-identical weights, whatever the caller does between steps. A step that diverges is yielded and
    is the last one.

    Raises:
        ValueError: an argument is not allowed, or the model has no parameters to train.
    """
    return BriefTraining(model, task, training)


class BriefTraining:
    """The iterator behind ``brief_training``; between steps it can be saved and resumed bit for bit.

    Args:
        model: trained in place.
        task: the source of batches; resuming draws those of earlier steps again.
        training: budget and recipe.

    Raises:
        ValueError: an argument is not allowed, or the model has no parameters to train.
    """

    def __init__(self, model: nn.Module, task: Task, training: Training) -> None:
        require_kind("model", model, nn.Module)
        require_kind("training", training, Training)
        self._task = check_task(task)
        self._training = training
        self._device = torch.device(training.device)
        self._model = model.to(self._device).train()
        self._optimizer = _optimizer(model, training)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=training.amp == "fp16")
        self._batches = task_on(task, self._device).batches(training.batch_size, training.seed)
        self._rng = _RandomState(training.seed, self._device)
        self._spent = 0.0
        self._last = TrainingStep(0, 0.0, 0.0)

    def __iter__(self) -> BriefTraining:
        return self

    def __next__(self) -> TrainingStep:
        if self._last.share >= 1 or self._last.diverged:
            raise StopIteration
        training, start = self._training, time.perf_counter()
        for group in self._optimizer.param_groups:
            group["lr"] = peak_lr(training) * schedule_factor(training, self._last.share)
        try:
            batch = to_device(next(self._batches), self._device)
            with self._rng.active():
                loss = self._step(batch)
        except StopIteration as error:  # else the training would seem to have reached its end
            raise RuntimeError("batches and models must not end, got StopIteration") from error
        number = self._last.number + 1
        self._spent += time.perf_counter() - start
        self._last = TrainingStep(number, loss, _share_spent(training, number, self._spent))
        return self._last

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, except the task; tensors are not copied."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "rng": self._rng.state_dict(),
            "seconds": self._spent,
            "last": astuple(self._last),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the step at which the state was saved; call it before the first step."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._rng.load_state_dict(state["rng"])
        self._spent = state["seconds"]
        self._last = TrainingStep(*state["last"])
        # Batches have no state to save: the seed decides all of them.
        for _ in range(self._last.number):
            next(self._batches)

    def _step(self, batch: Any) -> float:
        """Take one optimizer step on a batch that is on the device; returns its loss."""
        training, model = self._training, self._model
        dtype = torch.bfloat16 if training.amp == "bf16" else torch.float16
        with torch.enable_grad():
            with torch.autocast(self._device.type, dtype, enabled=training.amp is not None):
                loss = self._task.loss(model, batch)
            _require_scalar(loss)
            self._optimizer.zero_grad(set_to_none=True)
            self._scaler.scale(loss).backward()
        if training.clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.item()


def _require_scalar(loss: object) -> None:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"`loss` must return a scalar tensor, got {got}")


def _share_spent(training: Training, steps: int, seconds: float) -> float:
    return steps / training.steps if training.seconds is None else seconds / training.seconds


def _optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("`model` must have parameters to train, got none")
    lr = peak_lr(training)
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=lr)
    nesterov = training.momentum > 0
    return torch.optim.SGD(groups, lr=lr, momentum=training.momentum, nesterov=nesterov)


class _RandomState:
    """A separate state of torch's global generators, which layers such as dropout use."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        with forked(self._devices, seed):
            self._save()

    @contextmanager
    def active(self) -> Iterator[None]:
        with forked(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self._save()

    def state_dict(self) -> dict[str, Any]:
        return {"cpu": self._cpu, "cuda": self._cuda}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        # A checkpoint may have been loaded onto a GPU; generators take states from the CPU.
        self._cpu = state["cpu"].cpu()
        self._cuda = [one.cpu() for one in state["cuda"]]

    def _save(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = [torch.cuda.get_rng_state(device) for device in self._devices]
