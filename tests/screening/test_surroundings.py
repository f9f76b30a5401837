"""The global state that a candidate changes is its own: those after it give what they give alone."""

import gc
import logging
import os
import random
import signal
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from toy import TRAINING, make_task, mlp

from prescreen.random_state import ONE_AT_A_TIME
from prescreen.ranking.run import rank
from prescreen.screening import Plan, Screening
from prescreen.screening.global_state import TABLE, global_state
from prescreen.spaces.candidate import Candidate

CHANGES = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "gradients": lambda: torch.set_grad_enabled(False),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "fp32_precision": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "cudnn.benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "mkldnn.enabled": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "autocast on cpu": lambda: torch.set_autocast_enabled("cpu", True),
    "autocast dtype on cpu": lambda: torch.set_autocast_dtype("cpu", torch.float16),
    "autocast cache": lambda: torch.set_autocast_cache_enabled(False),
    "flushed denormals": lambda: torch.set_flush_denormal(True),
    "transformers' fast path": lambda: torch.backends.mha.set_fastpath_enabled(False),
    "_global_forward_hooks": lambda: nn.modules.module.register_module_forward_hook(
        lambda module, args, output: output * 2 if isinstance(module, nn.Linear) else None
    ),
    "random": lambda: random.seed(7),
    "NumPy's random state": lambda: np.random.seed(7),
    "NumPy's errors": lambda: np.seterr(all="raise"),
    "warnings": lambda: warnings.simplefilter("ignore"),
    "shown warnings": lambda: setattr(warnings, "showwarning", print),
    "logging": lambda: logging.disable(logging.CRITICAL),
    "environment": lambda: os.environ.update(OMP_NUM_THREADS="7", PRESCREEN_TEST="1"),
    "directory": lambda: os.chdir("/"),
    "sys.path": lambda: sys.path.insert(0, "/nowhere"),
    "recursion limit": lambda: sys.setrecursionlimit(5000),
    "garbage collection": gc.disable,
    "sys.stdout": lambda: setattr(sys, "stdout", None),
    "sys.excepthook": lambda: setattr(sys, "excepthook", None),
    "sys.argv": lambda: setattr(sys, "argv", []),
    "signal handlers": lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
    "timer": lambda: signal.setitimer(signal.ITIMER_REAL, 1000),
    "torch's random state": lambda: torch.manual_seed(7),
}
BRIEF = replace(TRAINING, steps=4)


class Fickle(nn.Module):
    """A candidate that draws from all generators, and whose numbers depend on much of the state."""

    def forward(self, x):
        noise = torch.rand(1) + random.random() + float(np.random.rand())
        return nn.functional.dropout(x, 0.1, self.training) * noise


def fickle():
    model = nn.Sequential(Fickle(), mlp(4))
    with torch.no_grad():
        model[1][1].weight.mul_(float(np.random.rand()) + random.random())
    return model


# Made before any candidate: data are not in a candidate's surroundings.
TASK = make_task()


def seen(build, *, seed=0):
    with ONE_AT_A_TIME:  # else one thread seeds what another's candidate draws from
        torch.manual_seed(seed)
    screening = Screening(Candidate("a", {}, build), Plan(TASK, BRIEF))
    return [replace(next(screening), seconds=0.0) for _ in range(4)]


@pytest.fixture(scope="module")
def alone():
    return seen(fickle)


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_candidate_changes_does_not_reach_the_next(change, alone):
    def changing():
        CHANGES[change]()
        return mlp(2)

    def failing():
        changing()
        raise RuntimeError

    before = global_state()
    candidates = {"changing": changing, "failing": failing}
    ranking = rank(candidates, make_task(), training=BRIEF, head="3")  # builds them once more
    after = global_state()
    assert [name for name in before if before[name] != after[name]] == []
    assert torch.get_default_device().type == "cpu"  # torch 2.6 may no longer know it
    assert ranking.rows[-1].status in ("build", "run", "memory")
    assert repr(seen(fickle)) == repr(alone)


def test_the_changes_are_of_everything_in_the_table():
    """Except what has a like beside it, and the locale, of which a machine may have one only."""
    like = ("_global_", "autocast", "sys.std", "cuda", "cudnn", "mkldnn", "opt_einsum", "quantized")
    left = {name for name in TABLE if name not in CHANGES and not name.startswith(like)}
    assert left == {"locale"}


def test_a_candidate_keeps_what_it_changed():
    def double():
        torch.set_default_dtype(torch.float64)
        return nn.Sequential(Double(), mlp(4))

    class Double(nn.Module):
        def forward(self, x):
            assert torch.get_default_dtype() is torch.float64
            return x.double()

    screening = Screening(Candidate("a", {}, double), Plan(make_task(), BRIEF, readings=2))
    for _ in range(2):
        next(screening)
        assert torch.get_default_dtype() is torch.float32


def test_the_callers_generators_stay_as_they_are():
    def draws():
        return random.random(), np.random.rand(), torch.rand(1)

    def seed():
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    seed()
    expected = draws()
    seed()
    seen(fickle, seed=1)
    assert draws() == expected


def test_candidates_in_threads_have_their_own_state(alone):
    """They take turns: what one draws or changes reaches no other, whichever comes first."""

    def changing():
        random.seed(7)
        np.random.seed(7)
        torch.set_default_dtype(torch.float64)
        return mlp(2).float()

    before = global_state()
    with ThreadPoolExecutor(4) as pool:
        got = [pool.submit(seen, build) for build in (fickle, changing, fickle, fickle)]
    assert [repr(got[i].result()) for i in (0, 2, 3)] == [repr(alone)] * 3
    after = global_state()
    apart = {"torch's random state"}  # which this test sets in every thread
    assert [name for name in before if before[name] != after[name] and name not in apart] == []
