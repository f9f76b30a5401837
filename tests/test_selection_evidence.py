"""The figures of checkpoint selection that documents quote are those of the committed results."""

import re
from pathlib import Path

import numpy as np
import pytest
from benchmark_modules import load_benchmark

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SELECTION = (ROOT / "docs" / "selection.md").read_text()

tables = load_benchmark("checkpoint_selection_table")
stopping = load_benchmark("checkpoint_selection_stopping")
summaries = load_benchmark("checkpoint_selection_summary")


@pytest.fixture(scope="module")
def found():
    return tables.runs_by_regime("report")


@pytest.fixture(scope="module")
def by_regime(found):
    return {regime: tables.choices_of(own, regime) for regime, own in found.items()}


def cells(text, heading):
    """The lines of the table under a heading row."""
    table = text[text.index(heading) :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_all_runs_are_there(found):
    assert {regime: len(own) for regime, own in found.items()} == dict.fromkeys(
        summaries.COLUMNS, 3
    )
    assert {len(run) for own in found.values() for run in own} == {36}


@pytest.mark.parametrize("text", [README, SELECTION], ids=["README", "selection"])
def test_the_gaps_are_what_the_results_say(text, by_regime):
    expected = summaries.summary_rows(by_regime)
    quoted = cells(text, "| chosen by | labels |")
    assert len(quoted) >= 8
    assert all(row in expected for row in quoted)
    if text is SELECTION:
        assert quoted == expected


def test_the_mean_over_all_and_the_smoothed_one_are_what_the_results_say(by_regime):
    name, kind = summaries.STABLE
    made = [
        one
        for regime, choices in by_regime.items()
        for one in summaries.of(choices, regime, name, kind)
    ]
    gaps = np.array([one.gap for one in made])
    low, high = tables.bootstrap(lambda values, _: float(values.mean()), gaps, gaps)
    for text in (README, SELECTION):
        assert f"{low:.2f} to {high:.2f}" in text
    assert f"{gaps.mean():.2f} (95 % interval" in SELECTION
    assert (
        f"(means of three checkpoints) {np.mean([m.smoothed_gap for m in made]):.2f}" in SELECTION
    )


def test_early_stopping_is_what_the_results_say(found):
    printed = {}
    for regime in ("clean", "noise", "small", "imbalance"):
        for line in stopping.stopping_table(found[regime], regime).splitlines()[2:]:
            name, _, saved, lost, *_ = re.split(" {2,}", line.strip())
            printed.setdefault(name, []).extend([saved, lost])
    quoted = cells(SELECTION, "| stopped by |")
    assert len(quoted) == 6
    assert {name: figures for name, *figures in quoted}.items() <= printed.items()
