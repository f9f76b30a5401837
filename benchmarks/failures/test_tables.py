"""The tables of the benchmark of failures, from made-up results."""

import sys

import pytest

from benchmarks.common import results
from benchmarks.failures import corrections, run, tables
from benchmarks.failures import measure as runs
from benchmarks.failures import plans as planning
from prescreen import Reading
from prescreen.ranking.journal import Record
from prescreen.reading import Trajectory


# Every readout is the truth itself, except that confidence is fooled by temperature, and that all have
# the same size.
def made_up(plan, i):
    truth = 0.5 + (0.02 * i if plan.factor != "seed" else 0.001 * plan.level)
    values = {name: readout.score(truth) for name, readout in corrections.READ.items()}
    values |= {"flops": 1.0, **dict.fromkeys(runs.TRUTHS, truth)}
    if plan.factor == "temperature":
        values["confidence"] = -truth
    if plan.experiment == "overfit":
        gaps = dict.fromkeys(corrections.GAPS, 1 - truth)
        return [Reading(step, values | gaps) for step in (150, 300, 600)]
    if plan.experiment == "shifted":
        probes = {
            probe: {
                f"{probe}: {name}": (-1 if probe == "noise" else 1) * value
                for name, value in values.items()
            }
            | {f"{probe}: shift.{name}": float(probe == "noise") for name in corrections.SHIFTS}
            for probe in ("clean", *tables.CLEAN, "noise")
        }
        return [Reading(300, {k: v for part in probes.values() for k, v in part.items()})]
    return [Reading(300, values)]


def write(experiment, folder, failing=()):
    if experiment in ("recipe", "overfit"):
        planned = planning.plans(experiment, None)
    else:
        planned = [
            planning.Plan(experiment, f"cell {i}", "cell", i, published=90 + i) for i in range(6)
        ]
    records = {
        plan.name: Record(status="diverged", reason="loss nan")
        if plan.name in failing
        else Record(Trajectory(made_up(plan, i)), "finished")
        for i, plan in enumerate(planned)
    }
    rows = [row for plan in planned for row in run.rows_of(plan, records[plan.name])]
    results.write(folder / f"{experiment}.csv", rows, digits=4)


def test_tables_of_made_up_results(tmp_path, capsys, monkeypatch):
    for experiment in planning.EXPERIMENTS:
        write(experiment, tmp_path, failing=["lr 0.4"])
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["run", "table"])
    run.main()
    out = capsys.readouterr().out
    assert "recipe: left out, it failed as 'diverged': lr 0.4" in out
    lines = [line.split() for line in out.splitlines()]
    confidence, confidence_overfit, *_, confidence_shifted = (
        line for line in lines if line[:1] == ["confidence"]
    )
    assert float(confidence[1]) < tables.FOOLED_BELOW
    assert confidence[-1] == "temperature"
    assert confidence_overfit[1:] == ["1.00", "[1.00,", "1.00]"] * 3
    assert confidence_shifted[1] == "1.00"
    assert confidence_shifted[-1] == "-1.00-"
    margin = next(line for line in lines if line[:1] == ["margin"])
    assert margin[1:7] == ["1.00"] * 6
    size = next(line for line in lines if line[:1] == ["flops"])
    assert size[1:] == ["-"] * 7
    noticed = next(line for line in lines if line[:1] == ["shift.input"])
    assert noticed[1:] == ["0", "0.00", "0.00", "0.00", "1.00"]
    warned = next(line for line in lines if line[:2] == ["the", "package's"])
    assert warned[3:] == ["0.1", "0.00", "0.00", "0.00", "1.00"]


def test_an_unknown_experiment_is_one_clear_line(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run", "table", "recipes"])
    with pytest.raises(SystemExit):
        run.main()
    expected = "EXPERIMENT must be one of recipe, overfit, imbalance, shifted, got 'recipes'"
    assert expected in capsys.readouterr().err
