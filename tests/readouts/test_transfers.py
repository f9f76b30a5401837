"""How often a reading waits for an accelerator: for checks of each capture, and once for all values."""

import sys
from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from prescreen import Probe, TrainingProbe
from prescreen.panel import CHECKPOINT_PANEL, DEFAULT_PANEL
from prescreen.readouts.parts import replicates

IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))

# Of these modules, what is looked at are numbers of rows, which are on the host.
ON_THE_HOST = ("prescreen.heads.positions", "prescreen.readouts.parts")


class Looks(TorchDispatchMode):
    """Counts what would wait for an accelerator if the tensors were there, by module."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.by_module = Counter()
        tolist = torch.Tensor.tolist

        def counted(tensor):
            self._count()
            return tolist(tensor)

        monkeypatch.setattr(torch.Tensor, "tolist", counted)
        for module in "prescreen.predictions", "prescreen.readouts.projections":
            monkeypatch.setattr(f"{module}.is_far", lambda tensor: True)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket
        waits = (torch.ops.aten._local_scalar_dense, torch.ops.aten.equal, torch.ops.aten.nonzero)
        if name in waits:
            self._count()
        return func(*args, **(kwargs or {}))

    def _count(self):
        frame = sys._getframe(1)
        while not frame.f_globals["__name__"].startswith("prescreen."):
            frame = frame.f_back
        self.by_module[frame.f_globals["__name__"]] += 1


def network():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).train()


def looks_of(monkeypatch, work):
    # Beside other threads, draws of a model are looked for in another way.
    monkeypatch.setattr("threading.active_count", lambda: 1)
    with monkeypatch.context() as patched, Looks(patched) as looks:
        work()
    return {k: v for k, v in looks.by_module.items() if k not in ON_THE_HOST}


@pytest.mark.parametrize("panel", [DEFAULT_PANEL, CHECKPOINT_PANEL])
@pytest.mark.parametrize("batch_statistics", [True, False])
def test_a_reading_waits_for_each_capture_and_for_the_values(monkeypatch, panel, batch_statistics):
    model, probe = network(), Probe(IMAGES, panel, batch_statistics=batch_statistics)
    probe.read_untrained(model)
    probe.read(model, 1)
    found = looks_of(monkeypatch, lambda: probe.read(model, 2))
    # The head and the view: their checks, and whether buffers have changed. All values together.
    checks = {"prescreen.captured": 2, "prescreen.heads.values": 2}
    assert found == {**checks, "prescreen.readouts.readout": 1}


def test_replicates_leave_together(monkeypatch):
    probe, taken = Probe(IMAGES, (*CHECKPOINT_PANEL, "entropy", "expected_agreement")), {}
    for step in (1, 2):
        probe.read(network(), step, lambda subjects: taken.update(subjects[""]))
    found = looks_of(monkeypatch, lambda: replicates(probe.readouts, taken, len(IMAGES)))
    assert found == {"prescreen.readouts.readout": 1}


def test_a_forward_pass_of_training_is_waited_for_twice(monkeypatch):
    model, probe = network(), TrainingProbe(["entropy", "margin", "confidence"])

    def work():
        with probe.watching(model, 1):
            model(IMAGES)

    found = looks_of(monkeypatch, work)
    assert found == {"prescreen.captured": 1, "prescreen.readouts.readout": 1}
