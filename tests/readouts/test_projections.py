"""Readouts by blocks and at extreme logits; the identities between them."""

from __future__ import annotations

import math

import oracle
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import prescreen.predictions
from prescreen.captured import Capture
from prescreen.predictions import Logits
from prescreen.readouts import ANCHORS, PROJECTIONS, compose, get_readout, teacher

LINKS = ["softmax", "sigmoid", "identity"]


# --- blocks and forms -----------------------------------------------------------------------------


def readings(capture):
    """Every value and per-sample value that can be read from a capture."""
    values = []
    for point in oracle.points(capture.link, ["none"]):
        readout = get_readout(point)
        values.append(readout(capture))
        if point.split("/")[1] in oracle.MEANS:
            values += readout.per_sample(capture).tolist()
    # A dense anchor is cut into the same blocks as the predictions.
    anchor = teacher(make_teacher(capture))
    other = Logits(capture.logits.flip(0) / 2, capture.link)
    for name in PROJECTIONS:
        if capture.link != "identity" or name not in oracle.NOT_FOR_IDENTITY:
            values.append(compose(anchor, name)(capture))
            values.append(get_readout(f"view/{name}/none")(capture, other))
    return values


def make_teacher(capture):
    q = capture.logits.flip(0) / 2
    return {"softmax": q.softmax(1), "sigmoid": q.sigmoid(), "identity": q}[capture.link]


BLOCK_SHAPES = [(4, 20, 30), (40, 3, 4), (12, 5, 2), (9, 1, 7)]
BLOCK_CASES = [(shape, link) for shape in BLOCK_SHAPES for link in LINKS]


@pytest.mark.parametrize(("shape", "link"), [*BLOCK_CASES, ((12, 5, 1), "sigmoid")], ids=str)
def test_tiny_blocks_equal_one_block(make_capture, monkeypatch, shape, link):
    values = {}
    for size in (1, 7, 1 << 40):
        monkeypatch.setattr(prescreen.predictions, "BLOCK_ELEMENTS", size)
        values[size] = readings(make_capture(*shape, link))
    assert values[1] == pytest.approx(values[1 << 40], rel=1e-9, abs=1e-12)
    assert values[7] == pytest.approx(values[1 << 40], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("shape", [(3, 60, 50), (200, 4, 6)], ids=["Gram form", "direct form"])
def test_both_forms_of_the_batch_gradient_equal_its_definition(make_capture, shape, link):
    capture = make_capture(*shape, link)
    z = capture.features
    for point in oracle.points(link, ["none"]):
        anchor, projection, _ = point.split("/")
        if projection not in ("batch_gradient", "centred_batch_gradient"):
            continue
        q = torch.from_numpy(oracle.ANCHORS[anchor](oracle.Head.of(capture)))
        r = capture.predictions() - q
        features = z - z.mean(0) if projection.startswith("centred") else z
        definition = torch.linalg.matrix_norm(r.T @ features).item() / len(z)
        assert get_readout(point)(capture) == pytest.approx(definition, rel=1e-9), point


@pytest.mark.parametrize(("n", "d", "k"), [(4, 200, 100), (100, 10, 20), (50, 100, 30)])
def test_the_cheaper_form_is_taken(make_capture, n, d, k):
    capture = make_capture(n, d, k)
    with FlopCounterMode(display=False) as counter:
        get_readout("pseudo/batch_gradient/none")(capture)
    assert 0 < counter.get_total_flops() <= 2 * min(n * n * (k + d), n * k * d)


# --- extreme logits -------------------------------------------------------------------------------

# Where predictions equal the anchor, R is zero: the direction of a zero gradient is undefined.
UNDEFINED_AT_ZERO_RESIDUAL = {"gwa"}
UNDEFINED_WITHOUT_CURVATURE = {"curvature_rank"}


def steep(make_capture, link, dtype, size):
    """A random capture whose largest logit is `size`."""
    capture = make_capture(12, 5, 4, link, bias=False, dtype=dtype)
    w = capture.weight * (size / capture.logits.abs().max())
    return Capture(capture.features, capture.features @ w.T, w, None, link)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("link", LINKS)
def test_logits_of_ten_thousand_read_finite(make_capture, link, dtype):
    capture = steep(make_capture, link, dtype, 1e4)
    values = {p: get_readout(p)(capture) for p in oracle.points(link)}
    bad = {point: value for point, value in values.items() if not math.isfinite(value)}
    undefined = UNDEFINED_AT_ZERO_RESIDUAL | UNDEFINED_WITHOUT_CURVATURE
    assert {p for p in bad if p.split("/")[1] not in undefined} == set()


@pytest.mark.parametrize("size", [30, 100])
@pytest.mark.parametrize("link", LINKS)
def test_float32_follows_float64_where_predictions_saturate(make_capture, link, size):
    single = steep(make_capture, link, torch.float32, size)
    tensors = (single.features, single.logits, single.weight)
    double = Capture(*(t.double() for t in tensors), None, link)
    for point in oracle.points(link, ["none"]):
        if point.split("/")[1] not in UNDEFINED_AT_ZERO_RESIDUAL:
            exact = get_readout(point)(double)
            assert get_readout(point)(single) == pytest.approx(exact, rel=1e-3, abs=1e-6), point


def test_features_with_a_large_common_offset_keep_their_batch_gradient(make_capture):
    """As after a ReLU: the Gram form then sums large terms that cancel."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(64, 512, generator=generator, dtype=torch.float64).abs() + 3
    w = 0.01 * torch.randn(300, 512, generator=generator, dtype=torch.float64)
    double = Capture(
        z.float().double(), z.float().double() @ w.float().double().T, w.float().double()
    )
    single = Capture(z.float(), double.logits.float(), w.float())
    for point in ("prior/batch_gradient/none", "prior/centred_batch_gradient/none"):
        assert get_readout(point)(single) == pytest.approx(get_readout(point)(double), rel=1e-3)


def test_dispersion_of_a_single_predicted_class_is_minus_infinity(make_capture):
    capture = make_capture()
    b = capture.bias + torch.tensor([0.0, 100.0, 0.0, 0.0])
    single = Capture(capture.features, capture.logits - capture.bias + b, capture.weight, b)
    assert get_readout("dispersion")(single) == -math.inf


@pytest.mark.parametrize("phi", [4.5, 5.5])
def test_mano_changes_its_normalization_at_an_uncertainty_of_five(make_capture, phi):
    capture = make_capture(bias=False)
    below, above = 1.0, 30.0
    while above - below > 1e-6:  # Φ grows with the logits
        scale = (below + above) / 2
        mean_log = (scale * capture.logits).log_softmax(1).mean().item()
        below, above = (scale, above) if -mean_log < phi else (below, scale)
    w = below * capture.weight
    steep = Capture(capture.features, capture.features @ w.T, w)
    assert get_readout("mano")(steep) == pytest.approx(oracle.mano(oracle.Head.of(steep)), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_probability_of_exactly_one_half_is_no_random_label(make_capture, dtype):
    capture = make_capture(k=2, bias=False, dtype=dtype)
    even = Capture(capture.features, 0 * capture.logits, 0 * capture.weight)
    assert ANCHORS["gd_score"](even).tolist() == [0] * 12


# --- identities -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 5, 4), (4, 9, 8), (10, 3, 2)], ids=str)
def test_entropy_is_what_is_missing_from_the_divergence_from_uniform(make_capture, shape):
    capture = make_capture(*shape)
    entropy = get_readout("entropy").per_sample(capture)
    divergence = get_readout("uniform/divergence/none").per_sample(capture)
    assert torch.allclose(entropy, math.log(shape[2]) - divergence, rtol=1e-12)


@pytest.mark.parametrize("shape", [(12, 5, 4), (4, 9, 8), (10, 3, 2)], ids=str)
def test_confidence_is_the_largest_distance_from_the_pseudo_label(make_capture, shape):
    capture = make_capture(*shape)
    confidence = get_readout("confidence").per_sample(capture)
    pseudo = torch.nn.functional.one_hot(capture.logits.argmax(1), shape[2])
    distance = (capture.predictions() - pseudo).abs().amax(1)
    assert torch.allclose(confidence, 1 - distance, rtol=1e-12)


def test_confidence_entropy_and_margin_of_two_classes_are_one_quantity(make_capture):
    capture = make_capture(k=2)
    p = get_readout("confidence").per_sample(capture)
    assert torch.allclose(get_readout("margin").per_sample(capture), 2 * p - 1, rtol=1e-12)
    entropy = -(p * p.log() + (1 - p) * (1 - p).log())
    assert torch.allclose(get_readout("entropy").per_sample(capture), entropy, rtol=1e-9)


def test_fisher_trace_is_the_variance_of_a_draw_weighted_by_features(make_capture):
    capture = make_capture()
    variance = 1 - capture.predictions().square().sum(1)
    squares = capture.features.square().sum(1)
    read = get_readout("fisher_trace").per_sample(capture)
    assert torch.allclose(read, variance * squares / squares.mean(), rtol=1e-12)


def test_covariance_gradient_is_the_norm_of_the_covariance_of_predictions_and_features(
    make_capture,
):
    capture = make_capture()
    joint = torch.cat([capture.predictions(), capture.features], dim=1).T
    covariance = torch.cov(joint, correction=0)[:4, 4:]
    spread = capture.features.var(dim=0, correction=0).sum().sqrt()
    read = get_readout("covariance_gradient")(capture)
    assert read == pytest.approx((covariance.norm() / spread).item(), rel=1e-9)


def test_a_sigmoid_head_of_one_class_reads_as_a_softmax_head_of_two(make_capture):
    one = make_capture(k=1, link="sigmoid")
    two = Capture(
        one.features,
        torch.cat([torch.zeros_like(one.logits), one.logits], dim=1),
        torch.cat([torch.zeros_like(one.weight), one.weight]),
        torch.cat([torch.zeros_like(one.bias), one.bias]),
    )
    for name in ("entropy", "confidence", "margin", "mutual_information", "energy", "mde"):
        assert get_readout(name)(one) == pytest.approx(get_readout(name)(two), rel=1e-12), name
    point = "uniform/divergence/none"
    assert get_readout(point)(one) == pytest.approx(get_readout(point)(two), rel=1e-12)
