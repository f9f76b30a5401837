"""Every row of the tables against the oracle, and the contract of all readouts."""

from __future__ import annotations

import math
import re

import oracle
import pytest
import torch

from prescreen.captured import Capture
from prescreen.panel import DEFAULT_PANEL
from prescreen.readouts import (
    ANCHORS,
    NORMALIZATIONS,
    PROJECTIONS,
    READOUTS,
    STATISTICS,
    Readout,
    get_readout,
)

# N < K, N > K, D < N, D > N, two classes, two samples; K divides N and does not.
SHAPES = [(12, 5, 3), (4, 9, 7), (3, 2, 8), (10, 3, 2), (2, 3, 5), (9, 4, 4)]
LINKS = ["softmax", "sigmoid", "identity"]
OF_HEAD = [name for name, readout in READOUTS.items() if readout.needs == ("head",)]
CASES = [(shape, link) for shape in SHAPES for link in LINKS]
CASES += [((6, 4, 1), "sigmoid"), ((6, 4, 1), "identity")]


@pytest.fixture(params=CASES, ids=str)
def case(request, make_capture):
    """A float64 capture and its oracle; only shapes whose N is a multiple of 4 have a bias."""
    (n, d, k), link = request.param
    capture = make_capture(n, d, k, link, bias=n % 4 == 0)
    return capture, oracle.Head.of(capture)


def named(link):
    return [name for name in OF_HEAD if link in oracle.NAMED[name][2]]


def disagreements(got, expected, rtol):
    """The entries of two dicts that differ by more than `rtol`, for a readable failure."""
    return {
        name: (got[name], expected[name])
        for name in expected
        if got[name] != pytest.approx(expected[name], rel=rtol, abs=rtol * 1e-3)
    }


def cast(capture, dtype):
    tensors = (capture.features, capture.logits, capture.weight, capture.bias)
    z, a, w, b = (None if t is None else t.to(dtype) for t in tensors)
    return Capture(z, a, w, b, capture.link)


def test_the_oracle_has_every_row():
    assert set(ANCHORS) == {*oracle.ANCHORS, "view", "before"}
    assert set(PROJECTIONS) == {*oracle.PER_SAMPLE, *oracle.SCALARS}
    assert set(STATISTICS) == oracle.STATISTICS
    assert set(NORMALIZATIONS) == set(oracle.NORMALIZATIONS)
    assert set(OF_HEAD) == set(oracle.NAMED)


def test_grid_equals_oracle(case):
    capture, head = case
    points = oracle.points(capture.link)
    got = {point: get_readout(point)(capture) for point in points}
    assert disagreements(got, {point: oracle.value(head, point) for point in points}, 1e-9) == {}


def test_named_readouts_equal_oracle(case):
    capture, head = case
    got = {name: READOUTS[name](capture) for name in named(capture.link)}
    assert disagreements(got, {name: oracle.NAMED[name][0](head) for name in got}, 1e-9) == {}


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-4), (torch.bfloat16, 1e-3)])
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
def test_lower_precision_is_computed_in_float32(make_capture, shape, link, dtype, rtol):
    # Not the usual seed, with which gwa is next to its pole at an excess kurtosis of −1.2.
    capture = cast(make_capture(*shape, link, seed=2), dtype)
    head = oracle.Head.of(capture)
    got = {point: get_readout(point)(capture) for point in oracle.points(link)}
    assert all(math.isfinite(value) for value in got.values())
    # ⟨g_i, W⟩ comes from the logits, which bf16 rounds once more than features and weights.
    comparable = [p for p in got if dtype == torch.float32 or "/gwa/" not in p]
    assert disagreements(got, {p: oracle.value(head, p) for p in comparable}, rtol) == {}


@pytest.mark.parametrize("link", LINKS)
def test_undefined_combinations_name_the_part_and_what_it_is_undefined_for(make_capture, link):
    capture = make_capture(link=link)
    unclear = {}
    for point in oracle.all_points():
        reasons = oracle.why_undefined(link, point)
        if not reasons:
            continue
        try:
            unclear[point] = get_readout(point)(capture)
        except ValueError as error:
            message = str(error)
            if not any(says(message, part) and says(message, other) for part, other in reasons):
                unclear[point] = message
    assert unclear == {}


def says(message, part):
    # A projection sees one-hot labels, not which anchor made them.
    hard = part in oracle.ONE_HOT_ANCHORS and "hard labels" in message
    return hard or f"'{part}'" in message


@pytest.mark.parametrize("name", sorted(OF_HEAD))
def test_named_readouts_refuse_links_they_are_undefined_for(make_capture, name):
    for link in set(LINKS) - set(oracle.NAMED[name][2]):
        with pytest.raises(ValueError, match=f"^`link` must be .*, got '{link}'$"):
            READOUTS[name](make_capture(link=link))


def test_per_sample_values_are_those_of_single_samples_and_their_mean_is_the_readout(case):
    capture, head = case
    for point in oracle.points(capture.link):
        if point.split("/")[1] not in oracle.MEANS:
            continue
        values = get_readout(point).per_sample(capture)
        assert values.shape == (head.N,), point
        assert values.tolist() == pytest.approx(oracle.per_sample(head, point), rel=1e-9), point
        assert values.mean().item() == get_readout(point)(capture), point


@pytest.mark.parametrize("link", LINKS)
def test_per_sample_values_of_other_than_means_are_refused(make_capture, link):
    capture = make_capture(link=link)
    for point in oracle.points(link, normalizations=["none"]):
        projection = point.split("/")[1]
        if projection not in oracle.MEANS:
            with pytest.raises(
                ValueError, match=f"^the readout must be a mean over samples, got '{projection}'$"
            ):
                get_readout(point).per_sample(capture)


@pytest.mark.parametrize("name", READOUTS)
def test_readouts_see_what_they_need_and_nothing_else(make_capture, name):
    readout = READOUTS[name]
    message = f"^the readout must be given {', '.join(readout.needs)}, got 4 subjects$"
    with pytest.raises(ValueError, match=message):
        readout(*[make_capture()] * 4)


@pytest.mark.parametrize("needs", [(), ("labels",), ("head", "network"), "head"])
def test_needs_that_do_not_exist_are_refused(needs):
    with pytest.raises(ValueError, match=r"^`needs` must be .*, got "):
        Readout(lambda *subjects: 0.0, needs)


def graph_recorded(tensor):
    raise AssertionError(f"autograd saved a tensor of shape {tuple(tensor.shape)}")


@pytest.mark.parametrize("link", LINKS)
def test_reading_records_no_graph_and_changes_no_bit(make_capture, link):
    plain = make_capture(link=link)
    tensors = [plain.features, plain.logits, plain.weight, plain.bias]
    features, logits, weight, bias = (t.clone().requires_grad_() for t in tensors)
    tracked = Capture(features, logits, weight, bias, link)
    predictions = plain.predictions().clone()
    with torch.autograd.graph.saved_tensors_hooks(graph_recorded, lambda packed: packed):
        for point in oracle.points(link):
            value = get_readout(point)(tracked)
            assert type(value) is float
            with torch.no_grad():
                assert value == get_readout(point)(plain)
            if point.split("/")[1] in oracle.MEANS:
                assert not get_readout(point).per_sample(tracked).requires_grad
    for before, after in zip(tensors, [features, logits, weight, bias], strict=True):
        assert torch.equal(before, after)
    assert torch.equal(plain.predictions(), predictions)


def test_captures_of_inference_tensors_can_be_read(make_capture):
    capture = make_capture()
    with torch.inference_mode():
        inference = cast(capture, torch.float64)
        inference = Capture(
            *(t.clone() for t in (inference.features, inference.logits, inference.weight)),
            inference.bias.clone(),
        )
    for point in oracle.points("softmax", ["none"]):
        assert get_readout(point)(inference) == get_readout(point)(capture)


def test_directions_of_named_readouts():
    for name, (_, higher, _) in oracle.NAMED.items():
        assert type(READOUTS[name].higher_is_better) is bool
        assert higher is None or READOUTS[name].higher_is_better is higher, name


def test_directions_of_grid_points():
    for point in oracle.all_points():
        anchor, projection, _ = point.split("/")
        near = anchor not in ("uniform", "prior")
        higher = near == (projection in oracle.SIMILARITIES)
        if anchor == "none":
            higher = READOUTS[projection].higher_is_better
        assert get_readout(point).higher_is_better is higher, point


def test_score_is_oriented_so_that_higher_is_better():
    assert READOUTS["confidence"].score(0.5) == 0.5
    assert READOUTS["entropy"].score(0.5) == -0.5


def test_get_readout_takes_names_and_places_in_the_grid():
    assert all(get_readout(name) is READOUTS[name] for name in READOUTS)
    assert {name.removeprefix("ahead/") for name in DEFAULT_PANEL} <= set(READOUTS)
    functions = PROJECTIONS | {name: row.function for name, row in STATISTICS.items()}
    for point in ("pseudo/gradient/head", "view/divergence/none", "none/entropy/feature"):
        readout = get_readout(point)
        anchor, projection, normalization = point.split("/")
        parts = readout.function.keywords
        assert parts["projection"] is functions[projection]
        assert parts["normalization"] is NORMALIZATIONS[normalization]
        assert parts.get("anchor") is ANCHORS.get(anchor)
        assert readout.higher_is_better is False
        assert readout.needs == (("head", "view") if anchor == "view" else ("head",))
    gap = get_readout("gap/prior/gradient/feature")
    assert (gap.needs, gap.higher_is_better) == (("head", "seen"), False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "got 'nonsense'"),
        ("entrpy", "`readouts` must be entropy"),
        ("prior/gradient", "got 'prior/gradient'"),
        ("nonsense/gradient/none", "`anchor` must be one of uniform, prior.* got 'nonsense'"),
        ("labels/gradient/none", "`anchor` must be one of .* got 'labels'"),
        ("prior/nonsense/none", "`projection` must be one of .* got 'nonsense'"),
        ("prior/entropy/none", "`projection` must be one of .* got 'entropy'"),
        ("none/gradient/none", "`statistic` must be one of .* got 'gradient'"),
        ("prior/gradient/nonsense", "`normalization` must be one of none.* got 'nonsense'"),
        ("", "got ''"),
        ("gap/agreement", "a readout of the head after gap/, got 'gap/agreement'"),
        ("gap/isotropy", "a readout of the head after gap/, got 'gap/isotropy'"),
    ],
)
def test_unknown_readouts_are_named(name, message):
    with pytest.raises(ValueError, match=message) as error:
        get_readout(name)
    assert re.search(r"\n", str(error.value)) is None
