"""The replay of pruning on made-up trajectories whose outcome is known, against naive replays."""

import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.common import results as files
from benchmarks.pruning import figure, replay, rules, table
from prescreen.pruning.column import Column
from prescreen.ranks import aggregate

STEPS = np.array([0, 100, 200, 300, 400, 500, 600, 700, 800])
TRUTH = np.random.default_rng(7).permutation(np.linspace(80.0, 94.0, 64))
PANEL = ["mutual_information", "made_up"]


def constant(values):
    return rules.Columns(np.repeat(values[None, :, None], len(STEPS), axis=2))


def searches(count=50, size=32):
    return rules.Searches.draw(count, size, len(TRUTH), seed=0)


def recordings():
    return replay.Recordings(TRUTH, STEPS, {})


def noisy(columns=3, missing=0.1, seed=1):
    generator = np.random.default_rng(seed)
    values = TRUTH[:, None] + generator.normal(0, 4, (columns, len(TRUTH), len(STEPS)))
    values = values.round()  # ties
    values[generator.random(values.shape) < missing] = np.nan
    values[:, :, 0] = np.nan
    return values


def write_results(folder, cells=40, panel=PANEL, seed=0):
    """Files as architectures/nas_bench_201.py writes them; `made_up` is known before training."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(90, 3, cells).clip(10, 94.4)
    finals = [{"run": f"cell {i}", "test_accuracy": truth[i]} for i in range(cells)]
    names = ["validation_accuracy_batch", "validation_accuracy"]
    names += [name for name in panel if name != "made_up"]
    rows = []
    for i, accuracy in enumerate(truth):
        fixed = accuracy + generator.normal(0, 3)
        for reading in range(1, 11):
            noise = generator.normal(0, 6 / reading, len(names) + 1)
            rows.append(
                {"run": f"cell {i}", "step": 120 * reading}
                | dict(zip(names, accuracy + noise[1:], strict=True))
                | {"made_up": fixed, "training_loss": 100 - accuracy - noise[0]}
            )
    files.write(folder / "report.csv", finals)
    files.write(folder / "report_readings.csv", rows)


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "RESULTS", tmp_path)
    return tmp_path


def test_a_perfect_signal_never_loses_the_winner_and_a_reversed_one_always_does():
    for sign in (1, -1):
        found = replay.replay("signal", constant(sign * TRUTH), recordings(), searches())
        for result in found:
            if result.rule == "none":
                assert (result.loss == 0).all()
            elif sign == 1:
                assert (result.loss == 0).all(), result.setting
                assert (result.pick_loss == 0).all()
            elif result.rule == "halving":
                assert (result.loss > 0).all(), result.setting
    # One by one, a reversed signal keeps the first few, whoever they are, and those that are worse.
    strict = [r for r in found if r.setting == "90%, warm-up 0, startup 5"]
    assert (strict[0].loss > 0).mean() > 0.75


def test_no_signal_keeps_the_winner_with_the_probability_of_being_drawn():
    many = rules.Searches.draw(4000, 64, 64, seed=0)
    signal = rules.NoSignal(many, seed=1)
    best = TRUTH.argmax()
    for eta, rungs in ((2, (1,)), (2, (1, 2, 4)), (4, (0, 3))):
        _, finished = rules.halve(signal, many, STEPS, rungs, eta)
        expected = eta ** -len(rungs)
        error = (expected * (1 - expected) / 4000) ** 0.5
        assert finished[:, best].mean() == pytest.approx(expected, abs=4 * error)


def test_compute_of_halving_by_hand():
    # 32 run 100 steps, 16 continue to 200, 8 to 400, 4 to 800; at step 0 halving is free.
    expected = (32 * 100 + 16 * 100 + 8 * 200 + 4 * 400) / (32 * 800)
    compute, finished = rules.halve(constant(TRUTH), searches(), STEPS, (1, 2, 4), 2)
    assert compute == pytest.approx(expected)
    assert (finished.sum(axis=1) == 4).all()
    compute, _ = rules.halve(constant(TRUTH), searches(), STEPS, (0,), 4)
    assert compute == 0.25


def test_scores_are_those_of_the_package():
    values, chosen = noisy(), searches(5)
    signal = rules.Columns(values)
    assert signal.first == 1
    for step in range(1, len(STEPS)):
        scores = signal.scores(step, chosen.members)
        for row, members in zip(scores, chosen.order, strict=True):
            # A cell's tie with itself is half a win here, but not a win in the package.
            ours = (row[members] / 3 - 0.5) / (len(members) - 1)
            np.testing.assert_allclose(ours, aggregate(values[:, members, step].T))


@pytest.mark.parametrize("setting", [(0.5, 1, 5), (0.75, 3, 1), (0.9, 2, 10)])
def test_percentile_pruning_is_that_of_a_population(setting):
    values, chosen = noisy(), searches(6)
    setting = rules.Percentile(*setting)
    other = rules.Percentile(0.25, 0, 0)
    computes, finished = rules.prune(rules.Columns(values), chosen, STEPS, [other, setting])
    spent, compared = (
        0,
        np.where(np.isnan(values), -np.inf, values),
    )  # as a population takes failures
    for search, order in enumerate(chosen.order):
        columns, done = {step: Column(3) for step in range(1, len(STEPS))}, []
        for cell in order:
            for step in range(1, len(STEPS)):
                spent += STEPS[step] - STEPS[step - 1]
                judged = setting.warmup <= step < len(STEPS) - 1 and len(done) >= setting.startup
                beaten = columns[step].score(compared[:, cell, step]) * len(done)
                if judged and beaten < setting.share * len(done) - 1e-9:
                    break
            else:
                for step, column in columns.items():
                    column.add(int(cell), compared[:, cell, step])
                done.append(cell)
        assert sorted(done) == np.flatnonzero(finished[search, :, 1]).tolist()
    assert computes[1] == pytest.approx(spent / (6 * 32 * STEPS[-1]))


def test_what_never_changes_is_known_at_step_0_and_what_is_missing_loses(results):
    write_results(results)
    rows = files.read(results / "report_readings.csv")
    kept = [row for row in rows if row["run"] != "cell 3" or row["step"] == 120]
    files.write(results / "report_readings.csv", kept)
    loaded = replay.load("report", PANEL)
    assert loaded.steps.tolist() == list(range(0, 1201, 120))
    assert np.isfinite(loaded.columns["made_up"][:, 0]).all()
    assert np.isnan(loaded.columns["mutual_information"][:, 0]).all()
    few = rules.Searches.draw(10, 40, 40, seed=0)
    found = replay.signals(loaded, PANEL, few, 0)
    assert {name: signal.first for name, signal in found.items()} == {
        "readout": 0,
        "readout, from training": 1,
        "validation accuracy": 1,
        "validation, eval mode": 1,
        "TSE": 1,
        "no signal": 0,
    }
    for name in ("readout", "validation accuracy", "TSE"):
        assert (found[name].scores(10, few.members).argmin(axis=1) == 3).all()
    # Rungs at step 0 exist only where something is known there.
    assert len(replay.ladders(10, 0)) == 2 * len(replay.ladders(10, 1)) + 3


def test_the_table_and_the_figure_of_the_command(results, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    write_results(results)
    capsys.readouterr()
    file = results / "curves.svg"
    command = ["replay", "--searches", "40", "--panel", *PANEL, "--figure", str(file)]
    monkeypatch.setattr(sys, "argv", command)
    replay.main()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "40 searches over 20 of 40 cells of 'report'"
    assert sum(line.startswith(("none ", "halving ", "percentile ")) for line in printed) == 18
    assert sum(line.startswith(("winner ", "pick ")) for line in printed) == 6
    ids = [element.get("id", "") for element in ElementTree.parse(file).getroot().iter()]
    for rule in table.RULES:
        assert sum(i.startswith(f"{rule}:") for i in ids) == len(figure.LOOKS)


def test_a_curve_rises_from_the_cheapest_setting_to_no_pruning():
    found = replay.replay("TSE", rules.Columns(noisy()), recordings(), searches())
    for rule in table.RULES:
        compute, accuracy = np.array(figure.frontier(found, rule, "TSE")).T
        assert (np.diff(compute) > 0).all()
        assert (np.diff(accuracy) >= 0).all()
        assert compute[-1] == 1
    cheapest = table.cheapest(found, "TSE", table.RULES)
    assert table.cheapest(found, "TSE", table.RULES, reference=TRUTH.max() + 1) is None
    assert cheapest.loss.mean() <= table.WITHIN
    assert not [r for r in found if r.compute < cheapest.compute and r.loss.mean() <= table.WITHIN]


def test_what_is_missing_is_said_in_one_line(results):
    with pytest.raises(SystemExit, match=r"no results in .*report.csv"):
        replay.load("report", PANEL)
    write_results(results)
    with pytest.raises(SystemExit, match="`panel` must name recorded columns, got 'isotropy'"):
        replay.load("report", ["isotropy"])


def test_without_matplotlib_the_figure_says_what_to_install(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match="`figure` needs matplotlib; pip install"):
        figure.draw([], 0.2, results / "curves.svg")
