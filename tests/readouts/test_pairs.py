"""Readouts that compare looks at one network, against their definitions and at their bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import prescreen.predictions
from prescreen.predictions import Logits
from prescreen.readouts import READOUTS, get_readout
from prescreen.readouts.mixtures import generalised_divergence, mixture_information

LINKS = ["softmax", "sigmoid"]
STABILITY = ["expected_agreement", "averaged_information", "generalised_divergence"]


def entropy(p, link):
    """Of every row, in nats."""
    p = p if link == "softmax" else np.stack([p, 1 - p])
    total = -(p * np.log(p)).sum(-1)
    return total if link == "softmax" else total.sum(0)


def kullback(p, q, link):
    """Of every row, in nats."""
    if link == "sigmoid":
        p, q = np.stack([p, 1 - p]), np.stack([q, 1 - q])
    total = (p * np.log(p / q)).sum(-1)
    return total if link == "softmax" else total.sum(0)


@pytest.fixture(params=LINKS)
def looks(request, make_capture):
    """A network's capture, that of another view and the predictions of the reading before."""
    head, view, before = (make_capture(link=request.param, seed=seed) for seed in (0, 5, 6))
    return head, view, Logits(before.logits, before.link)


def test_values_are_those_of_the_definitions(looks):
    link = looks[0].link
    p, q, r = (one.predictions().numpy() for one in looks)
    agreement = p * q if link == "softmax" else p * q + (1 - p) * (1 - q)
    expected = {"expected_agreement": agreement.sum(1) / (1 if link == "softmax" else 4)}
    mean = (p + q) / 2
    expected["averaged_information"] = kullback(mean, mean.mean(0, keepdims=True), link)
    middle = (p + q + r) / 3
    expected["generalised_divergence"] = sum(kullback(one, middle, link) for one in (p, q, r)) / 3
    for name, values in expected.items():
        readout = READOUTS[name]
        subjects = looks[: len(readout.needs)]
        assert readout(*subjects) == pytest.approx(values.mean(), rel=1e-10), name
        assert readout.per_sample(*subjects).tolist() == pytest.approx(values.tolist()), name


def test_outputs_without_a_link_agree_in_what_varies_in_both_views(make_capture):
    """Their covariance, summed over outputs: the variance of one view if it is the other one too."""
    head, view = (make_capture(link="identity", seed=seed) for seed in (0, 5))
    a, b = head.logits.double().numpy(), view.logits.double().numpy()
    expected = sum(np.cov(a[:, k], b[:, k], bias=True)[0, 1] for k in range(a.shape[1]))
    assert READOUTS["expected_agreement"](head, view) == pytest.approx(expected)
    assert READOUTS["expected_agreement"](head, head) == pytest.approx(a.var(axis=0).sum())


def test_a_point_of_the_grid(looks):
    head, view, _ = looks
    assert READOUTS["expected_agreement"](head, view) == get_readout("view/agreement/none")(
        head, view
    )
    two = generalised_divergence([head, view])
    assert torch.allclose(two, get_readout("view/jensen_shannon/none").per_sample(head, view))


def test_order_does_not_matter(looks):
    head, view, before = looks
    for function in (generalised_divergence, mixture_information):
        assert torch.allclose(function([head, view, before]), function([before, head, view]))


def test_equal_looks_agree_as_far_as_they_are_confident(looks):
    head, _, _ = looks
    assert READOUTS["generalised_divergence"](head, head, head) == pytest.approx(0, abs=1e-12)
    alone = READOUTS["mutual_information"](head)
    assert READOUTS["averaged_information"](head, head) == pytest.approx(alone)
    p = head.predictions()
    same = p.square() if head.link == "softmax" else p.square() + (1 - p).square()
    same = same.sum(1) / (1 if head.link == "softmax" else 4)
    assert READOUTS["expected_agreement"](head, head) == pytest.approx(same.mean().item())


def test_averaging_loses_what_the_views_do_not_share(looks):
    """The information of the mean is at most the mean of the information, by convexity."""
    head, view, _ = looks
    alone = (READOUTS["mutual_information"](one) for one in (head, view))
    assert READOUTS["averaged_information"](head, view) < sum(alone) / 2


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_certain_looks_that_contradict_each_other_reach_the_bound(link, count):
    steep = 1e4 * (2 * torch.eye(count) - 1)
    members = [Logits(steep.roll(i, 0), link) for i in range(count)]
    bound = math.log(count)
    if link == "sigmoid":
        share = 1 / count
        one = -share * math.log(share) - (1 - share) * math.log(1 - share)
        bound = count * one
    assert generalised_divergence(members).tolist() == pytest.approx([bound] * count)


def test_tiny_blocks_equal_one_block(looks, monkeypatch):
    values = {}
    for size in (1, 7, 1 << 40):
        monkeypatch.setattr(prescreen.predictions, "BLOCK_ELEMENTS", size)
        values[size] = [READOUTS[n](*looks[: len(READOUTS[n].needs)]) for n in STABILITY]
    assert values[1] == pytest.approx(values[1 << 40], rel=1e-12)
    assert values[7] == pytest.approx(values[1 << 40], rel=1e-12)


@pytest.mark.parametrize("name", STABILITY[1:])
def test_identity_links_have_no_distributions(make_capture, name):
    head = make_capture(link="identity")
    with pytest.raises(
        ValueError, match=r"^`link` must be softmax or sigmoid for .*, got 'identity'$"
    ):
        READOUTS[name](*[head] * len(READOUTS[name].needs))


@pytest.mark.parametrize("name", STABILITY)
def test_looks_at_other_samples_are_refused(make_capture, name):
    head, other = make_capture(), make_capture(n=9)
    with pytest.raises(ValueError, match=r"^`view` must hold the same samples and classes"):
        READOUTS[name](head, *[other] * (len(READOUTS[name].needs) - 1))
