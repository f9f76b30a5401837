"""Prepare: what is measured, and how, according to the options of `rank`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prescreen.cli.options import count, duration, names, pairs
from prescreen.cli.streams import candidates_on_stderr
from prescreen.spaces.code import Code
from prescreen.spaces.listed import is_listed, listed
from prescreen.spaces.space import Space, resolve_space
from prescreen.tasks import load_task
from prescreen.tasks.base import Task, panel_of
from prescreen.text import file_name
from prescreen.training.recipe import Training

_SAMPLES = 12  # of a space
_OF_TRAINING = (
    *("steps", "seconds", "batch_size", "optimizer", "lr", "seed", "device", "amp", "execution"),
)


@dataclass(frozen=True)
class Prepared:
    """What is measured, and how.

    Args:
        space: where candidates come from.
        samples: how many of them; None for all.
        task: the data.
        settings: keywords of ``rank`` on which a measurement depends.
        folder: of the run; the same options find their own journal.
    """

    space: Space | str
    samples: int | None
    task: Task
    settings: Mapping[str, Any]
    folder: Path


def prepared(options: Mapping[str, Any]) -> Prepared:
    """What the options of `rank` describe.

    Raises:
        ValueError: an option is not allowed.
    """
    training = Training(**{name: options[name] for name in _OF_TRAINING})
    with candidates_on_stderr():
        space = options["space"] if is_listed(options["space"]) else resolve_space(options["space"])
    of_data = ("probe", "probe_size", "seed", "image_size", "cache")
    own = pairs("data_options", options["data_options"])
    if twice := [name for name in own if name in of_data]:
        raise ValueError(f"`data_options` must not name what has an option, got {', '.join(twice)}")
    task = load_task(options["data"], **{name: options[name] for name in of_data}, **own)
    samples = options["samples"]
    with candidates_on_stderr():
        code = _code(space, task)
    if isinstance(space, Space):
        samples = (_SAMPLES if samples is None else samples) or None
    readouts = options["readouts"]
    settings: dict[str, Any] = {
        "training": training,
        "readouts": [*panel_of(task)] if readouts is None else names(readouts),
        **{name: options[name] for name in ("readings", "head", "threads")},
    }
    limits = {
        "max_params": count("max_params", options["max_params"]),
        "max_flops": count("max_flops", options["max_flops"]),
        "max_latency": duration("max_latency", options["max_latency"], "ms"),
    }
    if any(one is not None for one in limits.values()):
        settings |= {**limits, "latency_batch": options["latency_batch"]}
    # A folder by default is one of this code; one that is given must be.
    same = [task.fingerprint, torch.__version__, *sorted({**settings, **code}.items())]
    made = _run_folder(options["space"], options["data"], " ".join(map(str, same)))
    folder = Path(options["out"] or made)  # of Typer 0.15 it is a str
    return Prepared(space, samples, task, settings, folder)


def _code(space: Space | str, task: Task) -> dict[str, str]:
    """What builds the candidates: the same code is measured once."""
    code = Code()
    if isinstance(space, Space):
        return code.of_space(space)
    parts = [code.of(one) for one in listed(space, task.sizes)]
    return {f"{number} {part}": own[part] for number, own in enumerate(parts) for part in own}


def _run_folder(space: str, data: str, settings: str) -> Path:
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    names = [file_name(Path(one).stem) for one in (space, data)]
    return Path("prescreen-runs") / "-".join([*names, digest])
