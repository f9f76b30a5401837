"""Curvature of the head against the Hessian by autograd, and the iteration for its largest value."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pytest
import torch
from torch.nn import functional as F

from prescreen.captured import Capture
from prescreen.readouts import NORMALIZATIONS, READOUTS, get_readout
from prescreen.readouts.linear_algebra import largest_eigenvalue

LINKS = ["softmax", "sigmoid", "identity"]
SHAPES = [(12, 5, 4), (4, 9, 7), (10, 3, 2), (40, 8, 6)]
LOSSES = {
    "softmax": lambda a: F.cross_entropy(a, torch.arange(len(a)) % a.shape[1]),
    "sigmoid": lambda a: (
        F.binary_cross_entropy_with_logits(a, (a.detach() > 1).double(), reduction="none")
        .sum(1)
        .mean()
    ),
    "identity": lambda a: (a - 1).square().sum(1).mean() / 2,
}


def loss(capture, weight):
    """The mean loss for some labels, which do not matter here."""
    logits = F.linear(capture.features, weight.reshape(capture.weight.shape), capture.bias)
    return LOSSES[capture.link](logits)


def hessian(capture):
    return torch.autograd.functional.hessian(
        lambda weight: loss(capture, weight), capture.weight.flatten()
    )


def by_autograd(capture):
    values = torch.linalg.eigvalsh(hessian(capture))
    largest, size = values[-1].item(), capture.weight.norm().item()
    return {
        "curvature_trace": values.sum().item(),
        "curvature_largest": largest,
        "curvature_rank": (values.sum().square() / values.square().sum()).item(),
        "sharpness_second_order": 0.5 * (0.1 * size) ** 2 * largest,
    }


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("link", LINKS)
def test_every_readout_under_every_normalization_is_that_of_the_hessian(make_capture, link, shape):
    capture = make_capture(*shape, link)
    for name, expected in by_autograd(capture).items():
        assert READOUTS[name](capture) == pytest.approx(expected, rel=1e-8), name
        for normalization, scale in NORMALIZATIONS.items():
            value = get_readout(f"none/{name}/{normalization}")(capture)
            divisor = scale(capture) ** oracle.DEGREES[name]
            assert value == pytest.approx(expected / divisor, rel=1e-8), (name, normalization)


@pytest.mark.parametrize("link", LINKS)
def test_no_step_within_the_radius_changes_the_loss_more(make_capture, link):
    """To first and second order: the best step reaches the value, random ones stay below."""
    capture = make_capture(link=link, bias=False)
    weight = capture.weight.flatten()
    radius, curvature = 0.1 * weight.norm(), hessian(capture)
    generator = torch.Generator().manual_seed(1)
    steps = torch.randn(200, len(weight), generator=generator, dtype=torch.float64)
    steps = radius * F.normalize(steps)
    second = READOUTS["sharpness_second_order"](capture)
    assert (((steps @ curvature) * steps).sum(1) / 2).max() <= second
    best = radius * torch.linalg.eigh(curvature).eigenvectors[:, -1]
    assert (best @ curvature @ best / 2).item() == pytest.approx(second)
    if link != "identity":
        leaf = weight.clone().requires_grad_()
        logits = F.linear(capture.features, leaf.reshape(capture.weight.shape))
        labels = capture.logits.argmax(1) if link == "softmax" else (capture.logits > 0).double()
        losses = (F.cross_entropy if link == "softmax" else F.binary_cross_entropy_with_logits)(
            logits, labels, reduction="none"
        )
        (gradient,) = torch.autograd.grad(losses.sum() / len(logits), leaf)
        first = READOUTS["sharpness_first_order"](capture)
        assert (steps @ gradient).max() <= first
        assert (radius * gradient.norm()).item() == pytest.approx(first)


def test_the_trace_over_features_squared_is_the_fisher_trace(make_capture):
    for link in LINKS:
        capture = make_capture(link=link)
        expected = READOUTS["fisher_trace"](capture)
        assert get_readout("none/curvature_trace/feature")(capture) == pytest.approx(expected)


@pytest.mark.parametrize("link", LINKS)
def test_rescaled_features_and_weights_are_one_network(make_capture, link):
    """Sharpness within a relative radius, and curvature relative to features, do not see the scale."""
    capture = make_capture(link=link)
    z, w = 3 * capture.features, capture.weight / 3
    scaled = Capture(z, capture.logits, w, capture.bias, link)
    for name in (
        *("none/curvature_trace/feature", "none/curvature_largest/feature", "curvature_rank"),
        *("sharpness_second_order", "prior/sharpness/none"),
    ):
        readout = get_readout(name)
        assert readout(scaled) == pytest.approx(readout(capture), rel=1e-9), name
    for name in ("curvature_trace", "curvature_largest"):
        assert READOUTS[name](scaled) == pytest.approx(9 * READOUTS[name](capture)), name


def test_the_rank_counts_equal_directions():
    """Uniform predictions on orthonormal features: K − 1 equal directions for each feature."""
    for k, d in ((2, 1), (5, 3), (4, 8)):
        z, weight = torch.eye(d).double().repeat(2, 1), torch.zeros(k, d).double()
        capture = Capture(z, z @ weight.T, weight)
        assert READOUTS["curvature_rank"](capture) == pytest.approx((k - 1) * d)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_certain_predictions_have_no_curvature(link):
    z, weight = torch.eye(4), 1e4 * (2 * torch.eye(4) - 1)
    capture = Capture(z, z @ weight.T, weight, None, link)
    for name in ("curvature_trace", "curvature_largest", "sharpness_second_order"):
        assert READOUTS[name](capture) == 0, name
    assert math.isnan(READOUTS["curvature_rank"](capture))


SPECTRA = {
    "a gap": np.r_[1.0, np.linspace(0, 0.9, 299)],
    "no gap": np.linspace(0, 1, 300),
    "a pair": np.r_[1.0, 1.0, np.linspace(0, 0.5, 298)],
    "a low rank": np.r_[1.0, 0.999, 0.5, np.zeros(297)],
    "equal": np.ones(300),
    "zero": np.zeros(300),
    "one": np.ones(1),
}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-5), (torch.float32, 1e-3)])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_the_largest_eigenvalue_of_any_spectrum(spectrum, dtype, rel, scale):
    values = torch.tensor(scale * SPECTRA[spectrum], dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(len(values), generator=generator, dtype=dtype)
    products = []

    def product(vector):
        products.append(vector)
        return values * vector

    found = largest_eigenvalue(product, start).item()
    assert found == pytest.approx(values.max().item(), rel=rel)
    assert found <= values.max().item() * (1 + 1e-5)
    assert len(products) <= 64
