"""What a regression is told of trials."""

import numpy as np

from prescreen.comparison import compare
from prescreen.panel import Panel
from prescreen.pruning.sources import SCORE, sources

PANEL = Panel(("head", "network", "accuracy"), (True,) * 3, (False, True, False))
READINGS = np.random.default_rng(0).normal(size=(9, 3))
NAMES = [f"a{number}" for number in range(9)]


def test_they_are_the_scores_of_rank_and_every_trained_readout():
    told = sources(PANEL, READINGS, NAMES, 5)
    assert list(told) == [SCORE, "head", "accuracy"]
    expected = compare(READINGS, (False, True, False), NAMES).scores
    np.testing.assert_array_equal(told[SCORE], expected)
    np.testing.assert_array_equal(told["accuracy"], READINGS[:, 2])


def test_before_training_no_head_says_anything():
    told = sources(PANEL, READINGS, NAMES, 0)
    assert list(told) == [SCORE]
    np.testing.assert_array_equal(told[SCORE], compare(READINGS[:, 1:2], (True,), NAMES).scores)


def test_a_panel_of_trained_readouts_has_nothing_else_at_step_0():
    told = sources(Panel(("head",), (True,)), READINGS[:, :1], NAMES, 0)
    np.testing.assert_array_equal(told[SCORE], compare(READINGS[:, :1]).scores)
