"""The replay of the package's decisions on made-up trajectories whose outcome is known."""

import sys

import numpy as np
import pytest

from benchmarks.common import results as files
from benchmarks.common.readouts import PANEL
from benchmarks.pruning import decisions, replay
from prescreen.pruning import Guard, Halving, Improvement

TRUTH = np.random.default_rng(0).permutation(np.linspace(80.0, 94.0, 30))


def recordings(sign=1):
    """A readout that orders the cells as they end, or in reverse, and untrained measures that do."""
    columns = {name: np.repeat(sign * TRUTH[:, None], 5, axis=1) for name in PANEL}
    columns[PANEL[0]][:, 0] = np.nan
    return replay.Recordings(TRUTH, np.array([0, 100, 200, 300, 400]), columns)


def test_what_is_known_untrained_ends_candidates_at_step_0():
    spent, finished, regret = decisions.search(
        recordings(), list(range(30)), decisions.Way(Improvement())
    )
    assert regret == 0
    assert finished < 20
    assert spent == pytest.approx(finished / 30, abs=0.05)


def test_what_contradicts_ends_few_and_what_does_not_look_loses_the_best():
    order = np.argsort(TRUTH).tolist()
    keeps = decisions.search(recordings(-1), order, decisions.Way(Improvement()))
    assert keeps == (1.0, 30, 0.0)
    blind = decisions.Way(Halving(100, 2), Guard(0, min_agreement=None), PANEL[:1])
    spent, _, regret = decisions.search(recordings(-1), order, blind)
    assert spent < 0.8
    assert regret > 0


def test_a_head_alone_is_not_read_at_step_0():
    assert decisions.reading(recordings(), PANEL[:1], 0, 0) == {}
    assert decisions.reading(recordings(), PANEL, 0, 0)[PANEL[0]] == 0.0


def test_the_table_of_the_command(tmp_path, monkeypatch, capsys):
    finals = [{"run": f"cell {i}", "test_accuracy": value} for i, value in enumerate(TRUTH)]
    names = [*PANEL, "validation_accuracy", "validation_accuracy_batch", "training_loss"]
    rows = [
        {"run": f"cell {i}", "step": step, **dict.fromkeys(names, value)}
        for i, value in enumerate(TRUTH)
        for step in (100, 200, 300)
    ]
    files.write(tmp_path / "report.csv", finals)
    files.write(tmp_path / "report_readings.csv", rows)
    capsys.readouterr()
    monkeypatch.setattr(replay, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["decisions", "--sizes", "12", "--searches", "2"])
    decisions.main()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "2 searches over 12 of 30 cells of 'report'"
    assert sum(line.startswith("validation, ") for line in printed) == 3
