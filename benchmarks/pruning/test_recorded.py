"""The replay of recordings on made-up ones whose outcome is known."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.pruning import recorded
from prescreen import DEFAULT_PANEL

TRUTH = np.random.default_rng(0).permutation(np.linspace(80.0, 94.0, 30))


class Made:
    """A recording whose readouts are its truth; validation, if recorded, is the opposite."""

    failure, readings = "", 8

    def __init__(self, number, *, validated):
        self.number, self.truth, self.validated = number, float(TRUTH[number]), validated
        self.architecture = f"{number:016x} Conv2d Linear"

    def quarter(self, number):
        return 2 * number - 1

    def array(self, key):
        assert key == "step"
        return 50 * np.arange(1, 9)

    def value(self, name, reading):
        if name in DEFAULT_PANEL:
            return self.truth
        if not self.validated:
            raise KeyError(name)
        return -self.truth


@pytest.fixture(autouse=True)
def spaces(monkeypatch):
    def load(space, recordings, truths, *, report):
        made = [Made(number, validated=space == "darts") for number in range(30)]
        made[7].failure = "collapsed"
        return SimpleNamespace(found=made if space != "vit" else made[:2])

    monkeypatch.setattr(recorded, "load", load)


def run(monkeypatch, capsys, *options):
    command = ["recorded", "--truths", ".", "--size", "20", "--searches", "3", *options]
    monkeypatch.setattr(sys, "argv", command)
    recorded.main()
    return capsys.readouterr().out


def rows(text):
    """The first word or words of each line to its figures."""
    return {line[:30].strip(): line[30:].split() for line in text.splitlines()}


def test_what_agrees_saves_and_what_is_the_opposite_loses(monkeypatch, capsys):
    found = rows(run(monkeypatch, capsys, "--spaces", "darts").split("mean over spaces")[0])
    spent, _, regret, *_, lost = found["Improvement()"]
    assert (regret, lost) == ("0.00", "0")
    assert int(spent) < 60
    assert float(found["validation, Median(), unguarded"[:30]][-4]) > 0


def test_a_space_without_validation_has_no_such_rows_and_one_of_two_has_none(monkeypatch, capsys):
    text = run(monkeypatch, capsys, "--spaces", "darts", "timm", "vit")
    assert "darts: 29 candidates" in text
    assert "vit: 2 candidates" in text
    _, _, second = text.partition("timm: 29 candidates")
    assert "validation" not in second.partition("vit")[0]
    over = rows(second.partition("mean over spaces")[2])
    assert over["Improvement()"][0] == "2"
    assert over["validation, Improvement()"][0] == "1"


def test_measures_of_the_untrained_network_are_known_at_step_0():
    ran = [Made(number, validated=True) for number in range(3)]
    head, network = (recorded.trajectories(ran, name) for name in DEFAULT_PANEL[:2])
    assert math.isnan(head[0, 0])
    assert head.shape == network.shape == (3, 5)
    assert (network == TRUTH[:3, None]).all()
    assert not recorded.trajectories([Made(0, validated=False)], recorded.VALIDATION).size
