"""The tables of checkpoint selection: what a score chooses, when training stops, by regime."""

import math
import re
from functools import partial

import numpy as np
import pytest

from benchmarks.checkpoints import choice as choices
from benchmarks.checkpoints import measure, run, scores, stopping, tables
from benchmarks.common import metrics, results
from benchmarks.common.readouts import HEAD
from prescreen import Reading
from prescreen.ranking.journal import Record
from prescreen.reading import Trajectory


def needed(regime):
    """The columns that the tables look at, found by asking them."""
    asked = set()

    class Row(dict):
        def get(self, key, default=None):
            asked.add(key)
            return 1.0

        def __contains__(self, key):
            return "expected" not in key  # which is no longer recorded

    tuple(scores.scores([Row()], regime))
    return asked - {"training.loss"}


def scored(values, better=True):
    return scores.Score("made_up", "", "none", np.array(values), better)


@pytest.mark.parametrize("better", [True, False])
def test_pick_is_the_best_smoothed_value_of_the_window(better):
    values = np.array([9.0, 9, 9, 0, 5, 0, 3, 3.1, 3, 0]) * (1 if better else -1)
    made = scored(values, better)
    assert choices.pick(made, 0.5) == 7
    assert choices.pick(made, 0.6) == 4
    assert choices.pick(made, 0.6, smoothing=3) == 7
    assert choices.pick(made, 1.0, smoothing=3) in (0, 1)


def test_pick_passes_over_what_is_not_known():
    assert choices.pick(scored([math.nan, 1.0, 5, math.nan, 2]), 1.0) == 2
    assert choices.pick(scored([math.nan] * 4), 0.5) == 3
    late = choices.choice(scored([math.nan, 1.0, 2.0, 0.0]), np.array([0.9, 0.1, 0.2, 0.0]), 1.0)
    assert (late.gap, late.rho) == (pytest.approx(70), 1)


def run_of(**columns):
    count = len(next(iter(columns.values())))
    rows = [{name: values[i] for name, values in columns.items()} for i in range(count)]
    names = needed("noise") - set(columns)
    return [{**dict.fromkeys(names, 1.0), **row} for row in rows]


def test_stopping_is_judged_by_what_was_chosen_until_then():
    rise = [0.1 * i for i in range(10)]
    test = rise + [0.9 - 0.05 * i for i in range(1, 21)]
    made = run_of(
        **{
            "test": test,
            "unseen.mutual_information": [2 + value for value in test],
            "divergence.unseen.before": [0.0] * 30,
            "validation.loss": [-value for value in test],
            "validation.accuracy": [min(value, 0.5) for value in test],
            "label_wave": [1.0, 0.9, 0.8, 0.7, 0.8, 0.9] + [1.0] * 24,
        }
    )
    lines = {
        cells[0]: cells[1:]
        for cells in (
            re.split(" {2,}", line.strip())
            for line in stopping.stopping_table([made], "noise").split("\n")
        )
    }
    assert lines["validation.loss, patience 3"] == [
        "validation",
        "57 %",
        "-100.00",
        "-100.00",
        "0.00",
    ]
    assert lines["validation.accuracy, patience 6"][1] == "60 %"
    assert lines["nothing: the last checkpoint"] == ["none", "0 %", "+0.00", "+0.00", "100.00"]
    saved, lost, *_ = lines["stable_information"][1:]
    assert lost == "-100.00"
    assert 0 < int(saved.split()[0]) < 57
    assert lines["label_wave"][1] == "80 %"


def made_up(plan):
    """Accuracy has its peak in the window; mutual information follows it, confidence does not."""
    test = [0.1 + 0.05 * i - 0.02 * max(0, i - 6) ** 2 for i in range(12)]
    found = []
    for i, accuracy in enumerate(test):
        values = dict.fromkeys(needed(plan.regime) | needed("corrupted"), 1.0)
        values |= {"test": accuracy, "test.corrupted": accuracy, "test.ema": 0.9, "test.swa": 0.8}
        values |= {f"unseen.{name}": float(i) for name in HEAD}
        values |= {f"{kind}.mutual_information": accuracy for kind in ("unseen", "corrupted")}
        values["label_wave"] = -float(i)
        found.append(Reading(i + 1, values, 1.0, 1.0))
    return Record(Trajectory(found), "finished")


def test_tables_of_made_up_results(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tables, "bootstrap", partial(metrics.bootstrap, rounds=20))
    planned = measure.plans()
    records = {plan.name: made_up(plan) for plan in planned}
    records["small vit 2"] = Record(status="diverged")
    path = tmp_path / "results.csv"
    results.write(path, run.rows("report", planned, records))
    tables.print_tables(results.read(path))
    out = capsys.readouterr().out
    assert "left out, it failed as 'diverged': small vit 2" in out
    assert "noise: 3 runs; test accuracy in %: oracle" in out
    assert "small: 2 runs" in out
    assert "all regimes: 14 runs" in out
    noise = out.partition("\nnoise: ")[2].partition("\nsmall: ")[0]
    cells = [re.split(" {2,}", line.strip()) for line in noise.split("\n")]
    lines = {tuple(line[:2]): line[3:] for line in cells}
    results.write(path, run.rows("tune", planned, records))
    tables.print_tables(results.read(path))
    summary = capsys.readouterr().out.partition("mean gap by regime, in points:")[2]
    cells = [re.split(" {2,}", line.strip()) for line in summary.split("\n")]
    gaps = {line[0]: line[1:] for line in cells}
    assert gaps["mutual information"] == ["none", *["0.00"] * 5, "0.00", "100 %"]
    assert gaps["last checkpoint"][-1] == "0 %"
    assert gaps["last checkpoint"][1:6] == gaps["confidence"][1:6]  # which only rises
    assert set(gaps) > {"stable information", "GWA", "highest validation accuracy"}
    good = lines["mutual_information", "unseen, eval"]
    assert good == ["0.00 [0.00, 0.00]", "0.00", "0.00", "1.00", "1.00", "0 of 3"]
    assert "noise, stopped early:" in out
    assert "corrupted, stopped early:" not in out
    gap, share, *_, edge = lines["margin", "unseen, eval"]
    assert gap.startswith("28.00 [")  # in points: all that could be gained is lost
    assert (share, edge) == ("1.00", "3 of 3")
