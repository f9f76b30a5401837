"""Tables of scores and truths that are known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.tasks.across import best_readout, chosen, print_candidates
from benchmarks.tasks.along import LAST, print_runs, regrets, runs_of
from benchmarks.tasks.candidates import candidates_of
from benchmarks.tasks.segmentation import KIND

COUNT = 12
FEW = replace(KIND, candidates_count=COUNT)
NAMES = [one.name for one in FEW.candidates]
NOISE = np.random.default_rng(0)


def across(truth, dead=()):
    """Brief trainings in which rankme, in the end, is what a network is worth."""
    rows = []
    for number, name in enumerate(NAMES):
        for step in (1, 2, 3, 4):
            values = {
                "rankme": truth[number] * step,
                "sample_gradient": NOISE.random(),
                "pseudo/batch_gradient/head": NOISE.random(),
                "flops": NOISE.random(),
                "isotropy": NOISE.random(),
                "parameters": NOISE.random(),
                "training.loss": -truth[number],
            }
            rows.append({"run": f"brief {name}", "step": step, "architecture": "", **values})
        for seed in (1, 2):
            worth = 0.0 if number in dead else truth[number] + seed / 1000
            truths = {"test.dice": worth, "test.iou": 1 - truth[number]}
            rows.append({"run": f"truth {name} {seed}", "step": 8, **truths})
    return rows


def test_what_orders_candidates_is_chosen_and_reported(capsys):
    truth = NOISE.permutation(COUNT) / COUNT + 0.2
    rows = across(truth, dead=(2, 5))
    found = candidates_of(FEW, rows)
    assert found.truths.shape == (COUNT, 2)
    alive = found.at(found.truth > FEW.dead)
    assert len(alive) == COUNT - 2
    assert chosen(alive) == ("rankme",)
    assert best_readout(alive).endswith("rankme")
    # A line in log t from 2 to 4 steps, after half as much again.
    expected = truth * (4 + 2 * math.log2(1.5))
    np.testing.assert_allclose(found.values["ahead/rankme"], expected)
    print_candidates(replace(FEW, others={"test.iou": True}), rows, ("rankme", "flops"))
    told = capsys.readouterr().out
    assert "12 candidates of 'unet', 2 of them dead" in told
    assert "alive: ρ between seed 1 and seed 2 1.00 [1.00, 1.00] (n 10)" in told
    line = next(line for line in told.splitlines() if line.startswith("training.loss"))
    assert line.split()[1] == "1.00"
    assert "chosen panel less training.loss, second half: +0.00" in told
    other = told[told.index("ρ with test.iou") :].splitlines()
    assert other[2].split()[:2] == ["rankme", "-1.00"]


def test_candidates_that_fail_or_are_not_finished():
    rows = across(NOISE.permutation(COUNT) / COUNT)
    rows = [row for row in rows if row["run"] != f"truth {NAMES[3]} 2"]
    rows = [row for row in rows if row["run"] not in (f"brief {NAMES[0]}", f"truth {NAMES[1]} 1")]
    rows.append({"run": f"brief {NAMES[0]}", "failure": "diverged"})
    rows.append({"run": f"truth {NAMES[1]} 1", "failure": "diverged"})
    found = candidates_of(FEW, rows)
    assert len(found) == COUNT
    assert np.isnan(found.truths).sum() == 1
    assert math.isnan(found.values["rankme"][0])
    assert found.scores(["rankme"])[0] == 0
    assert found.truths[1, 0] == np.nanmin(found.truths)


def test_regrets_of_choices(capsys):
    dice = [0.1, 0.5, 0.8, 0.6, 0.3]
    rows = [
        {"run": f"run few {run}", "step": step, "test.dice": worth, "architecture": ""}
        | {"energy": worth, "training.loss": -float(step), "gap/energy": worth}
        for run in ("a", "b")
        for step, worth in enumerate(dice, start=1)
    ]
    found = regrets(KIND, runs_of(rows))
    by_name = {name: [one.value for one in own] for name, own in found.items()}
    assert by_name[LAST] == pytest.approx([0.5, 0.5])
    assert by_name["energy"] == pytest.approx([0, 0])
    assert by_name["training.loss"] == pytest.approx([0.5, 0.5])
    assert by_name["gap/energy"] == pytest.approx([0.7, 0.7])
    print_runs(KIND, rows)
    told = capsys.readouterr().out
    assert "2: few b, best 0.800, last 0.300" in told


def test_large_networks_are_passed_over():
    few = replace(KIND, candidates_count=4, most_parameters=50_000)
    sizes = [sum(p.numel() for p in one.model().parameters()) for one in few.candidates]
    assert len(sizes) == 4
    assert max(sizes) <= 50_000
