"""The figures that README and docs/ quote are those of the committed results."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.architectures import nas_bench_201, table
from benchmarks.checkpoints import run, stopping, tables
from benchmarks.checkpoints.scores import STABLE
from benchmarks.common.metrics import METRICS, bootstrap, spearman, with_interval
from benchmarks.common.readouts import PANEL
from benchmarks.common.results import column, read, without_failures
from benchmarks.failures import run as failures
from benchmarks.failures import tables as failing
from benchmarks.failures.tables import TRUTH as TRUTH_OF_RUNS
from benchmarks.hosts.live import run as live
from benchmarks.hosts.scripts import __main__ as scripts
from benchmarks.pruning import replay
from benchmarks.tasks.across import lines_of
from benchmarks.tasks.along import regrets, runs_of
from benchmarks.tasks.candidates import candidates_of, halves, living
from benchmarks.tasks.kinds import KINDS
from benchmarks.tasks.run import RESULTS as TASKS

ROOT = Path(__file__).parent.parent
TRUTH = ROOT.parent / "shared" / "data" / "nas_bench_201" / "cifar10.csv"
README = (ROOT / "README.md").read_text()
EVIDENCE = (ROOT / "docs" / "evidence.md").read_text()
SELECTION = (ROOT / "docs" / "selection.md").read_text()
# README's name of a score -> the table's name and kind.
SCORES = {
    "AZ-NAS, full network": ("az_nas", "baseline"),
    "**prescreen, first panel**": ("prescreen (first panel)", "score"),
    "NASWOT, full network": ("naswot", "baseline"),
    "FLOPs": ("flops", "baseline"),
    "sample_gradient alone": ("sample_gradient", "readout"),
    "TSE-E": ("tse_e", "baseline"),
    "validation accuracy, eval mode": ("validation_accuracy", "baseline"),
}
SIGNALS = {
    "prescreen, first panel": "readout",
    "sample_gradient alone": "readout, from training",
    "validation accuracy, batch statistics": "validation accuracy",
    "validation accuracy, eval mode": "validation, eval mode",
    "TSE": "TSE",
    "no signal": "no signal",
}
QUOTED = ("ρ", "τ", "ρ top 20 %", "regret 5 %")


@pytest.fixture(scope="module")
def rows():
    return read(table.RESULTS / "report.csv")


def cells(text, heading):
    """The lines of the table under a heading row."""
    lines = text[text.index(heading) :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def require_scores(quoted, names, metrics, rows):
    """All scores are quoted, with their labels and figures."""
    assert {line[0] for line in quoted} == set(names)
    found, truth = table.scores(rows), column(rows, "test_accuracy")
    for name, labels, *figures in quoted:
        score = found[names[name]]
        assert labels == score.labels
        for metric, figure in zip(metrics, figures, strict=True):
            assert figure == with_interval(METRICS[metric], score.values, truth), (name, metric)


def test_the_table_of_overfitting_is_what_was_measured():
    rows = read(failures.RESULTS / "overfit.csv")
    half, end = ([row for row in rows if row["step"] == step] for step in (300, 600))
    truth = column(end, TRUTH_OF_RUNS)
    quoted = cells(EVIDENCE, "| read | after 300 steps | at the end |")
    assert len(quoted) == 6
    for name, *figures in quoted:
        found = [with_interval(spearman, failing.scores(at, name), truth) for at in (half, end)]
        assert figures == found, name


# Experiment -> the heading of its table in the evidence, and the columns that are quoted.
FAILURES = {
    "recipe": (
        "| read | temperature | smoothing | dropout | weight decay | rate | wrong labels | all |",
        ["temperature", "smoothing", "dropout", "weight_decay", "lr", "wrong", "all"],
    ),
    "imbalance": (
        "| read | own accuracy | published |",
        ["test accuracy", "published, of equal classes"],
    ),
    "shifted": (
        "| read | clean | noise | grey | three classes | other images | random pixels |",
        ["clean", "noise", "grey", "three classes", "other images", "random pixels"],
    ),
}


@pytest.mark.parametrize("experiment", FAILURES)
def test_the_tables_of_failures_are_what_was_measured(experiment):
    heading, names = FAILURES[experiment]
    rows = without_failures(read(failures.RESULTS / f"{experiment}.csv"), "")
    printed = failing.TABLES[experiment](rows).splitlines()
    lines = {name: line for name, *line in (re.split(" {2,}", one.strip()) for one in printed)}
    columns = [lines["readout"].index(name) for name in names]
    quoted = cells(EVIDENCE, heading)
    assert len(quoted) >= 6
    for name, *figures in quoted:
        assert figures == [lines[name][column] for column in columns], name


def test_the_table_of_live_studies_is_what_was_measured():
    rows = read(live.RESULTS / "live_25.csv")
    ways = {"nothing": "unpruned", "validation accuracy": "validation", "readings": "readouts"}
    quoted = cells(EVIDENCE, "| script | pruned by | CPU seconds | of unpruned |")
    found = {tuple(line[:2]): line[2:] for line in live.table(rows)}
    for script, way, *figures in quoted:
        studies, *measured = found[script, ways[way]]
        assert studies == "3"
        plain = [figure.removesuffix(" %").replace("–", "0.0") for figure in figures]
        assert plain == measured, (script, way)
    assert len(quoted) == len(found) - len(live.WAYS)  # but for all scripts together
    cpu = {tuple(row["run"].split()): row["cpu"] for row in rows}
    for script, way, seed in cpu:
        assert cpu[script, way, seed] <= cpu[script, "unpruned", seed]


RECORDED = {
    "DARTS": "darts",
    "Vision Transformers": "vit",
    "NAS-Bench-101": "nas_bench_101",
    "timm, all families": "timm",
    "NAS-Bench-201": "nas_bench_201",
    "MobileNet-like": "mobile",
    "timm, other networks": "timm_new",
}
BASELINES = {"parameters": 1, "flops": 1, "synflow": 1, "validation_accuracy": 1, "tse_e": -1}


FOLDERS = {"tuning": "recorded", "held out": "reported"}


def recorded(space, which):
    """The rows of the candidates of a space, and the last one of each."""
    rows = read(table.RESULTS / FOLDERS[which] / f"{RECORDED[space]}.csv")
    return rows, [*{row["run"]: row for row in rows}.values()]


OVER_SPACES = "| space | candidates | **default panel** |"


def test_the_table_over_spaces_is_what_the_recordings_say():
    quoted = cells(EVIDENCE, OVER_SPACES)
    took = []
    for space, candidates, default, *baselines in quoted:
        count, _, which = candidates.partition(" ")
        rows, last = recorded(space, which)
        assert int(count) == len(last)
        truth = column(last, "test_accuracy")
        assert default == with_interval(spearman, column(last, "default"), truth), space
        found = [sign * column(last, name) for name, sign in BASELINES.items()]
        assert baselines == [f"{spearman(values, truth):.2f}" for values in found], space
        took += [row["train_seconds"] for row in rows if "train_seconds" in row]
    assert quoted == sorted(quoted, key=lambda line: float(line[2].split()[0]))
    assert f"{min(took):.0f} to {max(took):.0f} seconds of one CPU core" in README
    files = {(path.parent.name, path.stem) for path in table.RESULTS.glob("re*ed/*.csv")}
    shown = {(FOLDERS[line[1].partition(" ")[2]], RECORDED[line[0]]) for line in quoted}
    assert shown == files


PROXIES = {
    "SWAP regularised": "swap_regularised",
    "SWAP": "swap",
    "AZ-NAS": "az_nas",
    "NASWOT": "naswot",
    "ZiCo": "zico",
}
OF_PROXIES = "| space | candidates | **default** |"


def test_the_table_of_untrained_proxies_is_what_was_measured():
    quoted = cells(EVIDENCE, OF_PROXIES)
    names = EVIDENCE[EVIDENCE.index(OF_PROXIES) :].splitlines()[0].strip("| ").split(" | ")[3:]
    assert names == [*PROXIES]
    for space, candidates, default, *proxies in quoted:
        _, last = recorded(space, candidates.partition(" ")[2])
        truth = column(last, "test_accuracy")
        assert default == f"{spearman(column(last, 'default'), truth):.2f}", space
        for name, figure in zip(names, proxies, strict=True):
            values = table.baseline_values(last, PROXIES[name])
            undefined = values is None or len(np.unique(values)) < 2
            assert figure == ("–" if undefined else f"{spearman(values, truth):.2f}"), (space, name)
    shown = [line[:2] for line in quoted]
    assert shown == [line[:2] for line in cells(EVIDENCE, OVER_SPACES)]


def test_the_short_table_has_all_figures_of_the_long_one():
    long = {(line[0], line[1].partition(" ")[2]): line for line in cells(EVIDENCE, OVER_SPACES)}
    quoted = cells(README, "| space | held out | tuning |")
    for space, *figures, parameters, flops, synflow, accuracy, tse in quoted:
        lines = [long.pop((space, which), None) for which in ("held out", "tuning")]
        there = [line for line in lines if line]
        assert figures == [f"{line[2]} of {line[1].split()[0]}" if line else "–" for line in lines]
        assert there[0][3:] == [parameters, flops, synflow, accuracy, tse]
    assert not long
    first = [line[2 if line[1] == "–" else 1] for line in quoted]
    assert first == sorted(first, key=lambda figure: float(figure.split()[0]))


def test_the_table_of_public_scripts_is_what_their_runs_found():
    quoted = cells(EVIDENCE, "| script | prescreen's lines |")
    assert quoted == scripts.table(read(scripts.RESULTS))


def test_held_out_candidates_are_none_of_those_for_tuning():
    for path in (table.RESULTS / "reported").glob("*.csv"):
        names = [
            {row["run"] for row in read(path.parent.parent / f / path.name)}
            for f in ("recorded", "reported")
        ]
        assert not names[0] & names[1]


def test_the_ranking_table_is_what_the_results_say(rows):
    require_scores(cells(EVIDENCE, "| score | labels | ρ | τ | ρ in"), SCORES, QUOTED, rows)


def test_the_lead_over_the_best_baseline_is_what_the_results_say(rows):
    (quoted,) = re.findall(r"significant \((ρ \+[^)]*\])\)", " ".join(EVIDENCE.split()))
    assert f"less az_nas: {quoted}" in table.lead(rows)


SPACES = {
    "TSE-E": ("tse_e", "baseline"),
    "validation accuracy, eval mode": ("validation_accuracy", "baseline"),
    "sample_gradient alone": ("sample_gradient", "readout"),
    "parameters": ("parameters", "baseline"),
    "first panel": ("prescreen (first panel)", "score"),
    "isotropy, untrained": ("isotropy", "untrained"),
    "synflow, untrained": ("synflow", "untrained"),
}


@pytest.mark.parametrize("space", ["vit", "timm"])
def test_the_tables_of_other_spaces_are_what_the_results_say(space):
    quoted = cells(EVIDENCE[EVIDENCE.index(f"own_truth table {space}") :], "| score |")
    require_scores(quoted, SPACES, ("ρ", "τ"), read(table.RESULTS / f"{space}.csv"))


def test_the_report_cells_are_those_that_were_not_to_be_tuned_on(rows):
    assert nas_bench_201.CELLS["tune"].stop <= nas_bench_201.CELLS["report"].start
    if not TRUTH.exists():
        pytest.skip("the published accuracies are not here")
    chosen = nas_bench_201.choose_cells(TRUTH, "report")
    assert [row["run"] for row in rows] == [row["arch"] for row in chosen]
    published = [float(row["test_accuracy"]) for row in chosen]
    assert list(column(rows, "test_accuracy")) == pytest.approx(published, rel=1e-5)


@pytest.fixture(scope="module")
def replayed():
    panel = list(PANEL)
    recordings = replay.load("report", panel)
    searches = replay.Searches.draw(1000, 100, 200, 0)
    signals = replay.signals(recordings, panel, searches, 0)
    return {name: replay.replay(name, s, recordings, searches) for name, s in signals.items()}


@pytest.mark.parametrize("quoted", SIGNALS)
def test_the_pruning_table_is_what_the_replay_says(quoted, replayed):
    line = next(
        line for line in EVIDENCE.splitlines() if re.match(rf"\| {quoted} \| [\d.]+ %", line)
    )
    figures = re.findall(r"([\d.]+) %", line)
    for rule, figure in zip(("halving", "percentile"), figures, strict=True):
        results = [r for r in replayed[SIGNALS[quoted]] if r.rule == rule]
        within = [result.compute for result in results if result.loss.mean() <= 0.2]
        assert f"{100 * min(within):.1f}" == figure


@pytest.fixture(scope="module")
def found():
    return tables.runs_by_regime(read(run.RESULTS / "report.csv"))


@pytest.fixture(scope="module")
def by_regime(found):
    return {regime: tables.choices_of(own, regime) for regime, own in found.items()}


def test_all_runs_of_checkpoint_selection_are_there(found):
    assert {regime: len(own) for regime, own in found.items()} == dict.fromkeys(tables.COLUMNS, 3)
    assert {len(checkpoints) for own in found.values() for checkpoints in own} == {36}


def test_the_gaps_of_chosen_checkpoints_are_what_the_results_say(by_regime):
    expected = tables.summary(by_regime)
    assert cells(SELECTION, "| chosen by | labels |") == expected
    mean = {line[0]: line[-2] for line in expected}
    text = " ".join(README.split())
    assert f"the chosen checkpoint was {mean['stable information']} points of accuracy" in text
    assert f"the last checkpoint {mean['last checkpoint']}." in text


def test_the_mean_gap_and_the_smoothed_one_are_what_the_results_say(by_regime):
    name, kind = STABLE
    made = [
        one
        for regime, choices in by_regime.items()
        for one in tables.of(choices, regime, name, kind)
    ]
    gaps = np.array([one.gap for one in made])
    low, high = bootstrap(lambda values, _: float(values.mean()), gaps, gaps)
    smoothed = np.mean([one.smoothed_gap for one in made])
    readme, selection = (" ".join(text.split()) for text in (README, SELECTION))
    for text in (readme, selection):
        assert f"(95 % interval {low:.2f} to {high:.2f})" in text
    assert f"the gap is {gaps.mean():.2f} (95 % interval" in selection
    assert f"(means of three checkpoints) {smoothed:.2f}" in selection


def test_early_stopping_is_what_the_results_say(found):
    printed = {}
    for regime in ("clean", "noise", "small", "imbalance"):
        for line in stopping.stopping_table(found[regime], regime).splitlines()[2:]:
            name, _, saved, lost, *_ = re.split(" {2,}", line.strip())
            printed.setdefault(name, []).extend([saved, lost])
    quoted = cells(SELECTION, "| stopped by |")
    assert len(quoted) == 6
    assert {name: figures for name, *figures in quoted}.items() <= printed.items()


@pytest.mark.parametrize("name", [n for n in KINDS if (TASKS / f"{n}.csv").exists()])
def test_what_is_quoted_of_other_tasks(name):
    section = EVIDENCE[EVIDENCE.index(f"### {KINDS[name].name.capitalize()}") :]
    kind, across = KINDS[name], read(TASKS / f"{name}.csv")
    found = {line[0]: line[1:] for line in lines_of(kind, across, kind.panel)}
    quoted = cells(section, "| score | ρ | second half |")
    assert {line[0] for line in quoted} == set(found)
    for score, every, second in quoted:
        assert [every, second] == [found[score][0], found[score][2]], score
    runs = regrets(kind, runs_of(read(TASKS / f"{name}_checkpoints.csv")))
    for score, mean, largest in cells(section, "| chosen by | mean | largest |"):
        values = [one.value for one in runs[score]]
        assert [mean, largest] == [f"{np.mean(values):.3f}", f"{max(values):.3f}"], score


@pytest.mark.parametrize(
    ("name", "task"),
    {
        "language": "next tokens",
        "segmentation": "segmentation",
        "diffusion": "diffusion",
        "detection": "detection",
    }.items(),
)
def test_what_the_readme_says_of_other_tasks_is_of_candidates_nothing_was_chosen_on(name, task):
    kind, across = KINDS[name], read(TASKS / f"{name}.csv")
    _, second = halves(living(kind, candidates_of(kind, across)))
    rho = spearman(second.scores(kind.panel), second.truth)
    (line,) = [line for line in cells(README, "| task | `--data` |") if line[0] == task]
    assert line[2] == f"{rho:.2f} of {len(second)}"
