import csv
import io
import json
import math
import os
import re
import signal
from dataclasses import replace

import pytest
import torch
from forked import Died, call
from toy import BAD, GOOD, TRAINING, batches, broken, make_task, mlp, suicidal, without_seconds

from prescreen.panel import DEFAULT_PANEL
from prescreen.ranking.executors import Processes
from prescreen.ranking.run import rank
from prescreen.readouts import READOUTS
from prescreen.spaces.candidate import Candidate


def test_candidates_are_ordered_by_the_mean_of_their_ranks():
    panel = ["confidence", "entropy", "margin"]
    ranking = rank(GOOD, make_task(), training=TRAINING, readouts=panel)
    assert [row.rank for row in ranking] == [1, 2, 3]
    assert sorted(row.name for row in ranking) == sorted(GOOD)
    expected = {row.name: 0.0 for row in ranking}
    for name in panel:
        by_score = sorted(ranking, key=lambda row: READOUTS[name].score(row.values[name]))
        for place, row in enumerate(by_score):
            expected[row.name] += place / 2 / len(panel)
    assert {row.name: row.score for row in ranking} == pytest.approx(expected)
    assert ranking.best is ranking.rows[0]
    assert all([reading.step for reading in row.trajectory] == [2, 4, 6, 8] for row in ranking)
    assert all(row.trajectory.last.values == row.values for row in ranking)
    assert all(row.step == 8 and row.parameters > 0 and row.seconds > 0 for row in ranking)


def test_failures_are_rows_with_a_reason_and_come_last():
    ranking = rank({**BAD, **GOOD}, make_task(), training=TRAINING)
    assert {row.name for row in ranking.rows[:3]} == set(GOOD)
    failed = {row.name: (row.status, row.reason) for row in ranking.rows[3:]}
    assert failed["broken"] == ("build", "RuntimeError: no such layer")
    assert failed["greedy"] == ("memory", "MemoryError: can't allocate memory")
    assert failed["explosive"][0] == "diverged"
    assert failed["constant"][0] == "collapsed"
    assert re.fullmatch(r"predicts class \d for the whole probe batch", failed["constant"][1])
    assert all(row.rank is None and math.isnan(row.score) for row in ranking.rows[3:])
    only_bad = rank(BAD, make_task(), training=TRAINING)
    with pytest.raises(
        ValueError, match=r"^the ranking must have a candidate that did not fail, got none$"
    ):
        _ = only_bad.best


def test_worker_processes_change_nothing():
    alone = rank({**GOOD, **BAD}, make_task(), training=TRAINING)
    together = rank({**GOOD, **BAD}, make_task(), training=TRAINING, on="processes,workers=2")
    assert without_seconds(alone) == without_seconds(together)


def test_the_death_of_a_worker_is_a_row_and_the_others_go_on():
    ranking = rank({"suicidal": suicidal, **GOOD}, make_task(), training=TRAINING, on=Processes(1))
    assert {row.name for row in ranking.rows[:3]} == set(GOOD)
    assert ranking.rows[3].status == "killed"
    assert "SIGKILL, out of memory?" in ranking.rows[3].reason


def test_a_run_continues_without_repeating_what_is_finished(tmp_path):
    whole = rank({**GOOD, **BAD}, make_task(), training=TRAINING, out=tmp_path / "whole")
    built = []

    class Stop(Exception):
        pass

    def stop(progress):
        built.append(progress.name)
        if progress.finished == 2:
            raise Stop

    candidates = [Candidate(name, {}, build) for name, build in {**GOOD, **BAD}.items()]
    with pytest.raises(Stop):
        rank(candidates, make_task(), training=TRAINING, out=tmp_path / "cut", progress=stop)
    assert set(built) == {"tiny", "small"}
    built.clear()
    again = rank(
        candidates,
        make_task(),
        training=TRAINING,
        out=tmp_path / "cut",
        progress=lambda progress: built.append(progress.name),
    )
    assert not set(built) & {"tiny", "small"}
    assert without_seconds(again) == without_seconds(whole)
    built.clear()
    rank(
        candidates,
        make_task(),
        training=TRAINING,
        out=tmp_path / "cut",
        progress=lambda progress: built.append(progress.name),
    )
    assert set(built) == {"broken"}  # what could not be built is tried again


def unruly(model):
    assert not model.training
    model.train()
    model(torch.randn(3, 1, 4, 4))
    torch.manual_seed(0)
    return model[1].weight.abs().sum()


def test_custom_measurements_join_the_readouts_and_change_nothing(tmp_path):
    plain = rank(GOOD, make_task(), training=TRAINING)
    extra = {"size": unruly}
    more = rank(GOOD, make_task(), training=TRAINING, extra=extra, on=Processes(1), out=tmp_path)
    assert [(row.name, row.score) for row in more] == [(row.name, row.score) for row in plain]
    for row, without in zip(more, plain, strict=True):
        assert row.values["size"] > 0
        assert {**row.values, "size": 0} == {**without.values, "size": 0}
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    readings = [event["reading"] for event in map(json.loads, lines) if event.get("reading")]
    assert len(readings) == 12
    assert all(reading["values"]["size"] > 0 for reading in readings)
    with pytest.raises(ValueError, match="`extra` must have names that no readout has, got ahead"):
        rank(GOOD, make_task(), training=TRAINING, extra={DEFAULT_PANEL[0]: unruly})


def test_progress_ends_at_one():
    seen = []
    rank({**GOOD, "broken": broken}, make_task(), training=TRAINING, progress=seen.append)
    assert [p.share for p in seen] == sorted(p.share for p in seen)
    assert seen[-1].share == 1.0
    assert (seen[-1].finished, seen[-1].candidates) == (4, 4)


def test_results_for_machines(tmp_path):
    ranking = rank({**GOOD, "broken": broken}, make_task(), training=TRAINING, out=tmp_path / "run")
    data = json.loads(ranking.to_json())
    assert [row["name"] for row in data["rows"]] == [row.name for row in ranking]
    assert data["rows"][-1]["score"] is None
    table = list(csv.DictReader(io.StringIO(ranking.to_csv())))
    assert [row["name"] for row in table] == [row.name for row in ranking]
    for name in DEFAULT_PANEL:
        assert float(table[0][name]) == ranking.best.values[name]
    assert (tmp_path / "run" / "ranking.json").read_text() == ranking.to_json()
    assert (tmp_path / "run" / "ranking.csv").read_text() == ranking.to_csv()
    assert "build: RuntimeError: no such layer" in str(ranking)


def test_other_data_or_settings_do_not_mix_in_one_folder(tmp_path):
    rank(GOOD, make_task(), training=TRAINING, out=tmp_path)
    before = (tmp_path / "journal.jsonl").read_bytes()
    other_probe = replace(make_task(), probe=next(batches(32, 2))[0])
    for task, changes, word in (
        (other_probe, {}, "task"),
        (make_task(), {"training": replace(TRAINING, steps=9)}, "steps 8 instead of 9"),
        (make_task(), {"readouts": ["entropy"]}, "readouts"),
    ):
        with pytest.raises(
            ValueError, match=f"^`out` must be a folder of the same settings, got .*{word}"
        ):
            rank(GOOD, task, **{"training": TRAINING, "out": tmp_path, **changes})
    assert (tmp_path / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"on": "processes,workers=0"}, "`workers` must be at least 1, got 0"),
        (
            {"on": "processes,workers=many"},
            "`on` must be processes with workers=... and gpus=..., got 'workers=many'",
        ),
        ({"on": "here,workers=2"}, "`on` must be here without arguments, got 'workers=2'"),
        ({"on": "moon"}, "`on` must be one of here, processes, ray, got 'moon'"),
        ({"threads": 0}, "`threads` must be at least 1, got 0"),
        ({"readings": 0}, "`readings` must be at least 1, got 0"),
        ({"readouts": []}, "`readouts` must be distinct names"),
        ({"readouts": ["entropy", "entropy"]}, "`readouts` must be distinct names"),
        ({"readouts": "entropy"}, "`readouts` must be a sequence of names"),
        ({"readouts": {"mine": len}}, "`readouts` must map names to Readouts, got builtin_f"),
        ({"readouts": ["entropie"]}, "`readouts` must be entropy .* got 'entropie'"),
        ({"samples": 3}, "`samples` must be None except for a search space, got 3"),
    ],
)
def test_arguments_are_checked_before_anything_is_trained(changes, message):
    with pytest.raises(ValueError, match=message):
        rank({"suicidal": suicidal}, make_task(), **changes)


def test_unpicklable_candidates_are_refused_before_workers_start():
    with pytest.raises(ValueError, match=r"^the candidate 'local' must be picklable .*, got "):
        rank({"local": lambda: mlp(2)}, make_task(), training=TRAINING, on=Processes(1))


def ranked(out, on, events):
    """Rank, and die after so many events."""
    seen = []

    def die(progress):
        seen.append(progress)
        if len(seen) == events:
            os.kill(os.getpid(), signal.SIGKILL)

    rank({**GOOD, **BAD}, make_task(), training=TRAINING, out=out, on=on, progress=die)
    return len(seen)


@pytest.mark.parametrize(
    "on", ["here", pytest.param("processes,workers=2", marks=pytest.mark.slow)]
)
def test_a_killed_run_is_resumed_until_it_is_done(tmp_path, on):
    """Each run is killed after eleven events, in the middle of the work, until nothing is left.

    What cannot be built is tried again by each: fewer events would not lead on.
    """
    out = tmp_path / "run"
    finished, kills = set(), 0
    journal = out / "journal.jsonl"
    while True:
        try:
            assert call(ranked, out, on, 11) < 11
        except Died as death:
            assert death.exitcode == -signal.SIGKILL  # noqa: PT017
            kills += 1
        else:
            break
        events = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
        ends = [e for e in events if e["event"] in ("finished", "failed")]
        ended = [e["candidate"] for e in ends if e.get("kind") != "build"]  # that is tried again
        assert len(ended) == len(set(ended)), "a finished candidate was measured again"
        assert finished <= set(ended), "a finished candidate was lost"
        finished = set(ended)
    assert kills >= 2
    resumed = rank({**GOOD, **BAD}, make_task(), training=TRAINING, out=out)
    whole = rank({**GOOD, **BAD}, make_task(), training=TRAINING)
    assert without_seconds(resumed) == without_seconds(whole)
