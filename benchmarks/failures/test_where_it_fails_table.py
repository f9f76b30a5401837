"""The tables of the benchmark of failures, from made-up results."""

import math

import numpy as np
import pytest
from benchmark_modules import load_benchmark
from scipy.stats import spearmanr

from prescreen import Reading, Trajectory
from prescreen.ranking.journal import Record

corrections = load_benchmark("where_it_fails_corrections")
metrics = load_benchmark("metrics")
planning = load_benchmark("where_it_fails_plans")
results = load_benchmark("where_it_fails_results")
runs = load_benchmark("where_it_fails_runs")
table = load_benchmark("where_it_fails_table")


def test_correlation_is_spearmans():
    values, truth = np.array([3.0, math.nan, 2.0, 2.0, 7.0]), np.array([1.0, 2.0, 2.0, 4.0, 5.0])
    expected = spearmanr(np.nan_to_num(values, nan=-9.0), truth).statistic
    assert metrics.correlation(values, truth) == pytest.approx(expected)
    assert math.isnan(metrics.correlation(np.ones(5), truth))
    both = metrics.resampled(np.stack([values, values]), truth, rounds=9)
    np.testing.assert_array_equal(both[0], both[1])


# Every readout is the truth itself, except that confidence is fooled by temperature.
def made_up(plan, i):
    truth = 0.5 + (0.02 * i if plan.factor != "seed" else 0.001 * plan.level)
    values = {name: sign * truth for name, sign in table.SIGNS.items()}
    values |= dict.fromkeys(runs.TRUTHS, truth)
    if plan.factor == "temperature":
        values["confidence"] = -truth
    if plan.experiment == "overfit":
        gaps = {f"gap.{name}": 1 - truth for name in corrections.GAPS}
        return [Reading(step, values | gaps) for step in (150, 300, 600)]
    if plan.experiment == "shifted":
        probes = {
            probe: {
                f"{probe}: {name}": (-1 if probe == "noise" else 1) * value
                for name, value in values.items()
            }
            | {f"{probe}: shift.{name}": float(probe == "noise") for name in corrections.SHIFTS}
            for probe in ("clean", *table.CLEAN, "noise")
        }
        return [Reading(300, {k: v for part in probes.values() for k, v in part.items()})]
    return [Reading(300, values)]


def write(experiment, path, failing=()):
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
    results.write_results(experiment, planned, records, path)


def test_tables_of_made_up_results(tmp_path, capsys):
    path = tmp_path / "results.csv"
    for experiment in planning.EXPERIMENTS:
        write(experiment, path, failing=["lr 0.4"])
    table.print_tables(planning.EXPERIMENTS, path)
    out = capsys.readouterr().out
    assert "recipe: left out, it failed as 'diverged': lr 0.4" in out
    lines = [line.split() for line in out.splitlines()]
    confidence, confidence_overfit, *_, confidence_shifted = (
        line for line in lines if line[:1] == ["confidence"]
    )
    assert float(confidence[1]) < table.FOOLED_BELOW
    assert confidence[-1] == "temperature"
    assert confidence_overfit[1:] == ["1.00", "[1.00,", "1.00]"] * 3
    assert confidence_shifted[1] == "1.00"
    assert confidence_shifted[-1] == "-1.00-"
    margin = next(line for line in lines if line[:1] == ["margin"])
    assert margin[1:7] == ["1.00"] * 6
    noticed = next(line for line in lines if line[:1] == ["shift.input"])
    assert noticed[1:] == ["0", "0.00", "0.00", "0.00", "1.00"]
    warned = next(line for line in lines if line[:2] == ["the", "package's"])
    assert warned[3:] == ["0.1", "0.00", "0.00", "0.00", "1.00"]


def test_results_of_one_experiment_replace_its_own_only(tmp_path):
    path = tmp_path / "results.csv"
    write("imbalance", path)
    before = results.read_results(path)
    write("recipe", path)
    write("recipe", path)
    rows = results.read_results(path)
    assert rows[: len(before)] == before
    assert len(rows) == len(before) + 28


def test_no_results_are_one_clear_line(tmp_path, capsys):
    table.print_tables(["recipe"], tmp_path / "none.csv")
    assert capsys.readouterr().out == (
        f"recipe: no results in {tmp_path / 'none.csv'}; train it first\n"
    )
