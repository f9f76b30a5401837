"""Head gradients for real, by torch.autograd, and the anchors that take data."""

from __future__ import annotations

import itertools
import math

import oracle
import pytest
import torch
from torch.nn import functional as F

from prescreen.readouts import NORMALIZATIONS, PROJECTIONS, Readout, get_readout, labels, teacher

LINKS = ["softmax", "sigmoid", "identity"]
LOSSES = {
    "softmax": lambda a, q: F.cross_entropy(a, q, reduction="none"),
    "sigmoid": lambda a, q: F.binary_cross_entropy_with_logits(a, q, reduction="none").sum(1),
    "identity": lambda a, q: (a - q).square().sum(1) / 2,
}


def random_targets(capture, seed=3):
    """Labels as each link takes them."""
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
        "gwa": cosines.mean() / (kurtosis + 1.2),
    }


def check_against_autograd(capture, anchor, q):
    for projection, expected in readings_by_autograd(capture, q).items():
        readout = Readout(anchor, PROJECTIONS[projection], NORMALIZATIONS["none"])
        assert readout(capture) == pytest.approx(expected.item(), rel=1e-9), projection


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
    check_against_autograd(capture, get_readout(f"{anchor}/gradient/none").anchor, q)


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
def test_expected_is_the_root_mean_square_over_every_label_the_model_could_draw(make_capture, link):
    capture = make_capture(3, 2, 3 if link == "softmax" else 2, link)
    batch, centred, residual = 0.0, 0.0, 0.0
    singles = torch.zeros(3, dtype=torch.float64)
    z = capture.features - capture.features.mean(0)
    shifted = F.linear(capture.features.mean(0), capture.weight, capture.bias)
    for chance, y in drawn_labels(capture):
        gradients = per_sample_gradients(capture, y)
        batch += chance * gradients.mean(0).square().sum().item()
        centred += chance * batch_loss_gradient(capture, y, z, shifted).square().sum().item()
        singles += chance * gradients.flatten(1).square().sum(1)
        q = F.one_hot(y, capture.num_classes) if link == "softmax" else y
        residual += chance * (capture.predictions() - q).square().sum().item()
    spectral = torch.linalg.matrix_norm(capture.features, 2).item()
    expected = {
        "gradient": singles.sqrt().mean().item(),
        "batch_gradient": math.sqrt(batch),
        "centred_batch_gradient": math.sqrt(centred),
        "alignment": 3 * math.sqrt(batch / residual) / spectral,
    }
    for projection, value in expected.items():
        read = get_readout(f"expected/{projection}/none")(capture)
        assert read == pytest.approx(value, rel=1e-9), projection
    read = get_readout("expected/distance/none").per_sample(capture)
    assert read.tolist() == pytest.approx((singles.sqrt() / capture.feature_norms).tolist())


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
        if projection == "divergence" and (kind == "labels" or link == "identity"):
            continue
        for normalization in NORMALIZATIONS:
            if link == "identity" and normalization == "classes":
                continue
            readout = Readout(anchor, PROJECTIONS[projection], NORMALIZATIONS[normalization])
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
        same = Readout(
            teacher(capture.predictions().mean(0).expand(12, 4)), PROJECTIONS[projection]
        )
        read = get_readout(f"prior/{projection}/none")(capture)
        assert same(capture) == pytest.approx(read, rel=1e-9), projection
        if projection != "divergence":
            own = Readout(labels(capture.logits.argmax(1)), PROJECTIONS[projection])
            assert own(capture) == get_readout(f"pseudo/{projection}/none")(capture), projection


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_divergence_from_labels_is_refused(make_capture, link):
    capture = make_capture(link=link)
    with pytest.raises(ValueError, match=r"'divergence' is undefined for (hard )?labels"):
        Readout(labels(random_targets(capture)), PROJECTIONS["divergence"])(capture)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_divergence_from_a_teacher_that_excludes_a_class_is_infinite(make_capture, dtype):
    capture = make_capture(2, 3, 3, dtype=dtype)
    q = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    values = Readout(teacher(q), PROJECTIONS["divergence"]).per_sample(capture)
    assert values[0] == math.inf
    assert math.isfinite(values[1])


def test_labels_of_any_integer_type_and_zero_one_labels_of_any_type(make_capture):
    capture = make_capture()
    y = random_targets(capture)
    expected = Readout(labels(y), PROJECTIONS["gradient"])(capture)
    for dtype in (torch.int32, torch.int16, torch.uint8):
        assert Readout(labels(y.to(dtype)), PROJECTIONS["gradient"])(capture) == expected
    capture = make_capture(link="sigmoid")
    y = random_targets(capture)
    expected = Readout(labels(y), PROJECTIONS["gradient"])(capture)
    for dtype in (torch.bool, torch.uint8, torch.float32, torch.float64):
        assert Readout(labels(y.to(dtype)), PROJECTIONS["gradient"])(capture) == expected


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
    with pytest.raises(ValueError, match=r"^y: .* got .*$") as error:
        Readout(labels(y), PROJECTIONS["gradient"])(make_capture(link=link))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("link", "q"), BAD_TEACHERS.values(), ids=BAD_TEACHERS)
def test_bad_teachers_are_refused_by_name(make_capture, link, q):
    with pytest.raises(ValueError, match=r"^q: .* got .*$") as error:
        Readout(teacher(q), PROJECTIONS["gradient"])(make_capture(link=link))
    assert "\n" not in str(error.value)
