"""The figures that the README quotes are those of the committed results."""

import re
from pathlib import Path

import pytest
from benchmark_modules import load_benchmark

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
# README's name of a score -> the table's name and kind.
SCORES = {
    "AZ-NAS, full network": ("az_nas", "baseline"),
    "**prescreen, default panel**": ("prescreen (default panel)", "score"),
    "NASWOT, full network": ("naswot", "baseline"),
    "FLOPs": ("flops", "baseline"),
    "sample_gradient alone": ("sample_gradient", "readout"),
    "TSE-E": ("tse_e", "baseline"),
    "validation accuracy, eval mode": ("validation_accuracy", "baseline"),
}
METRICS = ("ρ", "τ", "ρ top 20 %", "regret 5 %")

results = load_benchmark("nas_bench_201_table")


@pytest.fixture(scope="module")
def columns():
    return results.read_cells("report")


@pytest.mark.parametrize("quoted", SCORES)
def test_the_ranking_table_is_what_the_results_say(quoted, columns):
    line = next(line for line in README.splitlines() if line.startswith(f"| {quoted} |"))
    _, labels, *figures = [cell.strip() for cell in line.strip("|").split("|")]
    found = {(n.strip(), kind): rest for n, (kind, *rest) in results.scores(columns).items()}
    wanted, values, _ = found[SCORES[quoted]]
    assert labels == wanted
    for name, figure in zip(METRICS, figures, strict=True):
        metric = results.METRICS[name]
        low, high = results.bootstrap(metric, values, columns["test_accuracy"])
        value = metric(values, columns["test_accuracy"])
        assert figure == f"{value:.2f} [{low:.2f}, {high:.2f}]", name


def test_report_and_tuning_cells_are_apart(columns):
    cells = load_benchmark("nas_bench_201").CELLS
    assert len(set(columns["arch"])) == 200
    assert cells["tune"].stop <= cells["report"].start


def test_the_pruning_table_is_what_the_replay_says():
    replay = load_benchmark("pruning_replay")
    recordings = replay.load("report", list(replay.RANKING_PANEL))
    searches = replay.Searches.draw(1000, 100, 200, 0)
    signals = replay.signals(recordings, list(replay.RANKING_PANEL), searches, 0)
    table = re.search(r"^\| driven by .*?\n\n", README, re.M | re.S)[0]
    name = "prescreen, default panel"
    halving, percentile = re.search(rf"\| {name} \| (\d+) % \| (\d+) %", table).groups()
    results = replay.replay("readout", signals["readout"], recordings, searches)
    for rule, quoted in (("halving", halving), ("percentile", percentile)):
        within = [r.compute for r in results if r.rule == rule and r.loss.mean() <= replay.WITHIN]
        assert f"{100 * min(within):.0f}" == quoted
