"""What optuna-dashboard shows of a study whose trials are read."""

import io
import json
import math

import optuna
import pytest
from optuna_studies import INPUTS, make_model, open_storage, panel

from prescreen.integrations.optuna import Reader, ReadoutPruner, Recorder, trajectory

dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")


def answer(storage, path):
    """What its server answers, without a network."""
    status = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "test",
        "SERVER_PORT": "80",
        "CONTENT_TYPE": "application/json",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
    }
    body = dashboard.wsgi(storage)(environ, lambda line, *_: status.append(line))
    assert status[0].startswith("200"), status
    return json.loads(b"".join(body), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


@pytest.mark.parametrize("directions", [["maximize"], ["maximize", "minimize"]])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_readouts_and_scores_are_numbers_that_it_sorts_and_plots_by(directions, tmp_path):
    storage = open_storage("sqlite", tmp_path)
    study = optuna.create_study(storage=storage, directions=directions, pruner=ReadoutPruner())
    for _ in range(3):
        trial = study.ask()
        reader = Reader(trial, make_model(), INPUTS, budget=None, mirror="attributes")
        for step in (1, 2, 4):
            reader.read(step)
        study.tell(trial, [1.0] * len(directions))
    undefined = Recorder(study.ask(), mirror="attributes")
    undefined.record(1, {**panel(0.5), "isotropy": math.nan})
    shown = answer(storage, "/api/studies/1")
    sortable = {one["key"] for one in shown["union_user_attrs"] if one["sortable"]}
    names = {f"prescreen/{name}" for name in (*trajectory(study.trials[0]).last.values, "score")}
    assert names <= sortable
    for own, trial in zip(study.trials[:3], shown["trials"], strict=False):
        values = {one["key"]: one["value"] for one in trial["user_attrs"]}
        last = trajectory(own).last
        for name, value in last.values.items():
            assert float(values[f"prescreen/{name}"]) == value
        assert 0 <= float(values["prescreen/score"]) <= 1
        assert trial["intermediate_values"] == []
    assert "prescreen/isotropy" not in {one["key"] for one in shown["trials"][3]["user_attrs"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scores_are_curves_where_they_are_reported():
    study = optuna.create_study(direction="maximize", pruner=ReadoutPruner())
    trial = study.ask()
    reader = Reader(trial, make_model(), INPUTS, budget=None, mirror=True)
    for step in (1, 2, 4):
        reader.read(step)
    shown = answer(study._storage, "/api/studies/0")
    assert shown["has_intermediate_values"]
    assert [one["step"] for one in shown["trials"][0]["intermediate_values"]] == [1, 2, 4]
