"""Task: the data that a model is trained and read on, as the rest of the package sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from prescreen.panel import DEFAULT_PANEL
from prescreen.part import Part, with_own
from prescreen.predictions import Link, check_link
from prescreen.trees import count_samples


class Task(Protocol):
    """Training batches, a loss and a fixed unlabelled probe, the same for every candidate.

    A task is sent to worker processes, so it must be picklable. A batch may be any tree of tensors
    (see ``prescreen.trees``): only the task itself looks into it.

    A task may have ``collapses``: False if a model of a softmax link that predicts one class for the
    whole probe has not failed, as where one class is nearly everywhere. By default it has.

    It may have ``parts``: by name what is read of a model beside its own head, see ``prescreen.part``.
    It may have ``panel``, the names of the readouts that rankings on this task compare by default, and
    ``checkpoint_panel``, those that choose checkpoints. If it knows without annotation what should be
    predicted for the probe, it may have ``targets``, one for each row of the model's logits, classes
    (R,) for a softmax link and (R, K) for others: then ``"held_out_loss"`` is a readout.

    It may have ``on(device)``: the same task with its data kept on a ``torch.device``, or itself where
    they do not fit. Its batches are the same, and made there.
    """

    @property
    def name(self) -> str:
        """The name in reports; two names may mean the same task."""

    @property
    def fingerprint(self) -> str:
        """A string that is equal if two tasks are the same measurement, in every process and session."""

    @property
    def link(self) -> Link:
        """How logits become predictions: ``"softmax"``, ``"sigmoid"`` or ``"identity"``."""

    @property
    def probe(self) -> Any:
        """Unlabelled inputs that training does not use: a tensor, arguments or keywords.

        If the model returns logits for every token, masks among the inputs say which are read
        (docs/tasks.md lists their names).
        """

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Keywords that builders of models may accept, such as ``num_classes``."""

    def batches(self, batch_size: int, seed: int, /) -> Iterator[Any]:
        """Training batches without end, on any device.

        One seed always gives the same batches. Global random state is neither read nor changed.
        """

    def inputs(self, batch: Any, /) -> Any:
        """The part of a batch that the model is called with, in the form of ``probe``."""

    def loss(self, model: nn.Module, batch: Any, /) -> Tensor:
        """Run the model, in training mode, on a batch on its device; the scalar to minimise."""

    def views(self, inputs: Any, /) -> Any | None:
        """The inputs changed in a way that keeps what they show; None if there is no such view.

        The probe then uses its own default (docs/readouts.md).
        """


Checked = TypeVar("Checked", bound=Task)
MEMBERS = (
    *("name", "fingerprint", "link", "probe", "sizes"),
    *("batches", "inputs", "loss", "views"),
)


def check_task(task: Checked) -> Checked:
    """The task itself, if it has all members of a task.

    Raises:
        ValueError: a member is missing, or the link is unknown.
    """
    # The class is asked first: computing a fingerprint can mean reading all of the data.
    lacking = [m for m in MEMBERS if not (hasattr(type(task), m) or hasattr(task, m))]
    if isinstance(task, type) or lacking:
        got = f"the class {task.__name__}" if isinstance(task, type) else type(task).__name__
        without = f" without {', '.join(lacking)}" if lacking else ""
        raise ValueError(f"`task` must be an object with all of prescreen.Task, got {got}{without}")
    check_link(task.link)
    return task


def parts_of(task: Task) -> dict[str, Part]:
    """What is read of a model: the parts that the task has, and under "" the model's own head.

    Raises:
        ValueError: a part is not allowed.
    """
    return with_own(getattr(task, "parts", None), task.link)


def task_on(task: Checked, device: torch.device) -> Checked:
    """The task with its data kept on a device, if it can be; else the task itself."""
    on: Callable[[torch.device], Checked] | None = getattr(task, "on", None)
    return task if on is None else on(device)


def panel_of(task: Task) -> tuple[str, ...]:
    """The readouts that are compared by default: the task's own, or those of all tasks."""
    return tuple(getattr(task, "panel", DEFAULT_PANEL))


def targets_of(task: Task) -> Tensor | None:
    """What is known without annotation of the predictions for the probe; None if nothing is."""
    return getattr(task, "targets", None)


def check_trains(task: Task) -> None:
    """Refuse a task that says that it has nothing to train on.

    Raises:
        ValueError: it does, as one of images without labels.
    """
    if refusal := getattr(task.batches, "refusal", None):
        raise ValueError(refusal)


def seen_inputs(task: Task) -> Any:
    """Inputs that training uses, without augmentation if the task's batches can be had without.

    As many as the probe has, if batches can be so large.
    """
    count = count_samples(task.probe)
    batches = getattr(task.batches, "unaugmented", task.batches)
    return task.inputs(next(batches(count, 0)))
