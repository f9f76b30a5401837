"""Attributes: readings in a trial's user attributes, one attribute per reading.

Optuna's ``intermediate_values`` take one number per step, steer samplers and become the value of a
pruned trial, which readings must not. With one attribute per reading, a reading is one write, and no
attribute exceeds the 64 KB of a text column in MySQL. The key contains the trial's number: if a worker
dies, the retried trial inherits the attributes of the dead attempt, which has another number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import BaseTrial, FrozenTrial

from prescreen.integrations.optuna.versions import EndedTrial
from prescreen.reading import Reading, Trajectory
from prescreen.text import named_line

_PREFIX = "prescreen"


def write_reading(trial: BaseTrial, reading: Reading) -> None:
    """Store a reading with the trial: one write.

    Raises:
        RuntimeError: the trial has ended, or the storage cannot be written.
    """
    write_attribute(trial, str(reading.step), reading.to_json())


def write_attribute(trial: BaseTrial, key: str, value: Any) -> None:
    """Store a value with the present attempt of the trial.

    Raises:
        RuntimeError: the trial has ended, or the storage cannot be written.
    """
    try:
        trial.set_user_attr(f"{_PREFIX}:{trial.number}:{key}", value)
    except EndedTrial:
        raise RuntimeError(
            f"`trial` must be running, got trial {trial.number}, which has ended"
        ) from None
    except Exception as error:  # storages raise many kinds when closed, gone or read-only
        raise RuntimeError(f"`storage` must be writable, got {named_line(error)}") from error


def trajectory(trial: BaseTrial) -> Trajectory:
    """A trial's own readings, in the order of their steps."""
    stored = stored_readings(trial.number, trial.user_attrs)
    return Trajectory([Reading.from_json(stored[step]) for step in sorted(stored)])


def stored_readings(number: int, attributes: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Step to reading as JSON, for the attempt with this trial number."""
    prefix = f"{_PREFIX}:{number}:"
    start = len(prefix)
    return {
        int(key[start:]): value
        for key, value in attributes.items()
        if key.startswith(prefix) and key[start:].isdigit()
    }


def earlier_reading(trial: BaseTrial) -> Reading | None:
    """A reading of the trial from before it was resumed, or of the attempt that it retries.

    Optuna copies a dead attempt's attributes, but not what its process knew.
    """
    keys = [key.split(":") for key in trial.user_attrs if key.startswith(f"{_PREFIX}:")]
    known = [
        (int(key[1]), int(key[2]))
        for key in keys
        if len(key) == 3 and key[1].isdigit() and key[2].isdigit()
    ]
    if not known:
        return None
    number, step = max(known)
    return Reading.from_json(trial.user_attrs[f"{_PREFIX}:{number}:{step}"])


def values_by_step(trial: FrozenTrial) -> dict[int, Mapping[str, float | str]]:
    """Step to the values of a trial's own readings, as they are stored."""
    stored = stored_readings(trial.number, trial.user_attrs)
    return {step: stored[step]["values"] for step in sorted(stored)}


def latest_state(trial: optuna.trial.Trial) -> FrozenTrial:
    """The trial as its own process knows it, without asking the storage.

    ``Trial.should_prune`` gives pruners the same object, and cannot be called in a study with several
    objectives.
    """
    # There is no public access to it (Optuna 5.0).
    return trial._get_latest_trial()
