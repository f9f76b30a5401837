"""What figures show: data, labels and marks, not pixels."""

import importlib
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from toy_rankings import STEPS, make_ranking, make_study

matplotlib = pytest.importorskip("matplotlib", reason="the `plot` extra")
matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

from prescreen import plots  # noqa: E402

FIGURES = [getattr(plots, name) for name in dir(plots) if name.startswith("plot_")]


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def lines(axes, with_label=True):
    return {
        line.get_label(): line
        for line in axes.get_lines()
        if with_label is not line.get_label().startswith("_")
    }


def test_there_are_the_five():
    names = ["agreement", "pareto", "pruning", "ranking", "trajectories"]
    assert [one.__name__ for one in FIGURES] == [f"plot_{name}" for name in names]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("source", [make_ranking(), make_study()], ids=["ranking", "study"])
def test_every_figure_draws_on_the_axes_it_is_given_and_labels_them(figure, source):
    if figure is plots.plot_pareto and not hasattr(source, "rows"):
        pytest.skip("this study knows no costs")
    _, axes = pyplot.subplots()
    assert figure(source, ax=axes) is axes
    assert figure(source) is not axes
    assert (axes.get_xlabel() and axes.get_ylabel() is not None) or axes.get_title()
    axes.figure.canvas.draw()


def test_trajectories_are_the_readings_and_the_best_are_named():
    ranking = make_ranking(count=5, failed=0)
    axes = plots.plot_trajectories(ranking, "isotropy", top=2)
    named = lines(axes)
    assert [*named] == ["2  candidate 1", "1  candidate 0"]
    steps, values = named["1  candidate 0"].get_data()
    assert [*steps] == [*STEPS]
    assert [*values] == ranking.rows[0].trajectory.series("isotropy")[1]
    assert len(axes.get_lines()) == 5
    assert axes.get_xlabel() == "optimizer steps"
    assert "isotropy (higher is better)" in axes.get_ylabel()
    shown = {line.get_linestyle() + line.get_marker() for line in named.values()}
    assert len(shown) == 2  # told apart without colours


def test_pruned_trials_end_with_a_cross():
    axes = plots.plot_trajectories(make_study(pruned=3))
    crosses = [
        line for line in axes.get_lines() if line.get_marker() == "x" and len(line.get_xdata())
    ]
    assert [line.get_xdata()[0] for line in crosses] == [STEPS[1]] * 3
    assert "pruned" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_ranking_has_scores_intervals_and_ties():
    ranking = make_ranking(count=4, failed=2, tied=1)
    axes = plots.plot_ranking(ranking)
    told, tied = axes.containers
    assert [*told.lines[0].get_xdata()] == [row.score for row in ranking.rows[:4] if not row.tied]
    assert [*tied.lines[0].get_xdata()] == [ranking.rows[1].score]
    assert tied.lines[0].get_markerfacecolor() == "white"
    ends = tied.lines[2][0].get_segments()[0][:, 0]
    assert [*ends] == pytest.approx([ranking.rows[1].score_low, ranking.rows[1].score_high])
    assert next(text.get_text() for text in axes.get_yticklabels()) == "1  candidate 0"
    bottom, top = axes.get_ylim()
    assert bottom > top  # the best is above


def test_scores_without_intervals_have_no_bars():
    ranking = make_ranking(count=3, failed=0, tied=0)
    rows = [replace(row, score_low=math.nan, score_high=math.nan) for row in ranking]
    axes = plots.plot_ranking(replace(ranking, rows=tuple(rows)))
    assert [*axes.containers[0].lines[0].get_xdata()] == [row.score for row in rows]


def test_agreement_shows_the_correlations_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    ranking = make_ranking(count=9, failed=1)
    rows = list(ranking.rows)
    shuffled = np.random.default_rng(1).permutation(9)
    for index, other in enumerate(shuffled):
        values = {**rows[index].values, "isotropy": float(other)}
        rows[index] = replace(rows[index], values=values)
    axes = plots.plot_agreement(replace(ranking, rows=tuple(rows)))
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert names == ["expected_agreement", "isotropy", "flops", "score", "parameters"]
    table = axes.get_images()[0].get_array()
    values = [[row.values[name] for row in rows[:9]] for name in names[:2]]
    assert table[0, 1] == pytest.approx(stats.spearmanr(*values).statistic)
    assert "9 candidates" in axes.get_title()


def test_the_front_is_what_none_beats_at_its_cost():
    ranking = make_ranking(count=4, failed=0)
    sizes, scores = [10, 5, 20, 1], [1.0, 0.9, 0.5, 0.1]
    rows = [
        replace(row, parameters=size, score=score)
        for row, size, score in zip(ranking, sizes, scores, strict=True)
    ]
    axes = plots.plot_pareto(replace(ranking, rows=tuple(rows)))
    drawn = lines(axes)
    assert [*drawn["Pareto front"].get_xdata()] == [1, 5, 10]
    assert [*drawn["beaten at its cost"].get_xdata()] == [20]
    assert axes.get_xscale() == "log"
    assert plots.plot_pareto(ranking, "flops").get_xlabel() == "flops (FLOPs per sample)"
    with pytest.raises(ValueError, match=r"^`cost` must be one of flops, parameters, got 'volts'$"):
        plots.plot_pareto(ranking, "volts")


def test_pruning_shows_from_which_step_on_the_order_agrees_with_the_end():
    axes = plots.plot_pruning(make_study(completed=6, pruned=3))
    drawn = lines(axes)
    assert [*drawn["Spearman's ρ"].get_xdata()] == [*STEPS]
    assert [*drawn["Spearman's ρ"].get_ydata()] == pytest.approx([1.0] * 4)
    assert [*drawn["pruned"].get_xdata()] == [STEPS[1]]
    assert [text.get_text() for text in axes.texts] == ["3"]
    at_steps = lines(plots.plot_pruning(make_ranking()))["Spearman's ρ"].get_xdata()
    assert [*at_steps] == [*STEPS[:-1]]
    with pytest.raises(ValueError, match=r"^`source` must be of at least 4 candidates"):
        plots.plot_pruning(make_ranking(count=3))


def test_names_are_no_formulas():
    names = ["$\\frac{", "<b>\n", "\u202eevil", "x" * 300]
    for figure in FIGURES:
        axes = figure(make_ranking(names=names))
        axes.figure.canvas.draw()
    texts = [
        text.get_text() for text in plots.plot_ranking(make_ranking(names=names)).get_yticklabels()
    ]
    assert texts[0] == r"1  \$\frac{"
    assert texts[1] == r"2  <b>\n"
    assert texts[2] == r"3  \u202eevil"
    assert max(map(len, texts)) < 40


def test_what_cannot_be_drawn_is_refused_in_one_line():
    allowed = "a folder of a run or of a Ray experiment, a Ranking or an Optuna Study"
    with pytest.raises(ValueError, match=rf"^`source` must be {allowed}, got int$"):
        plots.plot_ranking(3)
    with pytest.raises(ValueError, match=r"^`readout` must be one of .*, got 'volume'$"):
        plots.plot_trajectories(make_ranking(), "volume")
    with pytest.raises(ValueError, match=r"^`source` must be of a candidate with a place, got 2$"):
        plots.plot_ranking(make_ranking(count=0, failed=2))


def test_matplotlib_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.axes", None)
    monkeypatch.delitem(sys.modules, "prescreen.plots")
    needs = r"^prescreen.plots needs the 'plot' extra: pip install 'prescreen\[plot\]'$"
    with pytest.raises(ImportError, match=needs):
        importlib.import_module("prescreen.plots")
