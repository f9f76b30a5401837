"""Proxies of candidates: measured once, all of them."""

from functools import partial

from torch import nn

from benchmarks.architectures.measure import score_untrained
from benchmarks.baselines import AT_INITIALISATION
from prescreen import Candidate, load_task


def build(width, *, num_classes, in_channels):
    parts = nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.Linear(9 * width, num_classes)
    return nn.Sequential(nn.Conv2d(in_channels, width, 3, stride=2), *parts)


def test_proxies_are_measured_once(tmp_path):
    task = load_task("digits")
    candidates = [Candidate(f"w{width}", {}, partial(build, width)) for width in (2, 4)]
    found = score_untrained(task, candidates, 1, tmp_path)
    names = {key.removeprefix("untrained.").split(".")[0] for key in found["w4"]}
    assert names == {*AT_INITIALISATION, "cpu_seconds"}
    assert found["w4"]["untrained.parameters"] == 4 * 9 + 4 + 8 + 36 * 10 + 10
    assert found["w4"]["untrained.swap"] > 1
    again = score_untrained(task, candidates, 1, tmp_path)
    assert again["w2"]["untrained.cpu_seconds"] == found["w2"]["untrained.cpu_seconds"]
