"""The figures that the README quotes are those of the committed results."""

import re
from pathlib import Path

import pytest
from benchmark_modules import load_benchmark

ROOT = Path(__file__).parent.parent
TRUTH = ROOT.parent / "shared" / "data" / "nas_bench_201" / "cifar10.csv"
README = (ROOT / "README.md").read_text()
EVIDENCE = (ROOT / "docs" / "evidence.md").read_text()
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
SIGNALS = {
    "prescreen, default panel": "readout",
    "sample_gradient alone": "readout, from training",
    "validation accuracy, batch statistics": "validation accuracy",
    "validation accuracy, eval mode": "validation, eval mode",
    "TSE": "TSE",
    "no signal": "no signal",
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


def test_the_lead_over_the_best_baseline_is_what_the_results_say(columns):
    (quoted,) = re.findall(r"\((ρ \+[^)]*\])\)", README)
    assert f"less az_nas: {quoted}" in results.lead(
        results.scores(columns), columns["test_accuracy"]
    )


SPACES = {
    "TSE-E": ("tse_e", "baseline"),
    "validation accuracy, eval mode": ("validation_accuracy", "baseline"),
    "sample_gradient alone": ("sample_gradient", "readout"),
    "parameters": ("parameters", "baseline"),
    "default panel": ("prescreen (default panel)", "score"),
    "isotropy, untrained": ("isotropy", "untrained"),
    "synflow, untrained": ("synflow", "untrained"),
}


@pytest.mark.parametrize("space", ["vit", "timm"])
def test_the_tables_of_other_spaces_are_what_the_results_say(space):
    columns = results.read_cells(space, results.FOLDER / f"{space}.csv")
    found = {(n.strip(), kind): rest for n, (kind, *rest) in results.scores(columns).items()}
    text = EVIDENCE[EVIDENCE.index(f"own_truth.py table {space}") :]
    table = text[text.index("| score |") :].partition("\n\n")[0].splitlines()[2:]
    assert {line.split("|")[1].strip() for line in table} == set(SPACES)
    for line in table:
        quoted, labels, *figures = [cell.strip() for cell in line.strip("|").split("|")]
        wanted, values, _ = found[SPACES[quoted]]
        assert labels == wanted
        for name, figure in zip(("ρ", "τ"), figures, strict=True):
            metric, truth = results.METRICS[name], columns["test_accuracy"]
            low, high = results.bootstrap(metric, values, truth)
            assert figure == f"{metric(values, truth):.2f} [{low:.2f}, {high:.2f}]", quoted


def test_the_report_cells_are_those_that_were_not_to_be_tuned_on(columns):
    cells = load_benchmark("nas_bench_201")
    assert cells.CELLS["tune"].stop <= cells.CELLS["report"].start
    if not TRUTH.exists():
        pytest.skip("the published accuracies are not here")
    rows = cells.choose_cells(TRUTH, cells.CELLS["report"])
    assert columns["arch"] == [row["arch"] for row in rows]
    assert list(columns["test_accuracy"]) == pytest.approx(
        [float(row["test_accuracy"]) for row in rows], rel=1e-5
    )


@pytest.fixture(scope="module")
def replayed():
    replay = load_benchmark("pruning_replay")
    panel = list(replay.RANKING_PANEL)
    recordings = replay.load("report", panel)
    searches = replay.Searches.draw(1000, 100, 200, 0)
    signals = replay.signals(recordings, panel, searches, 0)
    return {name: replay.replay(name, s, recordings, searches) for name, s in signals.items()}


@pytest.mark.parametrize("quoted", SIGNALS)
def test_the_pruning_table_is_what_the_replay_says(quoted, replayed):
    line = next(line for line in README.splitlines() if re.match(rf"\| {quoted} \| [\d.]+ %", line))
    figures = re.findall(r"([\d.]+) %", line)
    for rule, figure in zip(("halving", "percentile"), figures, strict=True):
        results = [r for r in replayed[SIGNALS[quoted]] if r.rule == rule]
        within = [result.compute for result in results if result.loss.mean() <= 0.2]
        assert f"{100 * min(within):.1f}" == figure
