"""The comparisons of checkpoint selection against values computed by hand."""

import math

import pytest
import torch
from torch import nn

from benchmarks.baselines import checkpoints
from benchmarks.baselines.test_baselines import approx, images, linear
from prescreen.captured import Capture
from prescreen.readouts import compose, labels

# Logits (0, log 3) give p = (1/4, 3/4); with label 0 the residual is (-3/4, 3/4), of norm 3/√8.
FEATURES, LOGITS = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, math.log(3)]])


def test_alignment_of_one_sample_by_hand():
    weight = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    # Wz = (3, 8): -<g, W> = -(-3/4 · 3 + 3/4 · 8) = -15/4; the norms are 3/√8 · 5 and √5.
    expected = -15 / 4 / (3 / math.sqrt(8) * 5 * math.sqrt(5))
    gamma = checkpoints.alignments(FEATURES, LOGITS, weight, torch.tensor([0]))
    assert gamma.tolist() == approx([expected])
    certain = torch.tensor([[200.0, 0.0]])
    assert checkpoints.alignments(FEATURES, certain, weight, torch.tensor([0])).tolist() == [0.0]


def test_gwa_by_hand():
    # Mean 1/2, deviations ±1/2: variance 1/4, fourth moment 1/16, excess kurtosis 1 - 3.
    assert checkpoints.gwa(torch.tensor([0.0, 1.0])) == approx(0.5 / (-2 + 1.2))


def test_gwa_with_labels_is_the_readout_with_labels():
    features, weight, bias = torch.randn(30, 5), torch.randn(4, 5), torch.randn(4)
    taken = Capture(features, features @ weight.T + bias, weight, bias, "softmax")
    y = torch.arange(30) % taken.num_classes
    gammas = checkpoints.alignments(taken.features, taken.logits, taken.weight, y)
    expected = compose(labels(y), "gwa")(taken)
    assert checkpoints.gwa(gammas) == approx(expected)


def test_prediction_changes_are_a_share_of_what_was_predicted_twice():
    before, after = torch.tensor([-1, 2, 3, 1, 0]), torch.tensor([4, 2, 1, 1, 0])
    assert checkpoints.prediction_changes(before, after) == 1 / 4
    assert math.isnan(checkpoints.prediction_changes(before[:1], after[:1]))


def test_label_wave_stops_at_the_first_local_minimum():
    changes = [math.nan, 9, 6, 3, 0, 6, 0, 0, 0]
    # Means of three: nan nan nan 6 3 3 2 2 0: no rise.
    assert checkpoints.label_wave(changes) == 8
    # Means of two: nan nan 7.5 4.5 1.5 3: the first rise comes after index 4.
    assert checkpoints.label_wave(changes, window=2) == 4


def test_gradient_disparity_by_hand():
    # Logits (1, 0) and (0, 0): p of class 0 is e / (1 + e) and 1/2.
    model = nn.Sequential(nn.Flatten(), linear([[1, 0], [0, 0]]))
    pair, zeros = images([1, 0], [0, 1]), torch.tensor([0, 0])
    batches = [(pair, zeros), (pair, 1 - zeros)]
    p = math.e / (1 + math.e)
    # Losses of label 0 are -log p and log 2, of label 1 -log(1 - p) and log 2. The mean gradient of
    # the first row of W is (p - y, 1/2 - y) / 2, of the second its negative.
    low = abs(math.log(2) + math.log(p)) / 2
    high = abs(math.log(2) + math.log(1 - p)) / 2
    first = [(p - 1) / 2 / low, -1 / 4 / low]
    second = [p / 2 / high, 1 / 4 / high]
    expected = math.sqrt(2) * math.dist(first, second)
    assert checkpoints.gradient_disparity(model, batches) == approx(expected)
    with pytest.raises(ValueError, match="`batches` must be at least 2, got 1"):
        checkpoints.gradient_disparity(model, batches[:1])


def test_evidence_by_hand():
    # Gradients of W's first row for labels 0 and 1 at p = (1/2, 1/2): -z/2 and z/2.
    z, y = torch.tensor([[1.0], [3.0], [2.0]]), torch.tensor([0, 1, 1])
    gradients = torch.tensor([-0.5, 1.5, 1.0]).double()
    expected = 1 - 3 * (gradients.mean() ** 2 / gradients.var()).item()
    assert checkpoints.evidence(z, torch.zeros(3, 2), y) == approx(expected)
    dead = torch.cat([z, torch.zeros_like(z)], 1)
    assert checkpoints.evidence(dead, torch.zeros(3, 2), y) == approx(expected)


def test_a_criterion_stops_where_it_is_first_positive():
    assert checkpoints.first_positive([math.nan, -1.0, 0.0, 0.1, -3.0, 2.0]) == 3
    assert checkpoints.first_positive([-1.0, -2.0]) == 1
