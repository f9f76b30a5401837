"""Retrained: a candidate of a run trained again as it was, its readings compared with the run's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from prescreen.cli.streams import candidates_on_stderr
from prescreen.failures import CandidateFailed
from prescreen.files import save_state
from prescreen.ranking.executors.base import torch_threads
from prescreen.ranking.opened import Run
from prescreen.ranking.replay import HALVED
from prescreen.reading import Reading
from prescreen.screening import Plan
from prescreen.screening.run import Screening
from prescreen.spaces.candidate import Candidate
from prescreen.tasks import Task
from prescreen.training.recipe import Training

logger = logging.getLogger(__name__)

_WEIGHTS = "weights"


def trained_again(one: Candidate, task: Task, opened: Run, folder: Path) -> tuple[Path, bool]:
    """The weights after the same brief training, and whether every reading is that of the run.

    Args:
        one: the candidate.
        task: the data of the run.
        opened: the run.
        folder: for the file of weights.

    Raises:
        ValueError: it cannot be trained, or the budget was one of time.
    """
    settings = opened.settings
    training = Training(**{field.name: settings[field.name] for field in fields(Training)})
    if training.seconds is not None:
        raise ValueError("`weights` must be of a run with --steps, got one with --seconds")
    kept: dict[str, Any] = {}

    def keep(model: nn.Module) -> float:
        kept["state"] = {key: value.detach().clone() for key, value in model.state_dict().items()}
        return 0.0

    plan = Plan(
        task,
        training,
        settings["readouts"],
        settings["readings"],
        settings["head"],
        {_WEIGHTS: keep},
        ranking=True,
    )
    with candidates_on_stderr(), torch_threads(settings["threads"]):
        try:
            readings = [*Screening(one, plan)]
        except CandidateFailed as failure:
            raise ValueError(
                f"`candidate` must be one that can be trained, got {one.name!r}: {failure}"
            ) from None
    measured = [*opened.trajectories[one.name][0]]
    row = next(row for row in opened.ranking if row.name == one.name)
    compared = readings[: len(measured)] if row.status == HALVED else readings
    unlike = next(_unlike(compared, measured), None)
    if unlike is not None:
        logger.warning(
            "These weights are not those that were measured: %s. The run was made with torch %s",
            unlike,
            settings.get("torch", "of an unknown version"),
        )
    return save_state(folder / _WEIGHTS, kept["state"]), unlike is None


def _unlike(readings: list[Reading], measured: list[Reading]) -> Iterator[str]:
    """Where readings differ from those of the run, in any bit."""
    if len(readings) != len(measured):
        yield f"{len(readings)} readings instead of {len(measured)}"
    for now, was in zip(readings, measured, strict=False):
        if now.step != was.step:
            yield f"a reading at step {now.step} instead of {was.step}"
        if repr(now.training_loss) != repr(was.training_loss):
            yield f"the loss at step {now.step} is {now.training_loss} instead of {was.training_loss}"
        for name in set(now.values) & set(was.values):
            if repr(now.values[name]) != repr(was.values[name]):
                yield (
                    f"{name} at step {now.step} is {now.values[name]} instead of {was.values[name]}"
                )
