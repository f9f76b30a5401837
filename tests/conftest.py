from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable

import pytest
import torch
from toy import PYTHONPATH

from prescreen.captured import Capture

# Several tests run at once, a worker of pytest on each core: threads of one operation would wait for one
# another. The same for processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# Nothing of one test is found by another, or left in the home of who runs them.
os.environ["PRESCREEN_CACHE"] = "off"

# What tests do that Windows cannot, or not for everyone. What the package does: tests/test_windows.py.
_POSIX = re.compile(
    r"\b(fork|mkfifo|symlink_to|killpg|SIGKILL|SIGHUP|SIGUSR1|start_new_session|suicidal)\b"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where processes cannot fork, leave out what needs it or its like."""
    for item in () if hasattr(os, "fork") else items:
        if _POSIX.search(inspect.getsource(item.function)):
            item.add_marker(pytest.mark.skip(reason="only POSIX can do what it does"))


@pytest.fixture(scope="session")
def make_capture() -> Callable[..., Capture]:
    """A function that makes a random Capture; `spread` is about the logits' standard deviation."""

    def make(n=12, d=5, k=4, link="softmax", *, bias=True, dtype=torch.float64, spread=1.5, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        z, w = normal(n, d) + 0.5, spread / d**0.5 * normal(k, d)
        z, w, b = z.to(dtype), w.to(dtype), normal(k).to(dtype) if bias else None
        return Capture(z, torch.nn.functional.linear(z, w, b), w, b, link)

    return make


@pytest.fixture(scope="session")
def ray_session():
    """A Ray of this machine alone, for all tests that need one."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Its processes unpickle objects of the tests, so they must be able to import the tests.
        patch.setenv("PYTHONPATH", PYTHONPATH, prepend=os.pathsep)
        # "local" does not join a cluster that somebody else runs on this machine.
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


@pytest.fixture(autouse=True)
def _close_storages():
    yield
    if (studies := sys.modules.get("optuna_studies")) is not None:
        studies.close_storages()
