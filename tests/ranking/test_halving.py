import json
import math
import os
import random
import signal
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from forked import Died, call
from torch import nn
from toy import BAD, PYTHONPATH, TRAINING, broken, make_task, mlp, suicidal, without_seconds

from prescreen.ranking import Halving, Processes, open_run
from prescreen.ranking.run import rank
from prescreen.readouts import READOUTS
from prescreen.report import collect, write_report

PANEL = ["confidence"]
STEPS = TRAINING.steps  # 8: a reading at each
HALVING = Halving({1 / 8: 1 / 2, 1 / 2: 1 / 4})


class Restless(nn.Module):
    """Draws from all generators that a network might use."""

    def forward(self, x):
        drawn = torch.rand(()) if self.training else 0.5  # what reads it has a state of its own
        return x + 0.01 * (random.random() + np.random.rand() + drawn)


def restless(width):
    return nn.Sequential(Restless(), nn.Dropout(0.2), mlp(width))


class Unkept(nn.Module):
    """Has a state that cannot be written."""

    def forward(self, x):
        return x

    def get_extra_state(self):
        return lambda: None

    def set_extra_state(self, state):
        raise AssertionError("a state that cannot be written was read")


def unkept(width):
    return nn.Sequential(Unkept(), restless(width))


def normed(width):
    return nn.Sequential(nn.BatchNorm2d(1), mlp(width))


MANY = {
    **{f"mlp {width}": partial(mlp, width) for width in (2, 3, 5, 32)},
    **{f"restless {width}": partial(restless, width) for width in (4, 16)},
    **{f"normed {width}": partial(normed, width) for width in (8, 64)},
}


def ranked(candidates=MANY, halving=HALVING, **changes):
    given = {"training": TRAINING, "readouts": PANEL, "readings": 8, **changes}
    return rank(candidates, make_task(), halving=halving, **given)


@cache
def whole():
    return ranked(halving=False)


@cache
def halved():
    return ranked()


def curve(row):
    return [(one.step, one.values, one.training_loss) for one in row.trajectory]


def expected(wholes, rungs, least=1):
    """Names in their order, each with the step at which it ended, from trajectories alone.

    Args:
        wholes: rankings without halving, one a seed.
        rungs: share of the budget to share of the candidates.
        least: how many go on.
    """

    def ordered(live, step):
        won = dict.fromkeys(live, 0)
        for whole in wholes:
            value = {row.name: curve(row)[step - 1][1][PANEL[0]] for row in whole}
            score = {name: READOUTS[PANEL[0]].score(value[name]) for name in live}
            for name in live:
                won[name] += sum(score[name] > other for other in score.values())
        return sorted(live, key=won.get, reverse=True)

    live, ended = [*MANY], []
    for share, kept in rungs.items():
        step = round(share * STEPS)
        first = ordered(live, step)
        going_on = max(least, math.ceil(kept * len(MANY)))
        ended = [(name, step) for name in first[going_on:]] + ended
        live = [name for name in MANY if name in first[:going_on]]
    return [(name, STEPS) for name in ordered(live, STEPS)] + ended


@pytest.mark.parametrize(
    ("rungs", "least"), [(HALVING.rungs, 1), ({1 / 4: 1 / 4}, 1), ({1 / 8: 0.1, 1 / 2: 0.1}, 3)]
)
def test_the_better_ones_go_on_and_their_trainings_are_those_without_halving(rungs, least):
    ranking = ranked(halving=Halving(rungs, least))
    assert [(row.name, row.step) for row in ranking] == expected([whole()], rungs, least)
    assert [row.rank for row in ranking] == [*range(1, len(MANY) + 1)]
    curves = {row.name: curve(row) for row in whole()}
    for row in ranking:
        assert curve(row) == curves[row.name][: row.step]
        assert (row.status == "ok") == (row.step == STEPS)
        assert math.isnan(row.score) == (row.status == "halved")
        assert row.values == row.trajectory.last.values


def test_a_row_says_where_its_candidate_was_ended():
    ranking = halved()
    ended = [row for row in ranking if row.status == "halved"]
    assert [row.reason for row in ended] == [
        *(f"ended at step 4 of 8: {place} of 4 there" for place in ("3rd", "4th")),
        *(f"ended at step 1 of 8: {place}th of 8 there" for place in (5, 6, 7, 8)),
    ]
    assert ranking.notes[-1].startswith("Halving ended 4 at step 1, 2 at step 4: below the others")
    assert "nan" not in str(ranking)
    assert all(row.name in str(ranking) for row in ranking)
    rows = json.loads(ranking.to_json())["rows"]
    assert [row["status"] for row in rows] == ["ok"] * 2 + ["halved"] * 6
    assert (rows[-1]["score"], rows[-1]["rank"]) == (None, 8)


def test_explanations_and_reports_tell_who_was_ended(tmp_path):
    ranking = halved()
    name = ranking.rows[4].name
    assert str(ranking.explain(name)) == (
        f"{name} is 5th of 8, as halving ended it: ended at step 1 of 8: 5th of 8 there"
    )
    assert "is 1st of 2: score" in str(ranking.explain(ranking.best.name))
    entries = collect(ranking).entries
    assert [one.status for one in entries] == ["ok"] * 2 + ["pruned"] * 6
    assert [len(one.trajectory) for one in entries] == [row.step for row in ranking]
    write_report(ranking, tmp_path / "report.html")
    assert ranking.rows[-1].name in (tmp_path / "report.html").read_text()


def test_by_default_a_third_of_the_steps_is_taken():
    candidates = {f"mlp {width}": partial(mlp, width) for width in range(2, 18)}
    ranking = rank(candidates, make_task(), training=TRAINING, halving=True)
    assert [sum(row.step == step for row in ranking) for step in (2, 4, 8)] == [13, 2, 1]
    assert sum(row.step for row in ranking) / (len(ranking) * STEPS) < 1 / 3


@pytest.mark.parametrize(
    ("on", "seeds"), [(Processes(2), 1), pytest.param(Processes(1), 2, marks=pytest.mark.slow)]
)
def test_processes_change_nothing_and_may_die(on, seeds):
    candidates = {**MANY, "broken": broken, "unkept": partial(unkept, 16)}
    alone = ranked(candidates, seeds=seeds)
    together = ranked({**candidates, "suicidal": suicidal}, seeds=seeds, on=on)
    assert together.rows[-1].status == "killed"
    assert without_seconds(alone) == without_seconds(together.rows[:-1])


def test_what_cannot_be_kept_is_measured_again_from_the_start():
    candidates = {**MANY, **{f"unkept {width}": partial(unkept, width) for width in (4, 16)}}
    same = {**MANY, **{f"unkept {width}": partial(restless, width) for width in (4, 16)}}
    assert without_seconds(ranked(candidates)) == without_seconds(ranked(same))


def test_failures_at_any_rung_are_failures():
    ranking = ranked({**MANY, **BAD})
    failed = {row.name: row.status for row in ranking if row.rank is None}
    assert failed == {
        "broken": "build",
        "greedy": "memory",
        "explosive": "diverged",
        # The others are ended before they could fail.
        **({"constant": "collapsed"} if "constant" in failed else {}),
    }
    assert [row.rank for row in ranking][-len(failed) :] == [None] * len(failed)


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 9, 12, 20])
def test_a_run_that_is_interrupted_anywhere_ends_as_if_it_had_not_been(tmp_path, after):
    events = 0

    def stop(progress):
        nonlocal events
        events += 1
        if events == after:
            raise Stop

    with pytest.raises(Stop):
        ranked(out=tmp_path / "cut", progress=stop)
    assert without_seconds(ranked(out=tmp_path / "cut")) == without_seconds(halved())
    assert not (tmp_path / "cut" / "paused").exists()


def _killed(out, after):
    def stop(progress):
        nonlocal after
        after -= 1
        if not after:
            os.kill(os.getpid(), signal.SIGKILL)

    ranked(out=out, progress=stop)


@pytest.mark.parametrize("lost", [False, True])
def test_a_killed_run_goes_on_with_its_states_and_without(tmp_path, lost):
    with pytest.raises(Died):
        call(_killed, tmp_path / "run", 30)
    kept = [*(tmp_path / "run" / "paused").iterdir()]
    assert kept
    for number, path in enumerate(kept if lost else ()):
        path.write_bytes(path.read_bytes()[: -1 if number % 2 else 0])
    again = ranked(out=tmp_path / "run")
    assert without_seconds(again) == without_seconds(halved())
    opened = open_run(tmp_path / "run")
    assert without_seconds(opened.ranking) == without_seconds(halved())
    assert opened.unfinished == ()


def test_states_are_in_the_run_s_folder_only_until_the_end(tmp_path):
    seen = []
    ranked(out=tmp_path, progress=lambda _: seen.append([*(tmp_path / "paused").glob("*")]))
    assert 0 < max(map(len, seen)) <= 8
    assert not (tmp_path / "paused").exists()


def test_with_several_seeds_the_mean_decides(tmp_path):
    wholes = [whole(), ranked(halving=False, training=replace(TRAINING, seed=1))]
    ranking = ranked(seeds=2, out=tmp_path)
    assert [(row.name, row.step) for row in ranking] == expected(wholes, HALVING.rungs)
    assert without_seconds(open_run(tmp_path).ranking) == without_seconds(ranking)


def test_a_run_of_all_can_go_on_with_halving_and_the_other_way_round(tmp_path, caplog):
    ranked(out=tmp_path)
    assert without_seconds(ranked(halving=False, out=tmp_path)) == without_seconds(whole())
    assert "2 of 8 candidates were measured before" in caplog.text
    assert ", 6 more had been ended by halving; --fresh" in caplog.text
    assert without_seconds(ranked(out=tmp_path)) == without_seconds(whole())  # all that is known


def test_more_candidates_are_compared_with_the_earlier_ones(tmp_path):
    few = dict([*MANY.items()][2:6])
    first, more = ranked(few, out=tmp_path), ranked(out=tmp_path)
    rankings = (first, halved(), more)
    good = [{row.name for row in ranking if row.status == "ok"} for ranking in rankings]
    assert good[2] == good[0] | good[1]  # what has been measured to the end is ranked as such
    curves = {row.name: curve(row) for row in halved()}
    assert all(curve(row)[: len(curves[row.name])] == curves[row.name] for row in more)


def test_time_budget_leaves_the_rest_to_the_same_command(tmp_path):
    first = ranked(out=tmp_path, time_budget=1e-6)
    assert first.notes[-1].startswith("8 of 8 candidates are left, as the time budget is over")
    for _ in range(40):
        ranking = ranked(out=tmp_path, time_budget=1e-6)
        if not any("are left" in note for note in ranking.notes):
            break
    assert without_seconds(ranking) == without_seconds(halved())


@pytest.mark.parametrize("seeds", [1, 2])
def test_progress_counts_what_is_to_come(seeds):
    seen = []
    ranked(progress=seen.append, seeds=seeds)
    shares = [one.share for one in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert shares.count(1.0) <= 3
    assert (seen[-1].finished, seen[-1].candidates) == (8 * seeds, 8 * seeds)


def test_readouts_that_need_the_others_are_compared_at_the_rungs():
    ranking = ranked(readouts=["committee/agreement", "confidence"])
    assert [row.status for row in ranking].count("halved") == 6
    assert all(
        not math.isnan(row.values["committee/agreement"]) for row in ranking if row.status == "ok"
    )


def test_own_measurements_and_what_is_logged():
    logged = []
    extra = {"size": lambda model: float(torch.rand(()))}
    every = ranked(halving=False, extra=extra)
    ranking = ranked(extra=extra, log=lambda values, step, name: logged.append((name, step)))
    curves = {row.name: curve(row) for row in every}
    assert all(curve(row) == curves[row.name][: row.step] for row in ranking)
    assert len(logged) == sum(row.step for row in ranking) + len(MANY)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Halving({0.5: 0.5, 0.25: 0.25}), "`rungs` must map rising shares of the budget"),
        (lambda: Halving({0.25: 0.25, 0.5: 0.5}), "`rungs` must map rising shares of the budget"),
        (lambda: Halving({}), "`rungs` must map rising shares of the budget"),
        (lambda: Halving({0.5: 1.5}), "`rungs` must map rising shares of the budget"),
        (lambda: Halving(least=0), "`least` must be at least 1, got 0"),
        (lambda: ranked(halving=2), "`halving` must be a Halving, got int"),
        (lambda: ranked(halving=True, readings=5), "`readings` must be at the rungs of halving"),
    ],
)
def test_what_is_not_allowed_is_said_in_a_line(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


class Fragile(nn.Module):
    """Kills its process once, in training, after it has paused."""

    def __init__(self, file):
        super().__init__()
        self.file, self.steps = file, 0

    def forward(self, x):
        self.steps += self.training
        if self.steps == 2 and self.file.exists():
            self.file.unlink()
            os.kill(os.getpid(), signal.SIGTERM)
        return x


def fragile(file, width):
    return nn.Sequential(Fragile(file), restless(width))


@pytest.mark.slow
@pytest.mark.parametrize("on", ["processes,workers=2", "ray,address=local,workers=2"])
def test_a_candidate_whose_worker_is_lost_goes_on_from_its_state(monkeypatch, tmp_path, on):
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    file = tmp_path / "once"
    candidates = {**MANY, "fragile": partial(fragile, file, 64)}
    whole = ranked(candidates, out=tmp_path / "whole")
    file.touch()
    again = ranked(candidates, on=on, out=tmp_path / "run")
    assert not file.exists()
    assert without_seconds(again) == without_seconds(whole)
