"""Comparing checkpoint files: which is best, from unlabelled inputs alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from prescreen.checkpoints.copies import (
    CheckpointFile,
    counts_in,
    digest_of,
    put_together,
    trained,
)
from prescreen.checkpoints.monitor import Monitor
from prescreen.checkpoints.order import numbers, training_order
from prescreen.checkpoints.report import CheckpointRanking
from prescreen.checkpoints.selection import MIN_CURVE, Choice, Selection
from prescreen.checkpoints.weights import Builder, load_network
from prescreen.panel import CHECKPOINT_PANEL, LONE_CHECKPOINT_PANEL, Panel
from prescreen.reading import Reading
from prescreen.readouts import Readout, resolve_readouts
from prescreen.tasks.base import Task, check_task, seen_inputs, targets_of


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

    Files are loaded as weights; nothing in them is executed. Files with equal weights are one
    checkpoint. With one model they count as checkpoints of one run, in the order of a step or epoch that
    all files hold, else of the numbers in their names; where that is a guess, a note says so.

    Args:
        checkpoints: .safetensors files, or files of ``torch.save`` with a state dict, wherever it is
            in them. Prefixes of wrappers and objects beside the weights do not matter. If there are
            averaged weights (EMA), they are read.
        models: a function that builds the network, or its name, ``"package.module:function"`` or
            ``"file.py:function"``. It is given those of the task's sizes that its signature accepts.
            For different architectures, one function for each file.
        task: its probe batch is read; training inputs without augmentation count as seen.
        readouts: the readouts to compare; see ``Monitor``. By default those of the task's
            ``checkpoint_panel``; without one stable information, which cannot judge the first file of a
            run; for few files or different models, view information.
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
    sources = _sources([Path(file) for file in checkpoints], models)
    table: dict[str, Readout] | None = None
    if readouts is not None:  # refused before files are read
        table = _checked(resolve_readouts(readouts, targets_of(check_task(task))), one_run)
    groups, notes = _inspected(sources, check_task(task), one_run)
    if table is None:
        is_curve = one_run and len(groups) >= MIN_CURVE
        usual = CHECKPOINT_PANEL if is_curve else LONE_CHECKPOINT_PANEL
        panel = getattr(task, "checkpoint_panel", usual)
        table = resolve_readouts(panel, targets_of(task))
    is_seen = any("seen" in one.needs for one in table.values())
    monitor = Monitor(
        task.probe,
        seen=seen_inputs(task) if is_seen else None,
        readouts=table,
        head=head,
        link=task.link,
        parts=getattr(task, "parts", None),
        view=task.views,
    )
    selection = Selection(Panel.of(monitor.readouts), smoothing=smoothing)
    readings = [
        monitor.read(_reloaded(group[0], task), place) for place, group in enumerate(groups)
    ]
    choice, order = _compared(selection, readings, groups, one_run)
    prepared = getattr(task, "prepared", "")
    return CheckpointRanking(
        files=tuple(group[0].path for group in groups),
        readings=tuple(readings),
        choice=choice,
        order=order,
        readouts=tuple(monitor.readouts),
        copies=tuple(tuple(copy.path for copy in group[1:]) for group in groups),
        notes=(*([prepared] if prepared else []), *notes),
    )


def _compared(
    selection: Selection,
    readings: Sequence[Reading],
    groups: Sequence[tuple[CheckpointFile, ...]],
    one_run: bool,
) -> tuple[Choice | None, tuple[int, ...]]:
    """The choice and the order of places."""
    if one_run:
        return selection.choose(readings), tuple(selection.ranked(readings))
    # Different models have no training order, and ties must not depend on the order of the arguments.
    places = sorted(range(len(groups)), key=lambda place: numbers(groups[place][0].path))
    sorted_readings = [replace(readings[p], step=step) for step, p in enumerate(places)]
    choice = selection.choose(sorted_readings)
    if choice is not None:  # doubts are about the shape of one run's curve
        choice = replace(choice, step=places[choice.step], doubts=())
    return choice, tuple(places[step] for step in selection.ranked(sorted_readings))


def _checked(table: dict[str, Readout], one_run: bool) -> dict[str, Readout]:
    for name, one in table.items():
        if "before" in one.needs and not one_run:
            raise ValueError(
                f"`readouts` must not need the reading before for different models, got {name}"
            )
    return table


def _sources(
    files: list[Path], models: str | Builder | Sequence[str | Builder]
) -> list[tuple[Path, str | Builder]]:
    """Files with the builders of their networks."""
    if not files:
        raise ValueError("`checkpoints` must have at least one file, got none")
    if isinstance(models, str) or callable(models):
        return [(file, models) for file in files]
    if len(models) != len(files):
        raise ValueError(
            f"`models` must be one, or one for each of the {len(files)} files, got {len(models)}"
        )
    return list(zip(files, models, strict=True))


def _inspected(
    sources: Iterable[tuple[Path, str | Builder]], task: Task, one_run: bool
) -> tuple[list[tuple[CheckpointFile, ...]], list[str]]:
    """Files with equal weights together, those of one run in the order of training; and notes."""
    files: list[CheckpointFile] = []
    said: dict[str, list[Path]] = {}
    for path, builder in sources:
        loaded = load_network(path, builder, task)
        counts = counts_in(loaded.content)
        files.append(CheckpointFile(path, builder, digest_of(loaded.model), counts))
        for note in loaded.notes:
            said.setdefault(note, []).append(path)
    notes = [f"{note} ({_some(paths)})." for note, paths in said.items()]
    groups = put_together(files)
    if not one_run:
        return groups, notes
    places, doubt = training_order([trained(group) for group in groups])
    return [groups[place] for place in places], [*notes, *([doubt] if doubt else [])]


def _reloaded(file: CheckpointFile, task: Task) -> nn.Module:
    """The network of a file again: all are looked at before the first is read."""
    model = load_network(file.path, file.source, task).model
    if digest_of(model) != file.digest:
        raise ValueError(f"`checkpoints` must stay as they are, got {file.path}, which has changed")
    return model


def _some(paths: Sequence[Path]) -> str:
    paths = sorted(set(paths), key=numbers)
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else str(paths[0])
