"""The cache across runs: what was measured once is taken over, and nothing else."""

import json
import math
import threading
from dataclasses import replace

import pytest
import torch
from toy import GOOD, TRAINING, large, make_task, mlp, small, tiny, without_seconds

from prescreen.caching import VARIABLE
from prescreen.ranking.opened import open_run
from prescreen.ranking.run import rank


@pytest.fixture
def steps():
    return []


def ranked(candidates=GOOD, cache=False, training=TRAINING, task=None, **more):
    return rank(
        candidates, task or make_task(), training=training, cache=cache, **{"readings": 2, **more}
    )


def names(steps):
    return {step.name for step in steps}


def begun(path):
    """Names of trainings that a run began itself."""
    events = [json.loads(line) for line in (path / "journal.jsonl").read_text().splitlines()[1:]]
    return {
        json.loads(one["candidate"])["name"]
        for one in events
        if one["event"] == "started" and not one.get("cached")
    }


def plain(ranking):
    """What was measured, whoever did."""
    notes = tuple(line for line in ranking.notes if "(cache)" not in line)
    return replace(ranking, rows=tuple(replace(row, cached=False) for row in ranking), notes=notes)


def test_measurements_are_taken_over_bit_for_bit(tmp_path, steps):
    cache = tmp_path / "cache"
    first = ranked(cache=cache, out=tmp_path / "one")
    second = ranked(cache=cache, out=tmp_path / "two", progress=steps.append)
    assert begun(tmp_path / "two") == set()
    assert repr(plain(second).rows) == repr(first.rows)  # seconds as well
    assert [row.trajectory for row in second] == [row.trajectory for row in first]
    assert all(row.cached for row in second)
    assert not any(row.cached for row in first)
    assert "3 of 3 trainings were measured by other runs (cache)." in second.notes
    assert (steps[-1].finished, steps[-1].share) == (3, 1.0)
    # The run's folder is whole without the cache.
    for path in cache.rglob("*.jsonl"):
        path.unlink()
    opened = open_run(tmp_path / "two").ranking
    assert repr(opened.rows) == repr(second.rows)
    assert json.loads(opened.to_json())["rows"][0]["cached"] is True
    assert repr(ranked(cache=cache, out=tmp_path / "two").rows) == repr(second.rows)


def test_only_what_is_new_is_measured(tmp_path):
    ranked({"small": small}, cache=tmp_path / "cache")
    ranking = ranked(cache=tmp_path / "cache", out=tmp_path / "run")
    assert begun(tmp_path / "run") == {"tiny", "large"}
    assert {row.name for row in ranking if row.cached} == {"small"}
    assert without_seconds(plain(ranking)) == without_seconds(ranked())


def test_a_training_is_the_same_whichever_seed_was_the_first(tmp_path):
    cache = tmp_path / "cache"
    both = ranked(cache=cache, seeds=2)
    later = replace(TRAINING, seed=TRAINING.seed + 1)
    alone = ranked(cache=cache, training=later, out=tmp_path / "run")
    assert begun(tmp_path / "run") == set()
    assert without_seconds(plain(alone)) == without_seconds(ranked(training=later))
    assert len(both) == len(alone)


def other_probe():
    task = make_task()
    return replace(task, probe=task.probe + 1)


def wider():
    return mlp(9)


CHANGED = {
    "steps": {"training": replace(TRAINING, steps=7)},
    "rate": {"training": replace(TRAINING, lr=0.01)},
    "seed": {"training": replace(TRAINING, seed=5)},
    "readings": {"readings": 1},
    "readouts": {"readouts": ["entropy"]},
    "threads": {"threads": 2},
    "extra": {"extra": {"norm": lambda model: math.nan}},
    "code": {"candidates": {"tiny": wider}},
    "name": {"candidates": {"another": tiny}},
    "limits": {"max_params": 1e6},
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_is_defined_otherwise_is_measured(tmp_path, name):
    ranked({"tiny": tiny}, cache=tmp_path / "cache")
    changed = {"candidates": {"tiny": tiny}, **CHANGED[name]}
    assert not any(row.cached for row in ranked(cache=tmp_path / "cache", **changed))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: content.replace(b'"step": 8', b'"step": 9'),
        lambda content: content.replace(b"finished", b"finishes"),
        lambda content: b"\x80" + content,
        lambda content: content.splitlines(keepends=True)[0],
        lambda content: b"".join(content.splitlines(keepends=True)[:-1]),
    ],
)
def test_a_damaged_file_is_said_and_measured_again(tmp_path, caplog, damage):
    first = ranked({"tiny": tiny}, cache=tmp_path)
    (path,) = tmp_path.rglob("*.jsonl")
    path.write_bytes(damage(path.read_bytes()))
    again = ranked({"tiny": tiny}, cache=tmp_path)
    assert not again.best.cached
    assert without_seconds(again) == without_seconds(first)
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert ranked({"tiny": tiny}, cache=tmp_path).best.cached


def test_a_file_of_another_measurement_is_none(tmp_path, caplog):
    ranked({"tiny": tiny}, cache=tmp_path)
    (one,) = tmp_path.rglob("*.jsonl")
    content = one.read_bytes()
    one.unlink()
    ranked({"large": large}, cache=tmp_path)
    (other,) = tmp_path.rglob("*.jsonl")
    other.write_bytes(content)
    assert not ranked({"large": large}, cache=tmp_path).best.cached
    assert "another measurement" in caplog.records[0].getMessage()


def test_failures_are_kept_that_would_stand(tmp_path):
    def collapsing():
        model = mlp(4)
        with torch.no_grad():
            model[1].weight.mul_(1e38)
        return model

    def broken():
        raise RuntimeError("no such layer")

    both = {"collapsing": collapsing, "broken": broken, "tiny": tiny}
    ranked(both, cache=tmp_path)
    rows = {row.name: row for row in ranked(both, cache=tmp_path)}
    assert {name: row.cached for name, row in rows.items()} == {
        "collapsing": True,
        "broken": False,
        "tiny": True,
    }
    assert rows["collapsing"].status == "diverged"


def test_runs_may_share_it_at_the_same_time(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(ranked(cache=tmp_path))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({without_seconds(plain(one)) for one in found}) == 1
    assert all(row.cached for row in ranked(cache=tmp_path))
    assert not [*tmp_path.rglob("*.part")]


def test_the_users_own_folder_is_the_one_that_a_variable_names(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    ranked({"tiny": tiny}, cache=True)
    assert ranked({"tiny": tiny}, cache=True).best.cached
    assert [*(tmp_path / "measurements").rglob("*.jsonl")]
    monkeypatch.setenv(VARIABLE, "off")
    assert not ranked({"tiny": tiny}, cache=True).best.cached
    assert "no folder for the cache" in caplog.records[0].getMessage()


def test_what_cannot_be_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match=r"^`cache` must be True, False or a folder, got the file"):
        ranked(cache=file)
    with pytest.raises(ValueError, match=r"^`cache` must be False for a budget of seconds"):
        ranked(cache=tmp_path, training=replace(TRAINING, seconds=0.01))
