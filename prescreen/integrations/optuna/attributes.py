"""Attributes: how readings lie in a trial's user attributes, one attribute a reading.

Optuna's own place, ``intermediate_values``, takes one number a step, steers samplers and becomes the
value of a pruned trial; readings must do none of that. One attribute a reading is one write, and no
attribute outgrows the 64 KB that MySQL gives a text column. The key holds the trial's number: a
trial that is retried after its worker died inherits the attributes of the dead attempt, whose number
is another, and those are not its own readings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import BaseTrial, FrozenTrial

from prescreen.reading import Reading, Trajectory
from prescreen.text import named_line

_PREFIX = "prescreen"


def write_reading(trial: BaseTrial, reading: Reading) -> None:
    """Store a reading with the trial: one write.

    Raises:
        RuntimeError: the trial has ended, or the storage takes no writes.
    """
    write_attribute(trial, str(reading.step), reading.to_json())


def write_attribute(trial: BaseTrial, key: str, value: Any) -> None:
    """Store something with the trial's present attempt.

    Raises:
        RuntimeError: the trial has ended, or the storage takes no writes.
    """
    try:
        trial.set_user_attr(f"{_PREFIX}:{trial.number}:{key}", value)
    except UpdateFinishedTrialError:
        raise RuntimeError(
            f"`trial` must be running, got trial {trial.number}, which has ended"
        ) from None
    except Exception as error:  # whatever a storage raises when it is closed, gone or read-only
        raise RuntimeError(f"`storage` must take writes, got {named_line(error)}") from error


def trajectory(trial: BaseTrial) -> Trajectory:
    """A trial's own readings, in the order of their steps."""
    stored = stored_readings(trial.number, trial.user_attrs)
    return Trajectory([Reading.from_json(stored[step]) for step in sorted(stored)])


def stored_readings(number: int, attributes: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Step to reading as JSON, of the attempt with this trial number."""
    prefix = f"{_PREFIX}:{number}:"
    start = len(prefix)
    return {
        int(key[start:]): value
        for key, value in attributes.items()
        if key.startswith(prefix) and key[start:].isdigit()
    }


def values_by_step(trial: FrozenTrial) -> dict[int, Mapping[str, float | str]]:
    """Step to the values of a trial's own readings, as they are stored."""
    stored = stored_readings(trial.number, trial.user_attrs)
    return {step: stored[step]["values"] for step in sorted(stored)}


def latest_state(trial: optuna.trial.Trial) -> FrozenTrial:
    """The trial as its own process knows it, without asking the storage.

    ``Trial.should_prune`` gives pruners the same object, and cannot be called in a study with several
    objectives.
    """
    # There is no public way to it (Optuna 5.0).
    return trial._get_latest_trial()
