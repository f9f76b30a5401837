"""The value expected after half as much training again."""

import math

import pytest
import torch
from torch import nn

from prescreen.extrapolation import extrapolated
from prescreen.panel import DEFAULT_PANEL
from prescreen.probe import Probe
from prescreen.readouts import get_readout

INPUTS = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 4))


@pytest.mark.parametrize("slope", [-0.3, 0.0, 0.7])
@pytest.mark.parametrize("steps", [(1, 2, 4, 8), (3, 5, 6, 11, 12), (0, 1, 100), (25, 50, 75, 100)])
def test_a_line_in_log_steps_goes_on(slope, steps):
    """Exact whatever the steps of the readings are; step 0 is not on the line."""
    curve = [(step, 0.2 + slope * math.log(step) if step else 9.0) for step in steps]
    assert extrapolated(curve) == pytest.approx(0.2 + slope * math.log(1.5 * steps[-1]))


@pytest.mark.parametrize(
    "curve", [[(5, 0.3)], [(0, 0.1), (5, 0.3)], [(3, 0.1), (5, 0.3)], [(1, math.nan), (5, 0.3)]]
)
def test_without_a_reading_at_half_of_the_steps_it_is_the_value_itself(curve):
    assert extrapolated(curve) == 0.3


def test_between_readings_half_of_the_steps_is_interpolated():
    at_half = 0.1 + (0.5 - 0.1) * math.log(3 / 2) / math.log(6 / 2)
    assert extrapolated([(2, 0.1), (6, 0.5)]) == pytest.approx(
        0.5 + (0.5 - at_half) * math.log2(1.5)
    )


def test_it_stays_undefined():
    assert math.isnan(extrapolated([(1, 0.2), (2, math.nan)]))


@pytest.mark.parametrize("name", ["confidence", "expected_agreement", "prior/gradient/feature"])
def test_a_probe_extrapolates_what_it_read(name):
    probe = Probe(INPUTS, [name, f"ahead/{name}"])
    curve = []
    for step in (1, 2, 4, 5):
        values = probe.read(network(step), step).values
        curve.append((step, values[name]))
        assert values[f"ahead/{name}"] == extrapolated(curve)
    assert extrapolated(curve) != curve[-1][1]


def test_a_step_back_forgets_what_came_later():
    probe, fresh = (Probe(INPUTS, ["ahead/confidence"]) for _ in range(2))
    probe.read(network(1), 2)
    probe.read(network(2), 8)
    fresh.read(network(1), 2)
    assert probe.read(network(3), 4) == fresh.read(network(3), 4)


def test_what_is_known_before_training_has_nothing_ahead():
    with pytest.raises(
        ValueError, match=r"^`readouts` must name .* after ahead/, got 'ahead/flops'$"
    ):
        get_readout("ahead/flops")
    assert get_readout(DEFAULT_PANEL[0]).ahead
