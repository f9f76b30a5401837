"""Rankings over several seeds, their intervals, and readouts that compare candidates."""

import csv
import io
import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from toy import BAD, GOOD, TRAINING, broken, make_task, mlp, without_seconds
from toy_networks import network
from toy_tasks import TASKS

from prescreen import Candidate
from prescreen.lines import content_of, line_of
from prescreen.ranking.run import rank

PANEL = ["sample_gradient", "rankme"]


def ranked(candidates=GOOD, **changes):
    return rank(candidates, make_task(), **{"training": TRAINING, "readouts": PANEL, **changes})


def test_a_score_is_the_mean_over_seeds():
    together = ranked(seeds=3)
    alone = [ranked(training=replace(TRAINING, seed=seed)) for seed in range(3)]
    for row in together:
        own = [next(one for one in ranking if one.name == row.name) for ranking in alone]
        assert row.score == pytest.approx(np.mean([one.score for one in own]))
        for name in PANEL:
            assert row.values[name] == pytest.approx(np.mean([one.values[name] for one in own]))
        assert row.trajectory.last == replace(
            own[0].trajectory.last, seconds=row.trajectory.last.seconds
        )
        assert row.score_low <= row.score <= row.score_high
    assert together.seeds == 3
    assert "over 3 seeds and samples of the probe (sample_gradient, rankme)" in together.notes[0]


def test_one_seed_is_what_it_was_and_more_are_added_to_the_same_folder(tmp_path):
    seen = []
    one = ranked(out=tmp_path, progress=seen.append)
    assert {(p.name, p.candidates) for p in seen} == {(name, 3) for name in GOOD}
    seen.clear()
    three = ranked(out=tmp_path, seeds=3, progress=seen.append)
    assert {p.name for p in seen} == {f"{name} (seed +{n})" for name in GOOD for n in (1, 2)}
    assert (seen[-1].finished, seen[-1].candidates, seen[-1].share) == (9, 9, 1.0)
    assert without_seconds(three) == without_seconds(ranked(seeds=3))
    seen.clear()
    again = ranked(out=tmp_path, progress=seen.append)
    assert seen == []
    assert repr(again) == repr(one)


def test_a_candidate_that_fails_with_one_seed_has_failed(tmp_path):
    built = []

    def unlucky():
        built.append(1)
        if len(built) == 2:
            raise RuntimeError("not this time")
        return mlp(4)

    ranking = ranked({**GOOD, "unlucky": unlucky}, seeds=3)
    assert len(built) == 3
    row = ranking.rows[-1]
    assert (row.name, row.status, row.rank) == ("unlucky", "build", None)
    assert row.reason == "RuntimeError: not this time (with seed +1)"


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_any_number_of_candidates_and_only_equal_ones(count, seeds):
    same = [Candidate(f"c{n}", {}, GOOD["small"]) for n in range(count)]
    ranking = ranked([*same, Candidate("broken", {}, broken)], seeds=seeds)
    assert len(ranking) == count + 1
    assert [row.tied for row in ranking] == [False, *[True] * (count - 1), False][-count - 1 :]
    assert str(ranking).count("=  not told") == (count > 1)
    if count > 1:
        assert "No number of " in ranking.notes[-1]
    else:
        assert ranking.notes == ()
    assert json.loads(ranking.to_json())["notes"] == [*ranking.notes]


def test_machines_get_intervals_and_ties():
    ranking = ranked({**GOOD, "copy": GOOD["large"], "broken": broken})
    rows = json.loads(ranking.to_json())["rows"]
    table = list(csv.DictReader(io.StringIO(ranking.to_csv())))
    for row, data, line in zip(ranking, rows, table, strict=True):
        assert data["tied"] is row.tied
        assert line["tied"] == str(row.tied)
        if row.rank is None:
            assert data["score_low"] is data["score_high"] is None
        else:
            assert 0 <= data["score_low"] <= data["score"] <= data["score_high"] <= 1
            assert float(line["score_low"]) == row.score_low
    tied = {row.name: row.tied for row in ranking}
    assert tied["copy"] == tied["large"] or ranking.best.name in ("copy", "large")


@pytest.mark.parametrize("kind", ["images", "tokens", "masked tokens", "regression", "multilabel"])
def test_every_kind_of_task_has_intervals(kind):
    task = TASKS[kind](0)
    candidates = {f"w{width}": partial(network(kind), width) for width in (2, 8, 16)}
    ranking = rank(candidates, task, training=TRAINING, readouts=PANEL)
    assert all(row.score_low <= row.score <= row.score_high for row in ranking)
    assert set(ranking.best.trajectory.last.replicates) == set(PANEL)
    assert all(not reading.replicates for reading in ranking.best.trajectory.readings[:-1])


def test_a_committee_ranks_and_failed_candidates_do_not_count_in_it(tmp_path):
    panel = ["committee/agreement", "entropy"]
    good = ranked(readouts=panel)
    both = ranked({**BAD, **GOOD}, readouts=panel, out=tmp_path)
    scores = [(row.name, row.score, row.values) for row in good]
    assert [(row.name, row.score, row.values) for row in both][:3] == scores
    assert all(0 < row.values["committee/agreement"] < 1 for row in good)
    again = ranked({**BAD, **GOOD}, readouts=panel, out=tmp_path)
    assert without_seconds(again)[:500] == without_seconds(both)[:500]
    alone = ranked({"tiny": GOOD["tiny"]}, readouts=panel)
    assert alone.left_out == ("committee/agreement",)
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    readings = [one["reading"] for one in map(json.loads, lines) if "reading" in one]
    assert sum("predictions" in one for one in readings) == 3 + 1  # at the end, collapsed ones too
    assert not any(math.isnan(row.values["entropy"]) for row in good)


def test_readings_of_earlier_versions_have_no_intervals(tmp_path):
    """Without their replicates the order is the same, and says why it has no intervals."""
    whole = ranked(out=tmp_path)
    path = tmp_path / "journal.jsonl"
    first, *lines = path.read_bytes().splitlines()
    events = [content_of(line, checked=True) for line in lines]
    for event in events[: len(events) // 2]:
        event.get("reading", {}).pop("replicates", None)
    path.write_bytes(first + b"\n" + b"".join(map(line_of, events)))
    ranking = ranked(out=tmp_path)
    assert [(row.name, row.score) for row in ranking] == [(row.name, row.score) for row in whole]
    assert ranking.notes == ("No intervals: some candidates were measured by an earlier version.",)
    assert "±" not in str(ranking).splitlines()[0]


@pytest.mark.parametrize("seeds", [0, -1, 1.5, True])
def test_seeds_are_checked(seeds):
    with pytest.raises(ValueError, match=r"^`seeds` must be (at least 1|an integer), got "):
        ranked(seeds=seeds)
