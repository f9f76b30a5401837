"""The order of candidates: mean ranks, ties of architectures, measures that do not count."""

import itertools
import math
import random

import pytest
from scipy.stats import rankdata

from prescreen.ranking.order import order
from prescreen.ranking.replay import Record
from prescreen.reading import Reading, Trajectory
from prescreen.readouts import resolve_readouts
from prescreen.spaces.candidate import Candidate

PANEL = ["entropy", "isotropy", "synflow"]  # lower is better, higher, higher


def ranked(rows, panel=PANEL):
    """The ranking of candidates, each given by its architecture and values."""
    candidates = [Candidate(f"c{i}", {}, lambda: None) for i in range(len(rows))]
    records = {
        candidate.key: Record(
            Trajectory([Reading(1, dict(zip(panel, values, strict=True)), architecture=name)]),
            "finished",
        )
        for candidate, (name, *values) in zip(candidates, rows, strict=True)
    }
    ranking = order(candidates, records, resolve_readouts(panel))
    return ranking, {row.name: row.score for row in ranking}


def scores(columns):
    """Mean ranks from 0 to 1, by scipy; columns are better when higher."""
    count = len(columns[0])
    ranks = [(rankdata(column) - 1) / (count - 1) for column in columns]
    return {f"c{i}": sum(rank[i] for rank in ranks) / len(columns) for i in range(count)}


def test_scores_are_mean_ranks():
    generator = random.Random(0)
    panel = ["entropy", "confidence", "margin"]
    rows = [("", *(generator.random() for _ in panel)) for _ in range(7)]
    expected = scores(
        [[-row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows]]
    )
    assert ranked(rows, panel)[1] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["same", ""])
def test_of_one_architecture_the_trained_head_decides_alone(name):
    """Untrained measures differ by the draw of weights; unknown architectures are distinct."""
    rows = [(name, i / 10, float(i), float(i)) for i in range(9)]
    ranking, _ = ranked(rows)
    best_first = [f"c{i}" for i in range(9)]
    assert [row.name for row in ranking] == best_first if name else best_first[::-1]


def test_architectures_tie_within_and_rank_between():
    rows = [("a", 0.2, 1.0, 5.0), ("a", 0.1, 9.0, 0.0), ("b", 0.3, 2.0, 4.0), ("c", 0.4, 0.5, 6.0)]
    first = {name: next(row for row in rows if row[0] == name) for name in "abc"}
    tied = [(*row[:2], *first[row[0]][2:]) for row in rows]
    assert tied != rows
    assert ranked(rows)[1] == ranked(tied)[1]


def test_what_lowers_the_weight_of_a_readout_is_said():
    alike = [(f"{i} Conv2d", float(i), float(i), float(i)) for i in range(9)]
    unlike = [(f"{i} Kind{i}", -float(i), float(i), float(i)) for i in range(9)]
    plain = [(f"{i} Conv2d", -float(i), float(i), float(i)) for i in range(9)]
    assert "The trained head has 0.00 of its weight" in str(ranked(alike)[0])
    assert "Untrained measures have 0.00 of their weight" in str(ranked(unlike)[0])
    assert not any("weight" in note for note in ranked(plain)[0].notes)


def test_a_measure_undefined_for_one_candidate_does_not_count():
    rows = [("a", 0.1, 1.0, math.nan), ("b", 0.2, 3.0, 9.0), ("c", 0.3, 2.0, 8.0)]
    ranking, found = ranked(rows)
    assert ranking.left_out == ("synflow",)
    assert found == ranked([row[:3] for row in rows], PANEL[:2])[1]


def test_a_head_without_a_value_ranks_last():
    for worst in range(3):
        values = [math.nan if i == worst else float(i) for i in range(3)]
        ranking, _ = ranked([("", value) for value in values], ["entropy"])
        assert ranking.rows[-1].name == f"c{worst}"


def test_equal_scores_keep_the_given_order():
    for rows in itertools.permutations([("a", 0.1), ("b", 0.1), ("c", 0.1)]):
        assert [row.name for row in ranked(rows, ["entropy"])[0]] == ["c0", "c1", "c2"]
