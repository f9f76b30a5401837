"""Ranking on a real Ray cluster of one node."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import pytest
from patience import PATIENCE
from torch import nn
from toy import BAD, GOOD, SPACE, TRAINING, make_task, mlp, suicidal, without_seconds

from prescreen.ranking.executors import Ray, resolve_executor
from prescreen.ranking.executors import ray as cluster
from prescreen.ranking.run import rank
from prescreen.spaces.chosen import as_candidates


class Gate(nn.Module):
    """Stops a training at its sixth step, after two readings, until it may go on."""

    def __init__(self, folder, *, deadly):
        super().__init__()
        self.folder, self.deadly, self.steps = folder, deadly, 0

    def forward(self, x):
        self.steps += len(x) == TRAINING.batch_size
        while self.steps == 6 and not (self.folder / "open").exists():
            if self.deadly:
                (self.folder / "open").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.01)
        return x


def counted(folder, width, *, gated=False, deadly=False):
    """A network that leaves a line each time that it is built."""
    with (folder / "builds").open("a") as file:
        print(width, file=file)
    gate = Gate(folder, deadly=deadly) if gated or deadly else nn.Identity()
    return nn.Sequential(gate, mlp(width))


def builds(folder):
    return sorted(map(int, (folder / "builds").read_text().split()))


def events(out):
    lines = map(json.loads, (out / "journal.jsonl").read_text().splitlines())
    return [line for line in lines if "candidate" in line]


def kinds(out, name):
    mine = [e for e in events(out) if json.loads(e["candidate"])["name"] == name]
    return [event["event"] for event in mine]


class Noted:
    """Batches that leave a line wherever they arrive."""

    def __init__(self, batches, path):
        self.batches, self.path = batches, path

    def __call__(self, *args):
        return self.batches(*args)

    def __setstate__(self, state):
        self.__dict__.update(state)
        with self.path.open("a") as file:
            print("arrived", file=file)


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_cluster_changes_nothing_and_unpacks_data_once_a_worker(ray_session, tmp_path, threads):
    candidates = {**GOOD, **BAD, "a script's own": lambda: mlp(5)}
    task = make_task()
    task = replace(task, batches=Noted(task.batches, tmp_path / "arrivals"))
    alone = rank(candidates, task, training=TRAINING, threads=threads)
    together = rank(candidates, task, training=TRAINING, threads=threads, on="ray")
    assert without_seconds(alone) == without_seconds(together)
    assert len((tmp_path / "arrivals").read_text().split()) in range(1, 2 // threads + 1)
    assert ray_session.is_initialized()


def test_candidates_of_lost_workers_begin_again_a_few_times(ray_session, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "RETRIES", 1)
    candidates = {
        "first": partial(counted, tmp_path, 2),
        "lost once": partial(counted, tmp_path, 8, deadly=True),
        "suicidal": suicidal,
    }
    out = tmp_path / "run"
    seen = []
    survived = rank(
        candidates, make_task(), training=TRAINING, on="ray", out=out, progress=seen.append
    )
    assert builds(tmp_path) == [2, 8, 8]
    whole = ["started", *["reading"] * 4, "finished"]
    assert kinds(out, "first") == whole
    assert kinds(out, "lost once") == ["started", "reading", "reading", *whole]
    assert kinds(out, "suicidal") == ["started", "started", "failed"]
    assert max(progress.share for progress in seen) == seen[-1].share == 1
    *good, killed = survived.rows
    assert (killed.name, killed.status) == ("suicidal", "killed")
    assert killed.reason.startswith("its worker or node was lost 2 times: The actor died")
    del candidates["suicidal"]
    alone = rank(candidates, make_task(), training=TRAINING)
    assert without_seconds(good) == without_seconds(alone)


def late():
    while True:
        try:
            time.sleep(10_000)
        except Exception:
            pass


def terminated(folder):
    """Is ended from outside when it is built for the first time, as on a node that is taken away."""
    if not (folder / "terminated").exists():
        (folder / "terminated").touch()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10_000)
    return mlp(8)


def test_late_candidates_are_rows_and_terminated_ones_begin_again(
    ray_session, tmp_path, monkeypatch
):
    monkeypatch.setattr(cluster, "GRACE", 0.0)
    (row,) = rank({"late": late}, make_task(), training=TRAINING, on="ray", timeout=0.1)
    assert (row.status, row.reason) == ("timeout", "not finished after 0.1 s")
    candidates = {"terminated": partial(terminated, tmp_path)}
    (row,) = rank(candidates, make_task(), training=TRAINING, on="ray")
    assert (row.status, row.step) == ("ok", TRAINING.steps)


def test_workers_bound_how_many_run_at_once_and_end_with_the_ranking(ray_session, tmp_path):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.finished == 2:
            raise Stop

    candidates = {f"{width}": partial(counted, tmp_path, width) for width in range(2, 8)}
    out = tmp_path / "run"
    with pytest.raises(Stop):
        rank(
            candidates,
            make_task(),
            training=TRAINING,
            on=Ray(workers=1),
            out=out,
            progress=stop,
        )
    names = [event["candidate"] for event in events(out)]
    assert names == sorted(names, key=names.index), "two candidates ran at once"
    assert builds(tmp_path) in ([2, 3], [2, 3, 4])
    whole = ray_session.remote(num_cpus=2)(lambda: True)
    assert ray_session.get(whole.remote(), timeout=PATIENCE), "a worker still holds a CPU"


def test_a_failed_import_on_a_node_is_an_error_not_a_result(ray_session, tmp_path):
    file = tmp_path / "space.py"
    file.write_text(SPACE)
    candidates = as_candidates(file)
    file.unlink()
    with pytest.raises(
        ValueError, match=r"^every node must be able to import the candidates, got "
    ):
        rank(candidates, make_task(), training=TRAINING, on="ray", out=tmp_path / "run")
    assert events(tmp_path / "run") == []


def test_unpicklable_candidates_are_refused_before_workers_start(ray_session):
    lock = threading.Lock()
    with pytest.raises(ValueError, match=r"^the candidate 'locked' must be picklable .*, got "):
        rank({**GOOD, "locked": lambda: lock}, make_task(), training=TRAINING, on="ray")


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"CPU": 3, "GPU": 0.0}, "must have 3 CPU for a candidate, got 2 CPU"),
        ({"CPU": 1, "GPU": 0.5}, "must have 1 CPU and 0.5 GPU .*, got 2 CPU, 0 GPU"),
    ],
)
def test_a_cluster_without_room_for_a_candidate_is_an_error(
    ray_session, monkeypatch, needs, message
):
    monkeypatch.setattr(Ray, "resources", lambda self, device, threads: needs)
    with pytest.raises(RuntimeError, match=f"^a node of the Ray cluster {message}"):
        rank(GOOD, make_task(), training=TRAINING, on="ray")


def test_a_finished_ranking_needs_no_cluster(tmp_path):
    whole = rank(GOOD, make_task(), training=TRAINING, out=tmp_path)
    again = rank(GOOD, make_task(), training=TRAINING, out=tmp_path, on=Ray("nowhere.invalid:1"))
    assert str(again) == str(whole)


def test_gpus_are_requested_if_candidates_train_on_them():
    assert Ray().resources("cpu", 2) == {"CPU": 2, "GPU": 0}
    assert Ray("local").resources("cuda", 1) == {"CPU": 1, "GPU": 1}
    shared = resolve_executor("ray, address=head:6379, gpus=0.25, workers=3")
    assert shared == Ray("head:6379", workers=3, gpus=0.25)
    assert shared.resources("cuda", 1) == {"CPU": 1, "GPU": 0.25}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"address": "here"}, "`address` must be auto, local, HOST:PORT or .* got 'here'"),
        ({"address": ""}, "`address` must be .* got ''"),
        ({"address": "host:port"}, "`address` must be .* got 'host:port'"),
        ({"address": "host:65536"}, "`address` must be .* got 'host:65536'"),
        ({"device": "cuda:1"}, "`device` must be cpu or cuda on a Ray cluster, got cuda:1"),
        ({"gpus": 0.5}, "`gpus` must be None for the device cpu, got 0.5"),
        ({"gpus": 0.0}, "`gpus` must be above 0 and at most 1, or None, got 0.0"),
        ({"gpus": 2.0}, "`gpus` must be above 0 and at most 1, or None, got 2.0"),
        ({"workers": -1}, "`workers` must be at least 0, got -1"),
    ],
)
def test_arguments_are_checked(arguments, message):
    device = arguments.pop("device", "cpu")
    with pytest.raises(ValueError, match=message):
        Ray(**arguments).resources(device, 1)


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ImportError, match=r"^`ray` needs the 'ray' extra: pip install 'prescreen\[ray\]'"
    ):
        rank(GOOD, make_task(), training=TRAINING, on="ray")
