"""Workers are spread over the GPUs of a machine; each sees its own. The GPUs are pretended."""

import os
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch
from patience import wait_until
from toy import TRAINING, make_task

from prescreen.ranking.events import STARTED
from prescreen.ranking.executors import Processes, resolve_executor
from prescreen.ranking.executors.processes import _Pool
from prescreen.ranking.executors.started import Worker
from prescreen.ranking.jobs import Job
from prescreen.ranking.repeats import Repeat
from prescreen.screening import Plan
from prescreen.spaces import Candidate


def plan_on(device):
    """A plan for a device that is not here."""
    plan = Plan(make_task(), TRAINING)
    training = type(TRAINING)(**TRAINING.to_json())
    object.__setattr__(training, "device", device)
    object.__setattr__(plan, "training", training)
    return plan


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def seen(folder):
    """Says which GPU its process sees, once as many processes have begun as there are GPUs."""
    own = os.environ["CUDA_VISIBLE_DEVICES"]
    Path(folder, f"{os.getpid()}").touch()
    wait_until(lambda: len([*Path(folder).iterdir()]) >= 2)
    raise RuntimeError(f"GPU {own}")


@pytest.mark.slow
def test_each_worker_sees_its_own_gpu(gpus, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 7,GPU-1b")
    candidates = [Candidate(str(i), {}, partial(seen, str(tmp_path))) for i in range(4)]
    jobs = [Job(Repeat(one)) for one in candidates]
    events = [*Processes(2, gpus=2).measure(jobs, plan_on("cuda"), 1)]
    reasons = {index: event.reason for index, event in events if event != STARTED}
    assert set(reasons.values()) == {"RuntimeError: GPU 5", "RuntimeError: GPU 7"}
    assert len(reasons) == 4
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5, 7,GPU-1b"


@pytest.mark.parametrize(
    ("given", "wanted", "spread"),
    [
        (None, None, ["0", "1", "2"]),
        (None, 2, ["0", "1"]),
        ("4,6,8", None, ["4", "6", "8"]),
        ("4,6,8", 1, ["4"]),
    ],
)
def test_workers_are_spread_evenly_and_one_that_ends_leaves_its_gpu(
    gpus, monkeypatch, given, wanted, spread
):
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    pools = []
    monkeypatch.setattr(_Pool, "events", lambda self: iter(pools.append(self) or ()))
    assert [*Processes(8, gpus=wanted).measure((), plan_on("cuda"), 1)] == []
    (pool,) = pools
    for _ in range(2 * len(spread)):
        pool._running.append(Worker(None, None, pool._free_gpu()))
    assert Counter(worker.gpu for worker in pool._running) == dict.fromkeys(spread, 2)
    ended = pool._running.pop(len(spread) - 1)
    assert pool._free_gpu() == ended.gpu


@pytest.mark.parametrize(
    ("device", "wanted", "message"),
    [
        ("cpu", 1, "`gpus` must be None for the device cpu, got 1"),
        ("cuda:1", 2, "`gpus` must be None for the device cuda:1, got 2"),
        ("cuda", 4, "`gpus` must be at most the 3 that are visible, got 4"),
    ],
)
def test_other_numbers_are_refused(gpus, device, wanted, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        [*Processes(1, gpus=wanted).measure((), plan_on(device), 1)]


def test_without_several_gpus_nothing_is_set(gpus, monkeypatch):
    pools = []
    monkeypatch.setattr(_Pool, "events", lambda self: iter(pools.append(self) or ()))
    for device in ("cpu", "cuda:1"):
        assert [*Processes(2).measure((), plan_on(device), 1)] == []
    assert [pool._free_gpu() for pool in pools] == [None, None]


def test_an_only_gpu_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    pools = []
    monkeypatch.setattr(_Pool, "events", lambda self: iter(pools.append(self) or ()))
    assert [*Processes(2, gpus=1).measure((), plan_on("cuda"), 1)] == []
    assert pools[0]._free_gpu() is None


def test_a_text_says_it():
    assert resolve_executor("processes,workers=4,gpus=2") == Processes(4, gpus=2)
    with pytest.raises(ValueError, match="`gpus` must be at least 1, got 0"):
        resolve_executor("processes,gpus=0")
