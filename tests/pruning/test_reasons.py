"""Reasons: each condition that keeps or prunes a trial says so, and takes no more room with time."""

import json
import math
import re

import pytest
from recordings import GUARDS, KINDS, Direct, recording, replay

from prescreen.panel import Panel
from prescreen.pruning import (
    Guard,
    Halving,
    Improvement,
    Median,
    Population,
    Reasons,
    decide,
    judge,
    summary,
    with_reason,
)
from prescreen.pruning.reasons import KEPT, PRUNED, Reason

PANEL = Panel(("a",), (True,))
FREE = {"n_startup_trials": 0, "min_agreement": None}


def population(values, steps=(10, 40), objective=lambda value: value, judged=0.5, at=40):
    """Trials that completed, and one that is judged."""
    known = Population(PANEL)
    for number, value in enumerate(values):
        for step in steps:
            known.read(number, step, {"a": value})
        known.complete(number, () if objective is None else (objective(value),))
    known.read(99, at, {"a": judged})
    return known


MANY = [number / 12 for number in range(12)]

# Rule, guard, population and step; the reason.
TABLE = {
    "warm-up": (
        Improvement(), {"n_warmup_steps": 100}, population(MANY), 40, "kept: warm-up until step 100"
    ),
    "few": (
        Improvement(), {}, population(MANY[:3]), 40, "kept: 3 of 5 completed trials read at step 40"
    ),
    "few, by rank": (
        Median(), {}, population(MANY[:3]), 40, "kept: 3 of 5 completed trials read at step 40"
    ),
    "few, of another step": (
        Median(), {}, population(MANY, steps=(10,)), 40,
        "kept: 0 of 5 completed trials read at step 40",
    ),
    "few, and none is needed": (
        Improvement(), FREE, population([]), 40, "kept: no completed trial read at step 40"
    ),
    "contradicted": (
        Improvement(), {}, population(MANY, objective=lambda value: -value), 40,
        "kept: completed trials contradict the readings at step 40",
    ),
    "last": (
        Improvement(), {}, population(MANY, objective=None), 40,
        "kept: no objective is known, and none was read after step 40",
    ),
    "likely": (
        Improvement(), {}, population(MANY, judged=1.0), 40,
        r"kept: likely enough \(0\.\d+ to end best, 0\.\d+ on average\) at step 40",
    ),
    "unlikely": (
        Improvement(), {}, population(MANY, judged=0.0), 40,
        r"pruned: unlikely \(\S+ to end best, 0\.\d+ on average\) at step 40",
    ),
    "diverged": (
        Improvement(), {}, population(MANY, judged=math.nan), 40, "pruned: diverged at step 40"
    ),
    "good": (
        Median(), FREE, population(MANY, judged=1.0), 40, "kept: good enough for Median at step 40"
    ),
    "rung": (
        Halving(41), FREE, population(MANY), 40, "kept: no rung begins at step 40"
    ),
    "order": (
        Median(), {"min_agreement": 1.0}, population(MANY, judged=0.0), 40,
        r"kept: ρ 1\.00 less a standard error, needed 1\.00",
    ),
    "tolerance": (
        Median(), {"max_false_prune": 0.1}, population(MANY[:6], judged=-1.0), 40,
        r"kept: 0 of \d that the rule would have pruned ended best, allowed 0\.10 with one more",
    ),
    "poor": (Median(), {}, population(MANY, judged=0.0), 40, "pruned: poor for Median at step 40"),
    "poor at a rung": (
        Halving(40), FREE, population(MANY, judged=0.0), 40, "pruned: poor for Halving at step 40"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLE)
def test_what_kept_or_pruned_a_trial_is_said(kind):
    rule, guard, known, step, expected = TABLE[kind]
    reason = judge(rule, Guard(**guard), known, 99, step)
    assert re.fullmatch(expected, str(reason))
    assert reason.kind == kind.split(",")[0].split(" at ")[0]
    assert reason.pruned == expected.startswith("pruned")
    assert decide(rule, Guard(**guard), known, 99, step) == reason.pruned


def test_a_check_that_is_not_due_says_when_the_next_is():
    known = population(MANY, judged=0.0, at=50)
    known.read(99, 60, {"a": 0.0})
    guard = Guard(interval_steps=40)
    assert str(judge(Median(), guard, known, 99, 60)) == "kept: next check from step 80 on"


@pytest.mark.parametrize("rule", [Median(), Halving(2, 2), Improvement()], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_kinds_are_a_table(kind, rule):
    """Over whole studies no check is without a kind, and a pruned one is the one that decides."""
    recorded = recording(kind, seed=1, trials=20)
    for settings in GUARDS.values():
        host = Direct(rule, Guard(**settings), recorded.readouts)
        decisions = replay(recorded, host)
        assert decisions
    assert not set(KEPT) & set(PRUNED)


def test_a_trial_takes_constant_space():
    reasons = None
    for step in range(1, 2000):
        kind = [*KEPT, *PRUNED][step % 5]
        reasons = with_reason(reasons, Reason(kind, f"{step} of 5"), step)
        reasons = with_reason(reasons, Reason(kind, f"{step} of 5"), step)  # asked again: one check
    assert sum(reasons.counts.values()) == 1999
    text = json.dumps(reasons.to_json(), allow_nan=False)
    assert len(text) < 300
    assert Reasons.from_json(json.loads(text)) == reasons
    assert reasons.last == "kept: 1999 of 5"


def test_a_summary_has_a_line_for_each_kind_and_cannot_write_to_a_terminal():
    told = [with_reason(None, Reason("few", f"{n} of 5"), n) for n in range(3)]
    told += [with_reason(None, Reason("unlikely", "unlikely\x1b[2J"), 1)]
    told += [Reasons(1, "of a later version\n", "kept: else", {})]
    lines = summary(told)
    assert lines[0] == "3 kept: too few completed trials to compare with (2 of 5)"
    assert "1 pruned: unlikely to end best (unlikely\\x1b[2J)" in lines
    assert all(line.isprintable() for line in lines)
    assert summary([]) == []
