"""Readings in TensorBoard, MLflow and Weights & Biases, as the libraries themselves read them back."""

import json
import math
import subprocess
import sys

import pytest
import torch
from toy import BAD, GOOD, TRAINING, make_task, mlp

from prescreen import Monitor, Reading, rank
from prescreen.loggers import MLflow, TensorBoard, Wandb, guarded, logged

READING = Reading(7, {"a": 0.5, "ahead/b": math.nan, "c[1]": -math.inf, "d": 2.0})
STRANGE = ["../x", "a/b|c d", "", "näme", "x" * 400, "<script>", "..", "a\nb"]


class Kept:
    """Keeps what it is given; fails from the n-th time on."""

    def __init__(self, fails=10**9):
        self.taken, self.calls, self.fails = [], 0, fails

    def __call__(self, values, step, run=""):
        self.calls += 1
        if self.calls >= self.fails:
            raise ConnectionError("gone\nsecond line")
        self.taken.append((dict(values), step, run))


def test_what_is_not_finite_is_left_out():
    assert logged(READING) == {"prescreen/a": 0.5, "prescreen/d": 2.0}
    assert logged(Reading(1, {"a": math.nan})) == {}


def test_a_ranking_logs_every_reading_and_every_place():
    kept, plain = Kept(), {"tiny": GOOD["tiny"], "large": GOOD["large"], "broken": BAD["broken"]}
    ranking = rank(plain, make_task(), training=TRAINING, readings=2, log=kept)
    assert repr([row.values for row in ranking]) == repr(
        [row.values for row in rank(plain, make_task(), training=TRAINING, readings=2)]
    )
    for row in ranking:
        own = [(values, step) for values, step, run in kept.taken if run == row.name]
        readings = [(logged(one), one.step) for one in row.trajectory]
        place = {"prescreen/score": row.score, "prescreen/rank": row.rank}
        assert own == readings + ([(place, row.step)] if row.rank else [])
    assert all(math.isfinite(value) for values, *_ in kept.taken for value in values.values())


def test_seeds_are_runs_of_their_own():
    kept = Kept()
    rank({"tiny": GOOD["tiny"]}, make_task(), training=TRAINING, seeds=2, readings=1, log=kept)
    assert [run for *_, run in kept.taken] == ["tiny", "tiny (seed +1)", "tiny"]


def test_a_logger_that_fails_is_told_once_and_ends_nothing(caplog):
    kept = Kept(fails=2)
    ranking = rank(GOOD, make_task(), training=TRAINING, readings=2, log=kept)
    assert (len(ranking), kept.calls) == (3, 2)
    lines = [one.message for one in caplog.records if "`log`" in one.message]
    assert lines == ["`log` gets no more readings: ConnectionError: gone"]
    guarded(None)({"a": 1.0}, 1)


def test_a_monitor_logs_with_a_function_of_two_arguments():
    taken = []
    images = torch.randn(16, 1, 4, 4)
    monitor = Monitor(images, log=lambda values, step: taken.append((values, step)))
    readings = [monitor.read(mlp(4), step) for step in (1, 2)]
    assert taken == [(logged(readings[1]), 2)]  # the first has no value


def test_tensorboard_reads_the_event_files(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoard(tmp_path)
    for _ in range(2):  # also after it was closed
        for number, run in enumerate([*STRANGE, *map(str, range(20))]):
            log({"prescreen/a": number + 0.5}, 7, run)
        log.close()
    found = {}
    for folder in {path.parent for path in tmp_path.rglob("events*")}:
        assert folder == tmp_path or folder.parent == tmp_path
        events = EventAccumulator(str(folder)).Reload().Scalars("prescreen/a")
        assert len(events) == 2
        found[events[0].value] = [event.step for event in events]
    assert sorted(found) == [number + 0.5 for number in range(len(STRANGE) + 20)]
    assert all(steps == [7, 7] for steps in found.values())


@pytest.mark.filterwarnings("ignore:.*filesystem.*:FutureWarning")
def test_mlflow_reads_its_store(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "store").as_uri()
    log = MLflow("readings", uri)
    for run in STRANGE:
        log({"prescreen/ahead/b": 0.5, "prescreen/c[1]": 2.0}, 3, run)
        log({"prescreen/ahead/b": 0.75}, 9, run)
    log.close()
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("readings").experiment_id
    runs = client.search_runs([experiment])
    assert len(runs) == len(STRANGE)
    for run in runs:
        assert run.info.status == "FINISHED"
        history = client.get_metric_history(run.info.run_id, "prescreen/ahead/b")
        assert [(one.step, one.value) for one in history] == [(3, 0.5), (9, 0.75)]
        assert run.data.metrics["prescreen/c_1_"] == 2.0
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run(experiment_id=experiment) as parent:
        inside = MLflow(tracking_uri=uri)
        inside({"prescreen/a": 1.0}, 1)
        inside({"prescreen/a": 2.0}, 1, "tiny")
        inside.close()
        assert client.get_run(parent.info.run_id).info.status == "RUNNING"
    assert client.get_run(parent.info.run_id).data.metrics == {"prescreen/a": 1.0}
    (child,) = client.search_runs([experiment], "metrics.`prescreen/a` = 2")
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id


OFFLINE = """
import sys
from prescreen.loggers import Wandb
log = Wandb(project="p", mode="offline", dir=sys.argv[1], settings={"silent": True})
for run in ("a/b", "c"):
    log({"prescreen/a": 0.5}, 3, run)
    log({"prescreen/a": 0.75}, 9, run)
log.close()
"""


@pytest.mark.slow  # its service takes seconds to start
def test_wandb_writes_runs_offline(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    runs = dict(map(recorded, tmp_path.rglob("*.wandb")))
    assert runs == {"a/b": [(3, 0.5), (9, 0.75)], "c": [(3, 0.5), (9, 0.75)]}


def recorded(file):
    """Name, and steps and values, in the log of one run: 7 bytes, then records behind 7 bytes each."""
    from wandb.proto import wandb_internal_pb2

    data, at, name, rows = file.read_bytes(), 7, "", []
    assert len(data) < 1 << 15  # of one block
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 6], "little")
        record = wandb_internal_pb2.Record.FromString(data[at + 7 : at + 7 + size])
        at += 7 + size
        name = record.run.display_name or name
        items = {one.key or one.nested_key[0]: one.value_json for one in record.history.item}
        if items:
            rows.append((json.loads(items["_step"]), json.loads(items["prescreen/a"])))
    return name, rows


@pytest.mark.parametrize(
    ("make", "module", "package"),
    [
        (lambda: TensorBoard("runs"), "torch.utils.tensorboard", "tensorboard"),
        (MLflow, "mlflow", "mlflow"),
        (Wandb, "wandb", "wandb"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, make, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"^prescreen.loggers.\w+ needs {package}: pip install"):
        make()
