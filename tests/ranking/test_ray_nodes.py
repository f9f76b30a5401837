"""Rankings on several Ray nodes of this machine: a node or the driver is killed."""

import os
import signal
import subprocess
import sys
from functools import partial

import pytest
from patience import PATIENCE, wait_until
from test_ray_ranking import builds, counted, events, kinds
from toy import PYTHONPATH, TRAINING, make_task, without_seconds

from prescreen.ranking.run import rank

SCRIPT = """
import sys
from pathlib import Path
from test_ray_nodes import candidates
from toy import TRAINING, make_task
from prescreen.ranking.executors import Ray
from prescreen.ranking.run import rank

folder = Path(sys.argv[2])
rank(candidates(folder), make_task(), training=TRAINING, on=Ray(sys.argv[1]), out=folder / "run")
"""


def candidates(folder):
    gated = {f"gated {width}": partial(counted, folder, width, gated=True) for width in (8, 9)}
    free = {f"free {width}": partial(counted, folder, width) for width in (2, 3)}
    return free | gated


def start(cluster, folder):
    """A driver that ranks the candidates; gated ones stop after two readings."""
    command = [sys.executable, "-W", "error", "-c", SCRIPT, cluster.address, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(driver, condition):
    wait_until(lambda: driver.poll() is not None or condition())
    assert driver.poll() is None, driver.communicate()[1]


def readings(folder, name):
    started = (folder / "run" / "journal.jsonl").exists()
    return kinds(folder / "run", name).count("reading") if started else 0


def starts(folder, name):
    return kinds(folder / "run", name).count("started")


def ended(folder):
    return [e["candidate"] for e in events(folder / "run") if e["event"] in ("finished", "failed")]


def assert_equals_the_local_ranking(folder):
    """Compare a cluster's journal with candidates measured in this process."""
    settings = {"task": make_task(), "training": TRAINING}
    filled = rank(candidates(folder), **settings, out=folder / "run")
    assert without_seconds(filled) == without_seconds(rank(candidates(folder), **settings))


@pytest.fixture(scope="module")
def nodes():
    """A head without CPUs and two nodes of one; this process does not connect to them."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # For drivers, and for workers, which inherit it from their node.
        patch.setenv("PYTHONPATH", PYTHONPATH, prepend=os.pathsep)
        cluster = cluster_utils.Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


@pytest.mark.slow
def test_a_node_killed_in_the_middle_costs_only_what_ran_on_it(nodes, tmp_path):
    driver = start(nodes, tmp_path)
    gated = [name for name in candidates(tmp_path) if name.startswith("gated")]
    wait_for(driver, lambda: all(readings(tmp_path, name) == 2 for name in gated))
    first = next(iter(nodes.worker_nodes))
    nodes.add_node(num_cpus=1)
    nodes.remove_node(first, allow_graceful=False)
    wait_for(driver, lambda: sum(starts(tmp_path, name) for name in gated) == 3)
    (tmp_path / "open").touch()
    _, said = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, said
    assert builds(tmp_path) in ([2, 3, 8, 8, 9], [2, 3, 8, 9, 9])
    assert len(ended(tmp_path)) == len(set(ended(tmp_path))) == 4
    assert_equals_the_local_ranking(tmp_path)


@pytest.mark.slow
def test_a_killed_driver_is_resumed(nodes, tmp_path):
    driver = start(nodes, tmp_path)
    wait_for(driver, lambda: readings(tmp_path, "gated 8") == 2 and len(ended(tmp_path)) == 2)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = ended(tmp_path)
    (tmp_path / "open").touch()
    again = start(nodes, tmp_path)
    _, said = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, said
    assert ended(tmp_path)[:2] == before
    assert len(ended(tmp_path)) == len(set(ended(tmp_path))) == 4
    built = builds(tmp_path)
    assert built.count(2) == built.count(3) == 1
    assert built.count(8) == 2
    assert_equals_the_local_ranking(tmp_path)


INTERRUPTED = """
import os, signal
import ray
from toy import GOOD, TRAINING, make_task
from prescreen.ranking.run import rank

try:
    rank(
        GOOD,
        make_task(),
        training=TRAINING,
        on="ray,address=local",
        progress=lambda progress: os.kill(os.getpid(), signal.SIGINT),
    )
except KeyboardInterrupt:
    print(ray.is_initialized())
"""


@pytest.mark.slow
def test_ctrl_c_ends_a_cluster_started_here(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH, prepend=os.pathsep)
    command = [sys.executable, "-W", "error", "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == "False\n", done.stderr


SHARED_GPU = """
import sys
from pathlib import Path
import ray
from test_ray_nodes import candidates
from toy import TRAINING, make_task
from prescreen.ranking.executors import Ray
from prescreen.ranking.jobs import Job
from prescreen.ranking.repeats import Repeat
from prescreen.screening import Plan
from prescreen.spaces.chosen import as_candidates
from prescreen.reading import Reading

folder = Path(sys.argv[1])
gated = [one for one in as_candidates(candidates(folder)) if one.name.startswith("gated")]
plan = Plan(make_task(), TRAINING, extra={"gpu": lambda model: ray.get_gpu_ids()[0]})
Ray.resources = lambda self, device, threads: {"CPU": 1, "GPU": 0.5}  # the CPU stands for a GPU
ray.init("local", num_cpus=4, num_gpus=1, include_dashboard=False)
read = set()
for index, event in Ray().measure([Job(Repeat(one)) for one in gated], plan, 1):
    if isinstance(event, Reading):
        assert event.values["gpu"] == 0
        read.add(index)
        if len(read) == 2:
            (folder / "open").touch()
assert ray.is_initialized()
"""


@pytest.mark.slow
def test_candidates_share_a_gpu(monkeypatch, tmp_path):
    """Each candidate waits for the other to be read, on a node that claims to have one GPU."""
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH, prepend=os.pathsep)
    command = [sys.executable, "-c", SHARED_GPU, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert builds(tmp_path) == [8, 9]
