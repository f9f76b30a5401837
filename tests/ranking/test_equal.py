"""Candidates that compute the same are measured once and listed together."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn
from toy import TRAINING, make_task, without_seconds

from prescreen.ranking.executors import Here, Processes
from prescreen.ranking.opened import open_run
from prescreen.ranking.run import rank
from prescreen.spaces.candidate import Candidate


class Net(nn.Module):
    """A layer in use, and others that compute nothing."""

    def __init__(self, width, dead=()):
        super().__init__()
        self.dead = nn.ModuleList(nn.Linear(16, one) for one in dead)
        self.first, self.last = nn.Linear(16, width), nn.Linear(width, 3)

    def forward(self, x):
        zero = sum(0 * layer(x.flatten(1)).sum() for layer in self.dead)
        return self.last(self.first(x.flatten(1)).relu()) + zero


def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 3))


def large():
    return Net(4, dead=(50, 20))


def small():
    return Net(4, dead=(5,))


def identity():
    return nn.Sequential(nn.Identity(), plain())


def other():
    return Net(8)


def broken():
    raise RuntimeError("no such layer")


def suicidal():
    os.kill(os.getpid(), signal.SIGKILL)


CANDIDATES = {
    "large": large,
    "small": small,
    "other": other,
    "identity": identity,
    "plain": plain,
    "broken": broken,
}
SAME = {"large", "small", "identity", "plain"}


def ranked(candidates=CANDIDATES, **more):
    settings = {"readings": 2, "merge": True, **more}
    return rank(candidates, make_task(), training=TRAINING, **settings)


def test_one_of_those_that_compute_the_same_is_measured():
    steps = []
    ranking = ranked(progress=steps.append)
    assert {step.name for step in steps} == {"other", "identity", "broken"}
    assert (steps[-1].finished, steps[-1].share) == (6, 1.0)
    rows = {row.name: row for row in ranking}
    assert {*rows} == {*CANDIDATES}
    measured = rows["identity"]  # the first of the fewest parameters
    assert (measured.measured_as, measured.also) == ("", ("large", "small", "plain"))
    for name in SAME - {"identity"}:
        row = rows[name]
        assert (row.measured_as, row.also, row.seconds) == ("identity", (), 0.0)
        assert (row.rank, row.score, row.values) == (measured.rank, measured.score, measured.values)
    assert rows["large"].parameters > rows["small"].parameters > measured.parameters
    assert {rows["identity"].rank, rows["other"].rank} == {1, 2}
    assert rows["broken"].status == "build"
    at = [row.name for row in ranking].index("identity")
    assert [row.name for row in ranking][at : at + 4] == ["identity", "large", "small", "plain"]


def test_measurements_are_those_of_the_one_alone():
    alone = ranked({"identity": identity, "other": other}, merge=False)
    together = ranked()
    for row in alone:
        same = next(one for one in together if one.name == row.name)
        assert same.values == row.values
        assert same.score == row.score


def test_without_it_all_are_measured():
    ranking = ranked(merge=False)
    assert not any(row.measured_as or row.also for row in ranking)
    assert sorted(row.rank or 0 for row in ranking) == [0, 1, 2, 3, 4, 5]


def test_what_is_shown_names_all():
    ranking = ranked()
    text = str(ranking)
    assert "identity, also: large, small, plain" in text
    assert "3 candidates compute the same as another one" in text
    rows = {row["name"]: row for row in json.loads(ranking.to_json())["rows"]}
    assert rows["identity"]["also"] == ["large", "small", "plain"]
    assert rows["plain"]["measured_as"] == "identity"
    head, *lines = ranking.to_csv().splitlines()
    assert "measured_as" in head
    assert "also" not in head
    assert len(lines) == 6
    table = ranking.to_pandas()
    assert (table["measured_as"] == "identity").sum() == 3
    assert "also: large" in ranking._repr_html_()
    explained = ranking.explain("plain")
    assert explained.measured_as == "identity"
    assert str(explained).startswith("plain computes the same as identity, which was measured.\n")
    assert explained.rank == ranking.explain("identity").rank
    assert json.loads(explained.to_json())["measured_as"] == "identity"


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_opens_and_continues(tmp_path, seeds):
    first = ranked({"large": large, "other": other}, out=tmp_path)
    steps = []
    ranking = ranked(out=tmp_path, seeds=seeds, progress=steps.append)
    # What was measured stands, though others are smaller.
    names = {step.name for step in steps}
    assert names & SAME <= {"large (seed +1)"}
    assert {row.measured_as for row in ranking} == {"", "large"}
    opened = open_run(tmp_path)
    assert without_seconds(opened.ranking) == without_seconds(ranking)
    assert opened.unfinished == ()
    assert {*opened.trajectories} == {*CANDIDATES}
    assert opened.codes["plain"]
    before = next(row for row in first if row.name == "large")
    assert seeds > 1 or next(row for row in ranking if row.name == "plain").values == before.values
    steps.clear()
    again = ranked(out=tmp_path, seeds=seeds, progress=steps.append)
    assert {step.name.split()[0] for step in steps} == {"broken"}
    assert without_seconds(again) == without_seconds(ranking)


def test_forms_are_not_looked_for_again(tmp_path):
    ranked(out=tmp_path)
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    forms = [json.loads(line) for line in lines if b'"event": "form"' in line]
    assert len(forms) == 6
    assert len({one["digest"] for one in forms}) == 3
    assert [one["reason"] for one in forms if not one["digest"]] == ["RuntimeError: no such layer"]
    ranked(out=tmp_path)
    again = (tmp_path / "journal.jsonl").read_bytes().splitlines()
    assert sum(b'"event": "form"' in line for line in again) == 6


def test_those_left_alone_can_be_measured_later(tmp_path):
    ranked(out=tmp_path)
    steps = []
    ranking = ranked(out=tmp_path, merge=False, progress=steps.append)
    assert {step.name for step in steps} == {"large", "small", "plain", "broken"}
    assert not any(row.measured_as for row in ranking)
    assert not any(row.measured_as for row in open_run(tmp_path).ranking)


def test_other_processes_find_the_same_and_may_die():
    candidates = {**CANDIDATES, "suicidal": suicidal}
    del candidates["broken"]
    ranking = ranked(candidates, on=Processes(2))
    here = ranked({name: one for name, one in candidates.items() if name != "suicidal"}, on=Here())
    last = ranking.rows[-1]
    assert (last.name, last.status) == ("suicidal", "killed")
    assert without_seconds(replace(ranking, rows=ranking.rows[:-1])) == without_seconds(here)


def test_a_failure_is_that_of_all():
    def dead():
        model = plain()
        with torch.no_grad():
            model[1].weight.mul_(1e38)
        return model

    ranking = ranked({"one": dead, "two": dead, "other": other})
    failed = [row for row in ranking if row.rank is None]
    assert {row.name for row in failed} == {"one", "two"}
    assert len({(row.status, row.reason) for row in failed}) == 1
    assert "one, also: two" in str(ranking)


def test_one_with_too_many_parameters_is_measured_by_itself():
    ranking = ranked(max_params=500)
    rows = {row.name: row for row in ranking}
    assert (rows["large"].status, rows["large"].measured_as) == ("limit", "")
    assert rows["small"].measured_as == "identity"


def test_a_hang_ends_with_the_timeout():
    ranking = ranked({"slow": Endless(), "other": other, "plain": plain}, timeout=1.0)
    assert {row.name: row.status for row in ranking}["slow"] == "timeout"


class Endless:
    def __call__(self):
        while True:
            pass


def test_networks_measured_untrained_must_be_the_same_too():
    wide = Candidate("wide", {"w": 1}, plain, lambda: Net(32))
    narrow = Candidate("narrow", {"w": 2}, plain, lambda: Net(16))
    again = Candidate("again", {"w": 3}, identity, lambda: Net(16, dead=(2,)))
    ranking = ranked([wide, narrow, again])
    assert {row.name: row.measured_as for row in ranking} == {
        "wide": "",
        "narrow": "",
        "again": "narrow",
    }


def test_what_halving_ends_is_ended_for_all(tmp_path):
    wide = {"wide": lambda: Net(12), "wider": lambda: Net(16), "widest": lambda: Net(20)}
    candidates = {"large": large, "plain": plain, "other": other, **wide}
    together = ranked(candidates, halving=True, readings=8, out=tmp_path)
    # Of those that were measured, the order is that without the others.
    alone = {name: one for name, one in candidates.items() if name != "large"}
    measured = [row for row in together if not row.measured_as]
    expected = ranked(alone, halving=True, readings=8, merge=False)
    assert [(row.name, row.rank, row.status) for row in measured] == [
        (row.name, row.rank, row.status) for row in expected
    ]
    rows = {row.name: row for row in together}
    for field in ("rank", "status", "reason", "values"):
        assert repr(getattr(rows["large"], field)) == repr(getattr(rows["plain"], field))
    assert rows["large"].measured_as == "plain"
    assert any(row.status == "halved" for row in together)
    assert without_seconds(open_run(tmp_path).ranking) == without_seconds(together)
    again = ranked(candidates, halving=True, readings=8, out=tmp_path)
    assert without_seconds(again) == without_seconds(together)
