"""What a report takes from run folders, studies and experiments."""

import json
import math
from contextlib import nullcontext
from dataclasses import replace

import optuna
import pytest
from optuna_studies import close_storages, filled, judged, open_storage
from sqlalchemy import Engine
from toy import BAD, GOOD, TRAINING, make_task
from toy_rankings import PANEL, make_ranking, make_study

from prescreen.integrations.optuna import ReadoutPruner, Recorder
from prescreen.integrations.optuna.reasons import reasons_of
from prescreen.ranking.run import rank
from prescreen.report import collect
from prescreen.report.results import read_results, with_results
from prescreen.report.stored import of_stored_study


def test_a_run_folder_gives_what_its_ranking_gave(tmp_path):
    ranking = rank({**GOOD, **BAD}, make_task(), training=TRAINING, out=tmp_path)
    found, direct = collect(tmp_path), collect(ranking)
    # What is NaN equals nothing: compared as text.
    assert repr(found.entries) == repr(direct.entries)
    assert (found.measures, found.notes) == (direct.measures, direct.notes)
    assert found.samples == len(make_task().probe)
    assert found.settings["torch"]
    assert found.settings["seed"] == TRAINING.seed
    assert make_task().fingerprint == found.settings["fingerprint of the data"]
    assert found.settings["code of the space"]
    assert {one.status for one in found.entries if one.failed} == {
        row.status for row in ranking
    } - {"ok"}


def test_what_would_change_the_places_of_the_best_is_that_of_the_ranking():
    ranking = rank(GOOD, make_task(), training=TRAINING)
    for one in collect(ranking).entries:
        assert one.changes == ranking.explain(one.name).changes
        assert one.changes


def test_a_run_that_was_killed_shows_what_is_not_done(tmp_path):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.finished == 2:
            raise Stop

    with pytest.raises(Stop):
        rank(GOOD, make_task(), training=TRAINING, out=tmp_path, progress=stop)
    found = collect(tmp_path)
    assert [one.status for one in found.entries] == ["ok", "ok", "running"]
    assert found.entries[2].rank is None


def test_costs_are_those_that_are_known():
    ranking = make_ranking(count=2, failed=0)
    row = replace(ranking.rows[0], parameters=0, values={"latency": 3.5, "flops": math.nan})
    found = collect(replace(ranking, rows=(row, *ranking.rows[1:])))
    assert found.entries[0].costs == {"latency": 3.5}
    assert found.entries[1].costs["parameters"] == ranking.rows[1].parameters


def test_left_out_measures_say_for_whom_they_are_not_defined():
    ranking = make_ranking(count=5, failed=0, left_out=("isotropy",))
    values = {**ranking.rows[2].values, "isotropy": math.nan}
    rows = (*ranking.rows[:2], replace(ranking.rows[2], values=values), *ranking.rows[3:])
    found = collect(replace(ranking, rows=rows))
    assert found.left_out == {"isotropy": "not defined for 1 of 5: candidate 2"}


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_trials_of_a_study_are_in_the_order_of_its_objective(direction):
    found = collect(make_study(completed=4, pruned=2, direction=direction))
    assert [one.name for one in found.entries] == [f"trial {n}" for n in range(6)]
    assert [one.rank for one in found.entries] == [1, 2, 3, 4, None, None]
    assert [one.status for one in found.entries[4:]] == ["pruned", "pruned"]
    assert found.measures == PANEL
    scores = [one.score for one in found.entries]
    assert scores == [1, pytest.approx(2 / 3), pytest.approx(1 / 3), 0, 0, 0]
    assert found.ranges == {"lr": (0.0, 1.0)}


def test_trials_without_a_reading_and_failed_ones_are_shown():
    study = optuna.create_study()
    study.tell(study.ask(), 1.0)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    study.ask()
    trial = study.ask()
    trial.set_user_attr(f"prescreen:{trial.number}:failure", "diverged: loss is nan")
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    found = {one.name: one for one in collect(study).entries}
    status = {name: one.status for name, one in found.items()}
    assert status == dict(
        zip((f"trial {n}" for n in range(4)), ("ok", "failed", "running", "failed"), strict=True)
    )
    assert found["trial 3"].reason == "diverged: loss is nan"


def test_what_the_pruner_noted_is_the_reason():
    study = optuna.create_study(direction="maximize", pruner=ReadoutPruner())
    filled(study, [0.1, 0.2])
    judged(study, 0.3)
    found = collect(study).entries[-1]
    assert found.status == "running"
    assert found.reason == reasons_of(study)[2].last
    assert found.reason.startswith("kept: ")


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_study_is_found_in_its_storage(kind, tmp_path):
    storage = open_storage(kind, tmp_path)
    study = optuna.create_study(study_name="one", storage=storage, direction="maximize")
    trial = study.ask()
    Recorder(trial).record(1, dict.fromkeys(Recorder(trial).readouts, 0.5))
    study.tell(trial, 0.9)
    url = f"sqlite:///{tmp_path}/study.db" if kind == "sqlite" else f"{tmp_path}/journal.log"
    assert of_stored_study(url, None).entries[0].final == 0.9
    assert "sampler" not in of_stored_study(url, "one").settings
    with pytest.raises(ValueError, match=r"^`study` must be one of one, got 'two'$"):
        of_stored_study(url, "two")
    optuna.create_study(study_name="three", storage=storage)
    with pytest.raises(ValueError, match=r"^`study` must be one of one, three, got None$"):
        of_stored_study(url, None)


@pytest.mark.parametrize("name", [None, "two"])
def test_no_connection_stays_open(name, tmp_path, monkeypatch):
    closed = []
    dispose = Engine.dispose
    monkeypatch.setattr(Engine, "dispose", lambda self: closed.append(self) or dispose(self))
    optuna.create_study(study_name="one", storage=open_storage("sqlite", tmp_path))
    close_storages()
    closed.clear()
    refused = pytest.raises(ValueError, match=r"^`study` must be one of one, got 'two'$")
    with nullcontext() if name is None else refused:
        of_stored_study(f"sqlite:///{tmp_path}/study.db", name)
    (engine,) = closed
    assert engine.pool.checkedout() == engine.pool.checkedin() == 0


def test_a_storage_that_is_not_there_is_not_made(tmp_path):
    for url in (f"sqlite:///{tmp_path}/no.db", f"{tmp_path}/no.log"):
        with pytest.raises(
            ValueError, match=r"^`storage` must be a file that is there, or a URL, got"
        ):
            of_stored_study(url, None)
    assert not [*tmp_path.iterdir()]


def experiment(folder, trials):
    """The plain files that Tune writes (Ray 2.60)."""
    known = []
    for name, (status, results) in trials.items():
        own = folder / f"train_{name}"
        own.mkdir()
        lines = [json.dumps({"trial_id": name, "config": {"x": name}, **one}) for one in results]
        (own / "result.json").write_text("\n".join(lines) + "\n")
        known.append([json.dumps({"trial_id": name, "status": status}), "{}"])
    state = {"trial_data": known, "runner_data": {"_metric": "accuracy"}}
    (folder / "experiment_state-2026.json").write_text(json.dumps(state))
    return folder


def results(worth, steps, **last):
    found = [
        {"step": step, "accuracy": worth, "prescreen": {"confidence": worth * step, "score": 1.0}}
        for step in steps
    ]
    found[-1]["prescreen"] |= last
    return found


def test_an_experiment_is_read_from_its_plain_files(tmp_path):
    pytest.importorskip("ray.tune", reason="the `ray` extra")
    trials = {
        "a": ("TERMINATED", results(0.5, (1, 2, 4))),
        "b": ("TERMINATED", results(0.9, (1, 2, 4), reason="kept: likely enough")),
        "c": ("TERMINATED", results(0.1, (1, 2), stopped=True, reason="pruned: unlikely")),
        "d": ("ERROR", results(0.2, (1,))),
        "e": ("RUNNING", results(0.3, (1, 2))),
        "f": ("TERMINATED", results(0.2, (1, 2))),
        "g": ("TERMINATED", results(0.2, (1,), failure="diverged: loss is nan")),
    }
    folder = experiment(tmp_path, trials)
    found = {one.name[-1]: one for one in collect(folder).entries}
    assert {name: one.status for name, one in found.items()} == {
        "a": "ok",
        "b": "ok",
        "c": "pruned",
        "d": "failed",
        "e": "running",
        "f": "pruned",
        "g": "failed",
    }
    assert found["c"].reason == "pruned: unlikely"
    assert found["b"].reason == "kept: likely enough"
    assert found["f"].reason == "ended early, at step 2 of 4"
    assert found["a"].trajectory.series("confidence") == ([1, 2, 4], [0.5, 1.0, 2.0])
    assert found["a"].config == {"x": "a"}
    ordered = with_results(collect(folder), "accuracy", True)
    assert [one.name[-1] for one in ordered.ranked] == ["b", "a"]
    assert [one.name[-1] for one in with_results(ordered, "accuracy", False).ranked] == ["a", "b"]
    assert "--final accuracy" in ordered.notes[0]


def test_damaged_experiments_are_refused_and_cut_results_are_read(tmp_path):
    pytest.importorskip("ray.tune", reason="the `ray` extra")
    folder = experiment(tmp_path, {"a": ("TERMINATED", results(0.5, (1, 2)))})
    file = folder / "train_a" / "result.json"
    file.write_text(file.read_text() + '{"step": 3, "presc')
    assert [one.step for one in collect(folder).entries] == [2]
    (folder / "experiment_state-2026.json").write_text('{"trial_data": 3}')
    with pytest.raises(
        ValueError, match=r"^`folder` must hold a state of Tune that can be read, got"
    ):
        collect(folder)


def test_results_come_from_a_file_or_a_measurement(tmp_path):
    file = tmp_path / "results.csv"
    file.write_text(
        "\ufeffcandidate,note,accuracy\ncandidate 0,x,0.5\n'candidate 1',,\ncandidate 2,,1\n"
    )
    assert read_results(file) == {"candidate 0": 0.5, "candidate 2": 1.0}
    found = with_results(collect(make_ranking()), read_results(file), True)
    assert [one.final for one in found.entries if not math.isnan(one.final)] == [0.5, 1.0]
    by_name = with_results(collect(make_ranking()), "isotropy", True)
    assert [one.final for one in by_name.ranked] == [
        row.values["isotropy"] for row in make_ranking() if row.rank
    ]
    with pytest.raises(ValueError, match=r"^`final` must be one of .*, got 'nothing'$"):
        with_results(collect(make_ranking()), "nothing", True)
    with pytest.raises(
        ValueError, match=r"^`final` must be results by the names of candidates, got"
    ):
        with_results(collect(make_ranking()), {"no such": 1.0}, True)
    file.write_text("nothing here")
    with pytest.raises(ValueError, match=r"^`final` must be a CSV file of names and results, got"):
        read_results(file)


@pytest.mark.parametrize("source", [3, None, [1]])
def test_anything_else_is_refused(source):
    with pytest.raises(
        ValueError, match=r"^`source` must be a folder of a run or of a Ray experiment"
    ):
        collect(source)
