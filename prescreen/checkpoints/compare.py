"""Comparing checkpoint files: which is best, from unlabelled inputs alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from prescreen.checkpoints.monitor import Monitor
from prescreen.checkpoints.selection import MIN_CURVE, Choice, Selection
from prescreen.checkpoints.weights import Builder, load_network
from prescreen.panel import CHECKPOINT_PANEL, LONE_CHECKPOINT_PANEL, Panel
from prescreen.reading import Reading
from prescreen.tasks.base import Task, check_task, seen_inputs
from prescreen.text import finite, plain_table, printable


@dataclass(frozen=True)
class CheckpointRanking:
    """Checkpoint files and which of them reads best.

    Args:
        files: in the order of training, as far as their names tell.
        readings: one for each file; the step is the place in ``files``.
        choice: the best file; the step is the place in ``files``. None if all have diverged.
        order: places in ``files``, best first, without those that were not compared.
        readouts: the readouts that were compared.
    """

    files: tuple[Path, ...]
    readings: tuple[Reading, ...]
    choice: Choice | None
    order: tuple[int, ...]
    readouts: tuple[str, ...]

    @property
    def best(self) -> Path:
        """The file that reads best.

        Raises:
            ValueError: there is none.
        """
        if self.choice is None:
            raise ValueError("`checkpoints` must have one whose readouts are numbers, got none")
        return self.files[self.choice.step]

    @property
    def reason(self) -> str:
        """Why the best file was chosen, and reasons to doubt the choice."""
        if self.choice is None:
            return "No checkpoint has readouts that are numbers."
        best, panel = self.choice, " and ".join(self.readouts)
        what = f"the best {panel}" if len(self.readouts) == 1 else f"the best mean rank in {panel}"
        skipped = f", {best.skipped} more without a value" if best.skipped else ""
        said = f"{self.best} has {what} ({best.score:.4g}) of {best.candidates}{skipped}."
        return " ".join([said, *(f"But {doubt}." for doubt in best.doubts)])

    def to_json(self) -> str:
        """Strict JSON; values that are not finite become null."""
        content = {
            "best": None if self.choice is None else str(self.best),
            "reason": self.reason,
            "choice": None if self.choice is None else asdict(self.choice),
            "order": [str(self.files[place]) for place in self.order],
            "checkpoints": [
                {"file": str(file), "values": dict(reading.values)}
                for file, reading in zip(self.files, self.readings, strict=True)
            ],
        }
        return json.dumps(finite(content), indent=2)

    def __str__(self) -> str:
        places = {place: str(rank) for rank, place in enumerate(self.order, start=1)}
        rows = [
            [places.get(i, "-"), str(file), *(f"{v:.4g}" for v in reading.values.values())]
            for i, (file, reading) in enumerate(zip(self.files, self.readings, strict=True))
        ]
        rows.sort(key=lambda row: (row[0] == "-", row[0] != "-" and int(row[0])))
        table = plain_table(["rank", "checkpoint", *self.readouts], rows, (1,))
        return f"{table}\n{printable(self.reason)}"


def select_checkpoint(
    checkpoints: Sequence[str | Path],
    models: str | Builder | Sequence[str | Builder],
    task: Task,
    *,
    readouts: Sequence[str] | None = None,
    smoothing: int = 1,
    head: str | None = None,
) -> CheckpointRanking:
    """Read checkpoint files on a task's probe batch and say which is best, without labels.

    Files are loaded as weights; nothing in them is executed. With one model they count as checkpoints
    of one run, in the order of the numbers in their names.

    Args:
        checkpoints: .safetensors files, or files of ``torch.save`` with a state dict, or with a dict
            that holds one as ``state_dict``, ``model_state_dict`` or ``model``.
        models: a function that builds the network, or its name, ``"package.module:function"`` or
            ``"file.py:function"``. It is given those of the task's sizes that its signature accepts.
            For different architectures, one function for each file.
        task: its probe batch is read; a batch of its training inputs counts as seen.
        readouts: the readouts to compare; see ``Monitor``. By default stable information, which cannot
            judge the first file of a run; for few files or different models, view information.
        smoothing: how many files of one run a value is averaged over; an odd number.
        head: dotted name of the prediction head, if it is not found.

    Returns:
        The files with their readings, the choice and the reasons.

    Raises:
        ValueError: a file does not hold weights of its model, a function is not found, or an argument
            is out of its range.
    """
    one_run = isinstance(models, str) or callable(models)
    if not one_run and smoothing != 1:
        raise ValueError(f"`smoothing` must be 1 for different models, got {smoothing}")
    pairs = _pairs([Path(file) for file in checkpoints], models)
    if readouts is None:
        readouts = (
            CHECKPOINT_PANEL if one_run and len(pairs) >= MIN_CURVE else LONE_CHECKPOINT_PANEL
        )
    seen = seen_inputs(check_task(task))
    monitor = Monitor(
        task.probe, seen=seen, readouts=readouts, head=head, link=task.link, view=task.views
    )
    selection = Selection(Panel.of(monitor.readouts), smoothing=smoothing)
    readings = [
        monitor.read(load_network(file, builder, task), place)
        for place, (file, builder) in enumerate(pairs)
    ]
    choice = selection.choose(readings)
    if not one_run and choice is not None:  # doubts are about the shape of one run's curve
        choice = Choice(choice.step, choice.score, choice.candidates, choice.skipped)
    return CheckpointRanking(
        files=tuple(file for file, _ in pairs),
        readings=tuple(readings),
        choice=choice,
        order=tuple(selection.ranked(readings)),
        readouts=tuple(monitor.readouts),
    )


def _pairs(
    files: list[Path], models: str | Builder | Sequence[str | Builder]
) -> list[tuple[Path, str | Builder]]:
    """Files with the builders of their networks; those of one run in the order of training."""
    if not files:
        raise ValueError("`checkpoints` must have at least one file, got none")
    if isinstance(models, str) or callable(models):
        return [(file, models) for file in sorted(files, key=_numbers)]
    if len(models) != len(files):
        raise ValueError(
            f"`models` must be one, or one for each of the {len(files)} files, got {len(models)}"
        )
    return list(zip(files, models, strict=True))


def _numbers(file: Path) -> list[tuple[int, str]]:
    """Sorts epoch=9 before epoch=10."""
    parts: Sequence[str] = re.split(r"(\d+)", str(file))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
