"""The recorded candidates of a space as records of a ranking, read at every eighth or quarter."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.architectures.record import RECORDED
from benchmarks.architectures.recording import Recording
from benchmarks.architectures.recordings import load
from prescreen import DEFAULT_PANEL, Candidate, Reading
from prescreen.extrapolation import extrapolated
from prescreen.predictions import Logits
from prescreen.ranking.replay import Record
from prescreen.ranks import Floats
from prescreen.reading import Trajectory
from prescreen.readouts import get_readout, resolve_readouts
from prescreen.readouts.parts import replicates
from prescreen.readouts.table import AHEAD

PANEL = resolve_readouts(DEFAULT_PANEL)
HEAD = DEFAULT_PANEL[0]


@dataclass(frozen=True)
class Recorded:
    """Candidates that did not fail.

    Args:
        candidates: in the order of their numbers.
        records: of their whole trainings, by key.
        truth: accuracies in percent, shape (candidates,).
        seconds: CPU seconds of their trainings, shape (candidates,).
        reading: CPU seconds of one reading, shape (candidates,).
        halves: records whose last reading is of either half of the probe.
        steps: of the budget.
    """

    candidates: list[Candidate]
    records: dict[str, Record]
    truth: Floats
    seconds: Floats
    reading: Floats
    halves: tuple[dict[str, Record], dict[str, Record]]
    steps: int


def of_space(space: str, args: Namespace, *, seed: int = 0) -> Recorded:
    """What is recorded of a space, for tuning or, with ``args.report``, of those reported on."""
    folder = args.recordings if seed == 0 else args.others
    found = load(space, folder, args.truths, report=args.report, seed=seed)
    ran = [one for one in found.found if not one.failure]
    early = args.early / space if args.early is not None and seed == 0 else Path("nowhere")
    candidates = [Candidate(one.name, {}, nn.Module) for one in ran]
    parts = [[*_read(one, early / f"{one.number:04d}{RECORDED}")] for one in ran]
    keyed = [*zip(candidates, ran, parts, strict=True)]
    halves = [
        {one.key: Record(Trajectory([_half(r, own[-1], n)]), "finished") for one, r, own in keyed}
        for n in range(2)
    ]
    return Recorded(
        candidates,
        {one.key: Record(Trajectory(own), "finished") for one, _, own in keyed},
        np.array([one.truth for one in ran]),
        np.array([float(one.array("train_seconds")) for one in ran]),
        np.array([2 * float(np.mean(one.array("read_seconds"))) for one in ran]),  # with the view
        (halves[0], halves[1]),
        int(ran[0].array("step")[-1]) if ran else 0,
    )


def _read(one: Recording, early: Path) -> Iterable[Reading]:
    """Its readings as `rank` makes them, the early one first if it was recorded apart."""
    ways = [(one, number) for number in range(one.readings)]
    if early.exists():
        ways.insert(0, (Recording(early, one.number, one.truth), 0))
    fixed = {name: one.value(name) for name in DEFAULT_PANEL[1:]}
    plain, curve = get_readout(HEAD.removeprefix(AHEAD)), []
    for recording, number in ways:
        subjects = _subjects(recording, number)
        curve.append(
            (int(recording.array("step")[number]), plain(*(subjects[n] for n in plain.needs)))
        )
        values = {HEAD: extrapolated(curve), **fixed}
        varied = replicates({HEAD: plain}, subjects, len(subjects["head"].logits))
        yield Reading(curve[-1][0], values, architecture=one.architecture, replicates=varied)


def _half(one: Recording, whole: Reading, half: int) -> Reading:
    """The last reading with the head's value on every other row of the probe, as it was then."""
    subjects = _subjects(one, one.readings - 1)
    rows = torch.arange(half, len(subjects["head"].logits), 2)
    plain = get_readout(HEAD.removeprefix(AHEAD))
    value = plain(*(subjects[need].at(rows) for need in plain.needs))
    every = plain(*(subjects[need] for need in plain.needs))
    return replace(whole, values={**whole.values, HEAD: whole.values[HEAD] + value - every})


def _subjects(one: Recording, number: int) -> dict[str, Any]:
    return {"head": one.head(number), "view": Logits(one.at("logits.shift", number))}


def chosen(found: Recorded, members: Sequence[int]) -> list[Candidate]:
    """Some of the candidates."""
    return [found.candidates[index] for index in members]
