"""Readings as decisions on checkpoints take them: plain numbers, whatever the steps and values were."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prescreen.checks import require, require_at_least
from prescreen.reading import Reading


def plain_step(step: Any) -> int:
    """A step as an int; integers of NumPy and tensors are steps as well.

    Raises:
        ValueError: it is not an integer of at least 0.
    """
    try:
        whole = step if isinstance(step, bool) else operator.index(step)
    except Exception:  # also what a tensor of several elements raises
        whole = step
    require_at_least("step", whole, 0)
    return int(whole)


def plain_reading(reading: Reading, names: Sequence[str]) -> Reading:
    """The same reading with plain numbers.

    Raises:
        ValueError: it lacks one of the readouts, or a value is not a number.
    """
    if lacking := [name for name in names if name not in reading.values]:
        raise ValueError(
            f"`reading` must have {', '.join(lacking)}, got {', '.join(reading.values) or 'nothing'} "
            f"at step {reading.step}"
        )
    try:
        values = {str(name): float(value) for name, value in reading.values.items()}
        seconds, loss = float(reading.seconds), float(reading.training_loss)
        parameters = operator.index(reading.parameters)
    except Exception as error:  # also what a tensor of several elements raises
        raise ValueError(f"`reading` must hold numbers, got {reading!r}") from error
    return replace(
        reading,
        step=plain_step(reading.step),
        values=values,
        seconds=seconds,
        training_loss=loss,
        parameters=parameters,
    )


def reading_from_json(data: Mapping[str, Any], names: Sequence[str]) -> Reading:
    """A reading from a file, which has some readouts.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is not one.
    """
    numbers = {**data["values"], "seconds": data["seconds"], "training_loss": data["training_loss"]}
    for name, value in numbers.items():
        is_number = type(value) in (int, float) or value in ("nan", "inf", "-inf")
        require(name, "a number", value, is_number)
    for name in ("step", "parameters"):
        require_at_least(name, data[name], 0)
    require(
        "values", f"those of {', '.join(names)}", [*data["values"]], set(names) <= numbers.keys()
    )
    return Reading.from_json(data)
