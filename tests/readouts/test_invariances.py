"""Transformations that must not change readouts, over the whole grid; exceptions are listed."""

from __future__ import annotations

import math
from collections import defaultdict

import oracle
import pytest
import torch
from torch.nn import functional as F

from prescreen.captured import Capture
from prescreen.readouts import NORMALIZATIONS, PROJECTIONS, compose, get_readout, labels

LINKS = ["softmax", "sigmoid", "identity"]

# Parts of a grid point that a transformation does change.
SAMPLE_ORDER = {"gd_score": "its random labels belong to positions in the batch"}
CLASS_ORDER = {"gd_score": "its random labels are class indices"}
ROTATION = {
    "ood_gradient": "‖z‖₁ depends on the axes",
    "quasinorm_batch_gradient": "so does the sum over single entries",
}
LOGIT_SHIFT = {
    "energy": "it is the level of the logits",
    "mano": "its quadratic is taken of the logits, not of predictions",
}
DUPLICATION = {
    "gd_score": "the copies draw other random labels",
    "mde": "it gains log 2 within the logarithm, see below",
}

# Powers of c by which a part grows if features are multiplied by c and the weight is divided by c.
FEATURE_SCALE = {
    "gradient": 1,
    "batch_gradient": 1,
    "centred_batch_gradient": 1,
    "quasinorm_batch_gradient": 1,
    "ood_gradient": 1,
    "curvature_trace": 2,
    "curvature_largest": 2,
    "head": -1,
    "feature": 1,
    "centred_feature": 1,
}
# Likewise if the weight and bias of an identity head are multiplied by c.
HEAD_SCALE = {
    "gradient": 1,
    "batch_gradient": 1,
    "centred_batch_gradient": 1,
    "quasinorm_batch_gradient": 1,
    "ood_gradient": 1,
    "sharpness": 2,
    "sharpness_second_order": 2,
    "head": 1,
    "both": 1,
}


def rebuilt(capture, features=None, weight=None, bias=None):
    """The capture with other features, weight or bias, and the logits that follow from them."""
    z = capture.features if features is None else features
    w = capture.weight if weight is None else weight
    b = capture.bias if bias is None else bias
    return Capture(z, F.linear(z, w, b), w, b, capture.link)


def changes(capture, other, factor=lambda point: 1.0):
    """Points whose value on `other` is not `factor` times that on `capture`."""
    values = {point: get_readout(point)(capture) for point in oracle.points(capture.link)}
    return {
        point: (value, get_readout(point)(other))
        for point, value in values.items()
        if get_readout(point)(other) != pytest.approx(factor(point) * value, rel=1e-8, abs=1e-10)
    }


def check_only_exceptions_change(capture, other, exceptions):
    """All other points keep their value; an exception whose value does not change is outdated."""
    by_part = defaultdict(dict)
    for point, values in changes(capture, other).items():
        parts = [part for part in point.split("/") if part in exceptions]
        by_part[parts[0] if parts else "unexpected"][point] = values
    assert by_part.pop("unexpected", {}) == {}
    defined = {part for point in oracle.points(capture.link) for part in point.split("/")}
    assert set(by_part) == set(exceptions) & defined


@pytest.fixture(params=LINKS)
def capture(request, make_capture):
    return make_capture(12, 5, 4, request.param)


def test_sample_order(capture):
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    other = rebuilt(capture, features=capture.features[order])
    check_only_exceptions_change(capture, other, SAMPLE_ORDER)
    for point in oracle.points(capture.link, ["none"]):
        anchor, projection, _ = point.split("/")
        if projection in oracle.MEANS and anchor not in SAMPLE_ORDER:
            values = get_readout(point).per_sample(capture)[order]
            assert get_readout(point).per_sample(other).tolist() == pytest.approx(values.tolist())


def reordered(capture):
    order = torch.tensor([2, 0, 3, 1])
    return rebuilt(capture, weight=capture.weight[order], bias=capture.bias[order])


def test_class_order(capture):
    check_only_exceptions_change(capture, reordered(capture), CLASS_ORDER)


@pytest.mark.parametrize("n", [11, 3])
def test_class_order_where_classes_do_not_divide_the_samples(make_capture, n):
    capture = make_capture(n, 5, 4)
    cot = get_readout("cot")
    assert cot(reordered(capture)) == pytest.approx(cot(capture))


def test_joint_rotation_of_features_and_weight(capture):
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(matrix).Q
    other = rebuilt(capture, capture.features @ rotation, capture.weight @ rotation)
    check_only_exceptions_change(capture, other, ROTATION)


def test_a_constant_added_to_every_logit(make_capture):
    capture = make_capture()
    check_only_exceptions_change(capture, rebuilt(capture, bias=capture.bias + 1.5), LOGIT_SHIFT)


def degree(powers, point):
    _, projection, normalization = point.split("/")
    degree = oracle.DEGREES.get(projection, 1)
    return powers.get(projection, 0) - degree * powers.get(normalization, 0)


@pytest.mark.parametrize("c", [0.1, 7.0])
def test_feature_scale_at_equal_logits(capture, c):
    other = rebuilt(capture, c * capture.features, capture.weight / c)
    changed = changes(capture, other, lambda point: c ** degree(FEATURE_SCALE, point))
    assert [point for point in changed if "/dispersion/" not in point] == []


@pytest.mark.parametrize("projection", ["gradient", "batch_gradient", "centred_batch_gradient"])
@pytest.mark.parametrize("normalization", ["feature", "centred_feature"])
def test_feature_normalizations_make_gradients_independent_of_feature_scale(
    projection, normalization
):
    assert degree(FEATURE_SCALE, f"prior/{projection}/{normalization}") == 0


def test_dispersion_is_the_logarithm_of_a_squared_length(make_capture):
    capture = make_capture()
    other = rebuilt(capture, 3 * capture.features, capture.weight / 3)
    dispersion = get_readout("dispersion")
    assert dispersion(other) == pytest.approx(dispersion(capture) + 2 * math.log(3))


@pytest.mark.parametrize("c", [0.1, 7.0])
def test_head_scale_of_an_identity_head(make_capture, c):
    capture = make_capture(link="identity")
    other = rebuilt(capture, weight=c * capture.weight, bias=c * capture.bias)
    assert changes(capture, other, lambda point: c ** degree(HEAD_SCALE, point)) == {}
    y = torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for projection in PROJECTIONS.keys() - oracle.NOT_FOR_IDENTITY:
        factor = c ** HEAD_SCALE.get(projection, 0)
        value = compose(labels(y), projection)(capture)
        assert compose(labels(c * y), projection)(other) == pytest.approx(factor * value), (
            projection
        )


def test_duplicating_the_batch(capture):
    # Four classes divide twelve samples: where they do not, the counts of cot are rounded anew.
    other = rebuilt(capture, features=capture.features.repeat(2, 1))
    check_only_exceptions_change(capture, other, DUPLICATION)
    if capture.link == "identity":
        return
    mde = get_readout("mde")
    assert mde(other) == pytest.approx(math.log(math.exp(mde(capture)) + math.log(2)))


def without_information(capture):
    """The same head with zero weight and bias: every prediction is uniform."""
    return rebuilt(capture, weight=0 * capture.weight, bias=0 * capture.bias)


def certain(capture):
    """The same head, so steep that every prediction is one-hot."""
    return rebuilt(capture, weight=1e5 * capture.weight, bias=1e5 * capture.bias)


@pytest.mark.parametrize("shape", [(12, 5, 2), (12, 5, 4), (3, 2, 8)], ids=str)
@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_entropies_lie_between_zero_and_that_of_uniform_predictions(make_capture, link, shape):
    capture = make_capture(*shape, link)
    largest = math.log(shape[2]) if link == "softmax" else shape[2] * math.log(2)
    entropy, divergence, information = (
        lambda one, point=point: get_readout(point)(one) / largest
        for point in ("none/entropy/none", "uniform/divergence/none", "prior/divergence/none")
    )
    for readout in (entropy, divergence, information):
        assert 0 < readout(capture) < 1
    assert entropy(capture) + divergence(capture) == pytest.approx(1)
    assert entropy(without_information(capture)) == pytest.approx(1)
    assert divergence(without_information(capture)) == pytest.approx(0, abs=1e-12)
    assert entropy(certain(capture)) == pytest.approx(0, abs=1e-12)
    assert divergence(certain(capture)) == pytest.approx(1)
    assert information(without_information(capture)) == pytest.approx(0, abs=1e-12)
    assert information(certain(capture)) <= 1 + 1e-12


def test_certain_predictions_that_cover_the_classes_reach_every_bound():
    z = torch.eye(4, dtype=torch.float64).repeat(3, 1)
    capture = Capture(z, 1e3 * z, 1e3 * torch.eye(4, dtype=torch.float64))
    assert get_readout("mutual_information")(capture) == pytest.approx(math.log(4))
    assert get_readout("nuclear")(capture) == pytest.approx(1)
    assert get_readout("softmax_corr")(capture) == pytest.approx(1)
    assert get_readout("rankme")(capture) == pytest.approx(4)
    assert get_readout("cot")(capture) == pytest.approx(0, abs=1e-12)


def test_normalizations_are_numbers_of_the_capture(capture):
    for name, normalization in NORMALIZATIONS.items():
        expected = oracle.NORMALIZATIONS[name](oracle.Head.of(capture))
        assert normalization(capture) == pytest.approx(expected, rel=1e-12)
