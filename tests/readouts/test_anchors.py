"""Head gradients against torch.autograd, and the anchors that take data."""

from __future__ import annotations

import itertools
import math

import oracle
import pytest
import torch
from torch.nn import functional as F

from prescreen.captured import Capture
from prescreen.predictions import Logits
from prescreen.readouts import (
    ANCHORS,
    NORMALIZATIONS,
    PROJECTIONS,
    READOUTS,
    compose,
    get_readout,
    labels,
    teacher,
)

LINKS = ["softmax", "sigmoid", "identity"]
LOSSES = {
    "softmax": lambda a, q: F.cross_entropy(a, q, reduction="none"),
    "sigmoid": lambda a, q: F.binary_cross_entropy_with_logits(a, q, reduction="none").sum(1),
    "identity": lambda a, q: (a - q).square().sum(1) / 2,
}


def random_targets(capture, seed=3):
    """Random labels in the form that the link needs."""
    generator = torch.Generator().manual_seed(seed)
    shape = capture.logits.shape
    if capture.link == "softmax":
        return torch.randint(shape[1], shape[:1], generator=generator)
    if capture.link == "sigmoid":
        return torch.randint(2, shape, generator=generator)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def soft_targets(capture, seed=4):
    """Another model's predictions."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(capture.logits.shape, generator=generator, dtype=torch.float64)
    return {"softmax": q.softmax(1), "sigmoid": q.sigmoid(), "identity": q}[capture.link]


def per_sample_gradients(capture, q):
    """∂loss_i/∂W of every sample by a backward call each, shape (N, K, D)."""
    q = q.double() if capture.link != "softmax" else q
    gradients = []
    for i in range(capture.num_samples):
        weight = capture.weight.clone().requires_grad_()
        logits = F.linear(capture.features[i : i + 1], weight, capture.bias)
        LOSSES[capture.link](logits, q[i : i + 1]).sum().backward()
        gradients.append(weight.grad)
    return torch.stack(gradients)


def batch_loss_gradient(capture, q, features, bias):
    """∂/∂W of the batch's mean loss, shape (K, D)."""
    q = q.double() if capture.link != "softmax" else q
    weight = capture.weight.clone().requires_grad_()
    LOSSES[capture.link](F.linear(features, weight, bias), q).mean().backward()
    return weight.grad


def readings_by_autograd(capture, q):
    """Every projection that is a function of head gradients, from the gradients themselves."""
    z, w = capture.features, capture.weight
    singles = per_sample_gradients(capture, q)
    batch = batch_loss_gradient(capture, q, z, capture.bias)
    # The same logits, but only the centred features meet the weight that is differentiated.
    shifted = F.linear(z.mean(0), w, capture.bias)
    centred = batch_loss_gradient(capture, q, z - z.mean(0), shifted)
    cosines = F.cosine_similarity(-singles.flatten(1), w.flatten()[None])
    deviation = cosines - cosines.mean()
    kurtosis = deviation.pow(4).mean() / deviation.square().mean() ** 2 - 3
    return {
        "gradient": singles.flatten(1).norm(dim=1).mean(),
        "batch_gradient": batch.norm(),
        "centred_batch_gradient": centred.norm(),
        "quasinorm_batch_gradient": batch.abs().pow(0.3).sum() ** (1 / 0.3),
        "ood_gradient": singles.flatten(1).abs().sum(1).mean(),
        "sharpness": 0.1 * w.norm() * batch.norm(),
        "gwa": cosines.mean() / (kurtosis + 1.2),
    }


def check_against_autograd(capture, anchor, q):
    for projection, expected in readings_by_autograd(capture, q).items():
        assert compose(anchor, projection)(capture) == pytest.approx(expected.item(), rel=1e-9), (
            projection
        )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("shape", [(12, 5, 4), (4, 9, 8)])
def test_labels_read_the_gradients_of_the_training_loss(make_capture, shape, link, bias):
    capture = make_capture(*shape, link, bias=bias)
    y = random_targets(capture)
    check_against_autograd(capture, labels(y), y)


@pytest.mark.parametrize("link", LINKS)
def test_teacher_reads_the_gradients_of_distillation(make_capture, link):
    capture = make_capture(link=link)
    q = soft_targets(capture)
    check_against_autograd(capture, teacher(q), q)


@pytest.mark.parametrize(
    ("anchor", "link"),
    [
        (anchor, link)
        for anchor, link in itertools.product(sorted(oracle.ANCHORS), LINKS)
        if not oracle.why_undefined(link, f"{anchor}/gradient/none")
    ],
)
def test_label_free_anchors_read_the_gradients_of_soft_labels(make_capture, anchor, link):
    capture = make_capture(link=link)
    q = torch.from_numpy(oracle.ANCHORS[anchor](oracle.Head.of(capture)))
    check_against_autograd(capture, ANCHORS[anchor], q)


def drawn_labels(capture):
    """Every label a whole batch could draw, with its probability."""
    p, n, k = capture.predictions(), capture.num_samples, capture.num_classes
    if capture.link == "softmax":
        for y in map(torch.tensor, itertools.product(range(k), repeat=n)):
            yield p[torch.arange(n), y].prod().item(), y
    else:
        for flat in itertools.product([0.0, 1.0], repeat=n * k):
            y = torch.tensor(flat, dtype=p.dtype).reshape(n, k)
            yield torch.where(y == 1, p, 1 - p).prod().item(), y


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_fisher_trace_is_the_expected_square_of_gradients(make_capture, link):
    capture = make_capture(3, 2, 3 if link == "softmax" else 2, link)
    singles = torch.zeros(3, dtype=torch.float64)
    for chance, y in drawn_labels(capture):
        gradients = per_sample_gradients(capture, y)
        singles += chance * gradients.flatten(1).square().sum(1)
    expected = singles / capture.feature_norms.square().mean()
    read = get_readout("fisher_trace").per_sample(capture)
    assert read.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


@pytest.mark.parametrize("link", LINKS)
def test_fisher_trace_is_that_of_the_hessian_of_the_loss_whatever_the_labels(make_capture, link):
    capture = make_capture(5, 3, 4, link)
    q = random_targets(capture)
    q = q.double() if link != "softmax" else q

    def loss(weight):
        logits = F.linear(capture.features, weight.reshape(4, 3), capture.bias)
        return LOSSES[link](logits, q).mean()

    hessian = torch.autograd.functional.hessian(loss, capture.weight.flatten())
    expected = hessian.trace() / capture.feature_norms.square().mean()
    assert get_readout("fisher_trace")(capture) == pytest.approx(expected.item(), rel=1e-9)


def test_fisher_trace_does_not_depend_on_the_scale_of_features(make_capture):
    capture = make_capture()
    scaled = Capture(3 * capture.features, capture.logits, capture.weight / 3, capture.bias)
    assert READOUTS["fisher_trace"](scaled) == pytest.approx(READOUTS["fisher_trace"](capture))


@pytest.mark.parametrize("anchor", ["view", "before"])
@pytest.mark.parametrize("link", LINKS)
def test_other_predictions_are_an_anchor_like_a_teacher(make_capture, link, anchor):
    capture, other = make_capture(link=link), make_capture(link=link, seed=5)
    q = other.predictions().numpy()
    head = oracle.Head.of(capture)
    for projection in PROJECTIONS:
        if link == "identity" and projection in oracle.NOT_FOR_IDENTITY:
            continue
        readout = get_readout(f"{anchor}/{projection}/none")
        assert readout.needs == ("head", anchor)
        assert readout.higher_is_better is (projection in oracle.SIMILARITIES)
        expected = oracle.value_against(head, q, projection)
        for predictions in (other, Logits(other.logits, link)):
            assert readout(capture, predictions) == pytest.approx(expected, rel=1e-9), projection


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_divergence_from_overconfident_predictions_is_finite(make_capture, link):
    """In float32 their probabilities are 0; their logits are not infinite."""
    capture = make_capture(link=link, dtype=torch.float32)
    other = Logits(1e4 * torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), link)
    value = get_readout("view/divergence/none")(capture, other)
    exact = get_readout("view/divergence/none")(
        make_capture(link=link), Logits(other.logits.double(), link)
    )
    assert value == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(
    "other",
    [Logits(torch.zeros(11, 4)), Logits(torch.zeros(12, 5)), Logits(torch.zeros(12, 4), "sigmoid")],
    ids=["samples", "classes", "link"],
)
def test_predictions_of_other_samples_classes_or_links_are_refused(make_capture, other):
    for anchor in ("view", "before"):
        with pytest.raises(ValueError, match=f"^`{anchor}` must hold the same samples and classes"):
            get_readout(f"{anchor}/gradient/none")(make_capture(), other)


def as_predictions(capture, y):
    return oracle.one_hot(y.tolist(), capture.num_classes) if y.ndim == 1 else y.double().numpy()


@pytest.mark.parametrize("kind", ["labels", "teacher"])
@pytest.mark.parametrize("link", LINKS)
def test_every_projection_of_given_anchors_equals_the_oracle(make_capture, link, kind):
    capture = make_capture(link=link)
    head = oracle.Head.of(capture)
    if kind == "labels":
        given = random_targets(capture)
        anchor, q = labels(given), as_predictions(capture, given)
    else:
        given = soft_targets(capture)
        anchor, q = teacher(given), given.numpy()
    for projection in PROJECTIONS:
        if projection in oracle.NOT_FOR_IDENTITY and link == "identity":
            continue
        if projection == "divergence" and kind == "labels":
            continue
        for normalization in NORMALIZATIONS:
            readout = compose(anchor, projection, normalization)
            scale = oracle.NORMALIZATIONS[normalization](head)
            expected = oracle.value_against(head, q, projection) / scale
            assert readout(capture) == pytest.approx(expected, rel=1e-9), (
                projection,
                normalization,
            )
            if projection in oracle.PER_SAMPLE:
                expected = [v / scale for v in oracle.samples_against(head, q, projection)]
                assert readout.per_sample(capture).tolist() == pytest.approx(expected, rel=1e-9)


def test_label_free_anchors_are_special_cases_of_given_ones(make_capture):
    capture = make_capture()
    for projection in PROJECTIONS:
        same = compose(teacher(capture.predictions().mean(0).expand(12, 4)), projection)
        read = get_readout(f"prior/{projection}/none")(capture)
        assert same(capture) == pytest.approx(read, rel=1e-9), projection
        if projection != "divergence":
            own = compose(labels(capture.logits.argmax(1)), projection)
            assert own(capture) == get_readout(f"pseudo/{projection}/none")(capture), projection


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_divergence_from_labels_is_refused(make_capture, link):
    capture = make_capture(link=link)
    with pytest.raises(ValueError, match=r"'divergence' must be a distribution, got hard labels"):
        compose(labels(random_targets(capture)), "divergence")(capture)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_divergence_from_a_teacher_that_excludes_a_class_is_infinite(make_capture, dtype):
    capture = make_capture(2, 3, 3, dtype=dtype)
    q = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    values = compose(teacher(q), "divergence").per_sample(capture)
    assert values[0] == math.inf
    assert math.isfinite(values[1])


def test_labels_of_any_integer_type_and_zero_one_labels_of_any_type(make_capture):
    capture = make_capture()
    y = random_targets(capture)
    expected = compose(labels(y), "gradient")(capture)
    for dtype in (torch.int32, torch.int16, torch.uint8):
        assert compose(labels(y.to(dtype)), "gradient")(capture) == expected
    capture = make_capture(link="sigmoid")
    y = random_targets(capture)
    expected = compose(labels(y), "gradient")(capture)
    for dtype in (torch.bool, torch.uint8, torch.float32, torch.float64):
        assert compose(labels(y.to(dtype)), "gradient")(capture) == expected


BAD_LABELS = {
    "too few": ("softmax", torch.zeros(11, dtype=torch.long)),
    "one-hot": ("softmax", torch.zeros(12, 4, dtype=torch.long)),
    "float": ("softmax", torch.zeros(12)),
    "bool": ("softmax", torch.zeros(12, dtype=torch.bool)),
    "beyond K": ("softmax", torch.full((12,), 4)),
    "ignored": ("softmax", torch.full((12,), -100)),
    "one per sample": ("sigmoid", torch.zeros(12)),
    "other classes": ("sigmoid", torch.zeros(12, 5)),
    "not 0/1": ("sigmoid", torch.full((12, 4), 2)),
    "between 0 and 1": ("sigmoid", torch.full((12, 4), 0.5)),
    "other outputs": ("identity", torch.zeros(12, 5)),
    "flat": ("identity", torch.zeros(12)),
    "NaN": ("identity", torch.full((12, 4), math.nan)),
}
BAD_TEACHERS = {
    "too few": ("softmax", torch.full((11, 4), 0.25)),
    "one row": ("softmax", torch.full((4,), 0.25)),
    "other classes": ("sigmoid", torch.full((12, 5), 0.25)),
    "logits": ("softmax", torch.full((12, 4), -3.0)),
    "above 1": ("sigmoid", torch.full((12, 4), 1.5)),
    "rows that do not sum to 1": ("softmax", torch.full((12, 4), 0.75)),
    "class labels": ("softmax", torch.zeros(12, dtype=torch.long)),
    "NaN": ("softmax", torch.full((12, 4), math.nan)),
    "infinite": ("identity", torch.full((12, 4), math.inf)),
}


@pytest.mark.parametrize(("link", "y"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_bad_labels_are_refused_by_name(make_capture, link, y):
    with pytest.raises(ValueError, match=r"^`y` must .*, got .*$") as error:
        compose(labels(y), "gradient")(make_capture(link=link))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("link", "q"), BAD_TEACHERS.values(), ids=BAD_TEACHERS)
def test_bad_teachers_are_refused_by_name(make_capture, link, q):
    with pytest.raises(ValueError, match=r"^`q` must .*, got .*$") as error:
        compose(teacher(q), "gradient")(make_capture(link=link))
    assert "\n" not in str(error.value)
