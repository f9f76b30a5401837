"""Across candidates: how well scores after brief training order networks by what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.common.metrics import bootstrap, spearman, with_interval
from benchmarks.common.results import Row
from benchmarks.tasks.candidates import Candidates, candidates_of, halves, living
from benchmarks.tasks.kind import TRUTH_SEEDS, Kind
from benchmarks.tasks.readouts import OTHERS, PROBE, ahead, plain
from prescreen.panel import DEFAULT_PANEL
from prescreen.readouts.table import AHEAD
from prescreen.text import plain_table

# What a default may begin with, and what of the untrained network may join it. There are few, since a
# default is chosen on half of the candidates.
HEADS = (
    *("expected_agreement", "sample_gradient", "covariance_gradient", "mutual_information"),
    *("rankme", "prior/gradient/both"),
)
JOINING: tuple[tuple[str, ...], ...] = ((), ("flops",), ("isotropy", "flops"))
# Of panels that do about equally well, the simpler one is chosen.
EQUAL = 0.02

ALONE = ("training.loss", "held_out_loss", "parameters", "flops", "isotropy")


def panels_of(found: Candidates) -> list[tuple[str, ...]]:
    """The panels that a default is chosen among, simple ones first."""
    heads = [n for n in found.values if plain(n) in (*HEADS, *(ahead(h) for h in HEADS))]
    panels = [(head, *joining) for joining in JOINING for head in heads]
    return [panel for panel in panels if found.has(panel)]


def chosen(found: Candidates) -> tuple[str, ...]:
    """The panel that orders these candidates best, or a simpler one that does about as well."""
    panels = panels_of(found)
    marks = [spearman(found.scores(panel), found.truth) for panel in panels]
    good = max(marks) - EQUAL
    return next(panel for panel, mark in zip(panels, marks, strict=True) if mark >= good)


def best_readout(found: Candidates) -> str:
    """The one readout, of all, that orders these candidates best."""
    names = [n for n in found.values if _is_readout(n) and found.has([n])]
    return max(names, key=lambda name: spearman(found.scores([name]), found.truth))


def _is_readout(name: str) -> bool:
    own = plain(name).removeprefix(AHEAD)
    return own not in ("step", "seconds", *OTHERS) and not own.startswith("labels/")


def print_candidates(
    kind: Kind, rows: Sequence[Row], panel: Sequence[str] = DEFAULT_PANEL, *, full: bool = False
) -> None:
    """The table across candidates, and what is said of it."""
    every = candidates_of(kind, rows)
    alive = living(kind, every)
    dead = len(every) - len(alive)
    print(f"{len(every)} candidates of {kind.space!r}, {dead} of them dead; truth: {kind.quality}")
    print(_agreement("all", every), *([_agreement("alive", alive)] if dead else []), sep="\n")
    header = ("score", "ρ", "first half", "second half", *(["dead ones too"] if dead else []))
    print(plain_table(header, lines_of(kind, rows, panel, full=full), (0,)))
    first, second = halves(alive)
    default = chosen(first)
    for other in ("parameters", "training.loss", "held_out_loss"):
        if second.has([other]):
            pair = np.stack([second.scores(default), second.scores([other])])
            low, high = bootstrap(spearman, pair, second.truth)
            by = spearman(pair[0], second.truth) - spearman(pair[1], second.truth)
            print(f"chosen panel less {other}, second half: {by:+.2f} [{low:+.2f}, {high:+.2f}]")
    for quality, higher in kind.others.items():
        _print_other(replace(kind, quality=quality, higher_is_better=higher), rows, default)


def _print_other(kind: Kind, rows: Sequence[Row], default: tuple[str, ...]) -> None:
    """What the paper's probe says of another quality, beside the chosen panel."""
    found = candidates_of(kind, rows)
    print(f"\n{_agreement(kind.quality, found)}")
    panels = [default, *((name,) for name in (*_probes(found), *ALONE))]
    lines = [[", ".join(one), _rho(found, one)] for one in panels if found.has(one)]
    print(plain_table(("score", f"ρ with {kind.quality}"), lines, (0,)))


def lines_of(
    kind: Kind, rows: Sequence[Row], panel: Sequence[str] = DEFAULT_PANEL, *, full: bool = False
) -> list[list[str]]:
    """A line a score: its name, and ρ of all that live, of their halves, and with the dead ones.

    Scores are turned as published, so that 1 is a perfect order and a negative ρ a wrong sign.

    Args:
        kind: of the task.
        rows: of brief and long trainings.
        panel: the default of the task.
        full: whether all readouts are told.
    """
    every = candidates_of(kind, rows)
    alive = living(kind, every)
    first, second = halves(alive)
    default, best = chosen(first), best_readout(first)
    named = {
        f"the panel of other tasks: {', '.join(DEFAULT_PANEL)}": DEFAULT_PANEL,
        f"the task's panel: {', '.join(panel)}": tuple(panel),
        f"chosen on the first half: {', '.join(default)}": default,
        f"best readout of the first half: {best}": (best,),
        **{f"the paper's probe, {name}": (name,) for name in _probes(every)},
        **{name: (name,) for name in ALONE},
    }
    if full:
        named |= {n: (n,) for n in every.values if _is_readout(n) and n not in named}
    parts = [alive, first, second] + ([every] if len(alive) < len(every) else [])
    return [
        [name, *(_rho(part, own) for part in parts)]
        for name, own in named.items()
        if every.has(own)
    ]


def _probes(found: Candidates) -> list[str]:
    """The paper's probe at all scales, of every part, with its own labels and with known ones."""
    ends = (*PROBE, *(name.replace("pseudo", "labels") for name in PROBE))
    return [name for name in found.values if plain(name) in ends]


def _rho(found: Candidates, panel: Sequence[str]) -> str:
    return with_interval(spearman, found.scores(panel), found.truth)


def _agreement(name: str, found: Candidates) -> str:
    ordered = " and ".join(f"seed {seed}" for seed in TRUTH_SEEDS)
    both = found.truths[~np.isnan(found.truths).any(1)]
    agreement = with_interval(spearman, *both.T)
    low, high = found.truth.min(), found.truth.max()
    told = f"{name}: ρ between {ordered} {agreement} (n {len(both)})"
    return f"{told}; truths from {low:.3f} to {high:.3f}"
