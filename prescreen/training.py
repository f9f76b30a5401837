"""Brief training: a generator over optimizer steps that owns schedule, seed, device and precision."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from prescreen.data import Task

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


@dataclass(frozen=True)
class TrainingStep:
    """One optimizer step.

    Args:
        number: counted from 1.
        loss: of the step's batch; one that is not finite ends the training.
        share: of the budget spent, 1 or more at the last step.
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

    The caller may read the model, stop early or change nothing at all between steps: randomness is
    kept apart from the caller's in both directions, so that on a CPU equal seeds give bit-identical
    weights whatever happens in between. A step that diverges is yielded and is the last one.
    """
    yield from BriefTraining(model, task, training)


class BriefTraining:
    """What ``brief_training`` runs; between steps it can be saved, and resumed bit for bit.

    Args:
        model: trained in place.
        task: where batches come from; resuming draws those again that were trained on.
        training: budget and recipe.

    Raises:
        ValueError: a model without parameters to train.
    """

    def __init__(self, model: nn.Module, task: Task, training: Training) -> None:
        self._task = task
        self._training = training
        self._device = torch.device(training.device)
        self._model = model.to(self._device).train()
        self._optimizer = _optimizer(model, training)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=training.amp == "fp16")
        self._batches = task.batches(training.batch_size, training.seed)
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
            group["lr"] = _peak_lr(training) * schedule_factor(training, self._last.share)
        batch = next(self._batches)
        inputs, targets = (tensor.to(self._device, non_blocking=True) for tensor in batch)
        with self._rng.active():
            loss = _step(
                self._model, self._task, training, self._optimizer, self._scaler, inputs, targets
            )
        number = self._last.number + 1
        self._spent += time.perf_counter() - start
        self._last = TrainingStep(number, loss, _share_spent(training, number, self._spent))
        return self._last

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, the task excepted; tensors are those in use."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "rng": self._rng.state_dict(),
            "seconds": self._spent,
            "last": astuple(self._last),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the step at which the state was saved; no step may have been taken yet."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._rng.load_state_dict(state["rng"])
        self._spent = state["seconds"]
        self._last = TrainingStep(*state["last"])
        # Batches have no state of their own to be saved: a seed decides on all of them.
        for _ in range(self._last.number):
            next(self._batches)


def schedule_factor(training: Training, share: float) -> float:
    """Learning rate relative to its peak after ``share`` of the budget, from 0 to 1."""
    if share < training.warmup:
        # The first step must move: begin one hundredth up the ramp at least.
        return max(share / training.warmup, 0.01)
    if training.schedule == "constant":
        return 1.0
    left = (1 - share) / (1 - training.warmup)
    return left if training.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)


def model_logits(outputs: Any) -> Tensor:
    """The logits among a model's outputs: the tensor itself, ``.logits``, or the first of several."""
    if isinstance(outputs, Tensor):
        return outputs
    logits = getattr(outputs, "logits", None)
    if logits is None and isinstance(outputs, (tuple, list)) and outputs:
        logits = outputs[0]
    if not isinstance(logits, Tensor):
        raise ValueError(
            "model: must return a tensor, an object with .logits or a tuple that begins with a "
            f"tensor, got {type(outputs).__name__}"
        )
    return logits


def _step(
    model: nn.Module,
    task: Task,
    training: Training,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    inputs: Tensor,
    targets: Tensor,
) -> float:
    dtype = torch.bfloat16 if training.amp == "bf16" else torch.float16
    with torch.enable_grad():
        with torch.autocast(inputs.device.type, dtype, enabled=training.amp is not None):
            loss = task.loss(model_logits(model(inputs)), targets)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
    if training.clip is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), training.clip)
    scaler.step(optimizer)
    scaler.update()
    return loss.item()


def _share_spent(training: Training, steps: int, seconds: float) -> float:
    return steps / training.steps if training.seconds is None else seconds / training.seconds


def _peak_lr(training: Training) -> float:
    return _DEFAULT_LR[training.optimizer] if training.lr is None else training.lr


def _optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("model: parameters to train are needed, got none")
    lr = _peak_lr(training)
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=lr)
    nesterov = training.momentum > 0
    return torch.optim.SGD(groups, lr=lr, momentum=training.momentum, nesterov=nesterov)


class _RandomState:
    """A random state of our own for torch's global generators, which layers such as dropout use."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(self._devices):
            torch.manual_seed(seed)
            self._save()

    @contextmanager
    def active(self) -> Iterator[None]:
        with torch.random.fork_rng(self._devices):
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


def _require(name: str, allowed: str, value: object, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{name}: {allowed} is allowed, got {value!r}")


def _require_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {device!r} cannot be used here: {reason}") from None
