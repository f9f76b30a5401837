from argparse import Namespace
from itertools import islice

import pytest
import torch
from torch import nn

from benchmarks.common.results import write
from benchmarks.throughput.families import FAMILIES
from benchmarks.throughput.layouts import candidates_of, is_laid_out, measured
from benchmarks.throughput.machine import demand
from benchmarks.throughput.ordinary import Images, Loop
from benchmarks.throughput.parts import PARTS, parts_of
from benchmarks.throughput.run import table
from prescreen import Training

SMALL = Training(steps=4, batch_size=8)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_five_candidates_that_can_be_built(name):
    family = FAMILIES[name]
    candidates = family.candidates()
    assert len({candidate.name for candidate in candidates}) == 5
    size = family.image_size, family.image_size
    model = candidates[0].model(num_classes=10, in_channels=3, image_size=size)
    assert model(torch.zeros(2, 3, *size)).shape == (2, 10)


def test_the_demand_of_a_step_is_that_of_its_operations():
    model, inputs = nn.Linear(4, 8, bias=False), torch.ones(16, 4)
    flops, rest = demand(lambda: model(inputs))
    assert flops == 2 * 16 * 4 * 8
    assert rest.calls == 1  # the transposed weight is a view
    assert rest.bytes == 4 * (16 * 4 + 4 * 8 + 16 * 8)


def test_the_ordinary_loop_sees_the_images_that_ours_sees():
    family = FAMILIES["NAS-Bench-101"]
    images, labels = family.images(64)
    data = Images(images, labels)
    loop = Loop(family.candidates()[0], data, SMALL)
    batch, targets = loop.batch()
    assert batch.shape == (8, 3, 16, 16)
    assert batch.dtype == torch.float32
    ours, _ = next(islice(family.task().batches(8, 0), 1))
    assert batch.std().item() == pytest.approx(ours.std().item(), rel=0.2)
    before = [weight.clone() for weight in loop.model.parameters()]
    loop.step((batch, targets))
    assert any(not torch.equal(a, b) for a, b in zip(before, loop.model.parameters(), strict=True))


def test_the_parts_of_a_candidate_add_up():
    family = FAMILIES["NAS-Bench-101"]
    seconds = parts_of(family.candidates()[0], family.task(), SMALL)
    assert list(seconds) == [*PARTS, "rest"]
    assert min(seconds.values()) > 0


def test_ratios_are_medians_over_rounds(tmp_path, capsys):
    path = tmp_path / "throughput.csv"
    fixed = {"factor": "cpu", "cores": 2, "load": 1.0, "matmul": 1e9, "copy": 1e9, "ordinary": 10.0}
    fixed |= {"candidates": 3.0, "ours.cpu": 30.0, "ordinary.one.cpu": 20.0, "memory": 60.0}
    rows = [{"run": "a", "ours": ours, "arithmetic": 120.0, **fixed} for ours in (10.0, 20.0, 90.0)]
    write(path, rows)
    table(Namespace(out=str(path)))
    printed = capsys.readouterr().out
    assert "2.00 [1.00, 9.00]" in printed
    assert "1.50 [1.50, 1.50]" in printed
    assert "25 %" in printed
    assert "50 %" in printed


def test_layouts_are_measured_of_copies():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 10))
    assert not is_laid_out(model)
    seconds = measured(model, torch.randn(4, 3, 8, 8), rounds=2)
    assert set(seconds) == {"plain", "layout", "fused"}
    assert is_laid_out(candidates_of("nas_bench_201", 1)[0].model(num_classes=10, in_channels=3))
    assert len(candidates_of("timm", 1)) == 14
