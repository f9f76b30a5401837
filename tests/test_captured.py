"""What a Capture accepts and refuses, and its blocks."""

from __future__ import annotations

import math

import pytest
import torch

import prescreen.predictions
from prescreen.captured import Capture, NonFiniteError

NAMES = ["features", "logits", "weight", "bias"]


def tensors(n=6, d=3, k=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    z, w, b = (torch.randn(*s, generator=generator, dtype=dtype) for s in ((n, d), (k, d), (k,)))
    return {"features": z, "logits": z @ w.T + b, "weight": w, "bias": b}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("features", (5, 3)),
        ("features", (6, 2)),
        ("features", (6, 3, 1)),
        ("features", (18,)),
        ("logits", (5, 4)),
        ("logits", (6, 5)),
        ("logits", (6, 4, 1, 1)),
        ("weight", (3, 4)),
        ("weight", (4, 3, 1, 1)),
        ("weight", (4,)),
        ("bias", (3,)),
        ("bias", (1, 4)),
        ("bias", ()),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, shape):
    given = {**tensors(), name: torch.zeros(shape, dtype=torch.float64)}
    message = (
        r"^capture must have the shapes features \(N, D\), .*, "
        rf"got .*\b{name} \({', '.join(map(str, shape))}"
    )
    with pytest.raises(ValueError, match=message) as error:
        Capture(**given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex128])
def test_tensors_that_are_not_real_floats_are_named(name, dtype):
    given = tensors()
    given[name] = given[name].to(dtype)
    with pytest.raises(
        ValueError, match=rf"^`{name}` must be a floating-point tensor, got {dtype}$"
    ):
        Capture(**given)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_on_another_device_are_named(name):
    given = tensors()
    given[name] = given[name].to("meta")
    first = "features" if name == "logits" else name
    with pytest.raises(
        ValueError, match=rf"^`{first}` must be on the device of the logits, .*, got "
    ):
        Capture(**given)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_named_and_counted(name, value):
    given = tensors()
    given[name].view(-1)[-2:] = value
    size = given[name].numel()
    with pytest.raises(
        NonFiniteError, match=rf"^`{name}` must be finite, got 2 NaN .* of {size} values$"
    ):
        Capture(**given)


def test_infinities_of_both_signs_do_not_cancel():
    given = tensors()
    given["logits"][0, 0], given["logits"][5, 3] = math.inf, -math.inf
    with pytest.raises(NonFiniteError, match=r"^`logits` .* got 2 NaN or infinite of 24 values$"):
        Capture(**given)


def test_a_diverged_model_can_be_told_from_a_wrong_call():
    assert issubclass(NonFiniteError, ValueError)


def test_one_sample_is_refused():
    with pytest.raises(
        ValueError, match=r"^`inputs` must be a probe batch of at least 2 .*, got 1$"
    ):
        Capture(**tensors(n=1))
    assert Capture(**tensors(n=2)).num_samples == 2


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match=r"^`inputs` must be .* got 0$"):
        Capture(**tensors(n=0))


def test_one_class_needs_another_link_than_softmax():
    with pytest.raises(
        ValueError, match=r"^`link` must be .* for a head of 1 class, got 'softmax'$"
    ):
        Capture(**tensors(k=1))
    for link in ("sigmoid", "identity"):
        assert Capture(**tensors(k=1), link=link).num_classes == 1


@pytest.mark.parametrize(("d", "k"), [(0, 4), (3, 0), (0, 0)])
def test_no_feature_or_no_class_is_refused(d, k):
    with pytest.raises(
        ValueError, match=r"^capture must have at least one class and one feature, got "
    ):
        Capture(**tensors(d=d, k=k), link="identity")


@pytest.mark.parametrize("link", ["logit", "", None])
def test_unknown_links_are_named(link):
    with pytest.raises(ValueError, match=rf"^`link` must be one of softmax, .* got {link!r}$"):
        Capture(**tensors(), link=link)


CONTRADICTIONS = {
    "no bias given": lambda t: {"bias": None},
    "another bias": lambda t: {"bias": t["bias"] + 1},
    "softmax taken": lambda t: {"logits": t["logits"].softmax(1)},
    "another temperature": lambda t: {"logits": t["logits"] / 2},
    "other features": lambda t: {"features": t["features"].relu()},
    "rows mixed up": lambda t: {"features": t["features"].flip(0)},
    "classes mixed up": lambda t: {"weight": t["weight"].flip(0)},
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_logits_that_the_head_cannot_have_produced_are_refused(change, dtype):
    given = {**tensors(), **change(tensors())}
    cast = {name: None if t is None else t.to(dtype) for name, t in given.items()}
    message = r"^`logits` must be features @ weight\.T \+ bias, got a difference of .*head="
    with pytest.raises(ValueError, match=message):
        Capture(**cast)


def test_small_contradictions_are_seen_in_float32():
    given = {name: tensor.float() for name, tensor in tensors().items()}
    with pytest.raises(ValueError, match=r"^`logits` must be features @ "):
        Capture(**{**given, "logits": given["logits"] / 1.1})


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("d", [1, 64, 2048])
def test_the_rounding_of_a_real_head_is_allowed(dtype, d):
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(d, 100)
    with torch.no_grad():
        head.weight.normal_(generator=generator)
    head.to(dtype)
    z = torch.randn(16, d, generator=generator).to(dtype)
    capture = Capture(z, head(z), head.weight, head.bias)
    assert capture.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_autocast_logits_over_float32_weights_are_allowed():
    head, z = (
        torch.nn.Linear(64, 10),
        torch.randn(8, 64, generator=torch.Generator().manual_seed(0)),
    )
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(z)
    assert Capture(z, logits, head.weight, head.bias).predictions().dtype == torch.float32


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "identity"])
def test_blocks_are_cut_from_the_whole(make_capture, monkeypatch, link):
    whole = make_capture(link=link)
    functions = {"softmax": lambda a: a.softmax(1), "sigmoid": torch.sigmoid}
    expected = functions.get(link, lambda a: a)(whole.logits)
    for size in (1, 7, 24, 1 << 20):
        monkeypatch.setattr(prescreen.predictions, "BLOCK_ELEMENTS", size)
        capture = make_capture(link=link)
        by_rows = [capture.predictions(rows) for rows in capture.row_blocks()]
        by_classes = [capture.predictions(classes=c) for c in capture.class_blocks()]
        assert torch.allclose(torch.cat(by_rows), expected, rtol=1e-12)
        assert torch.allclose(torch.cat(by_classes, 1), expected, rtol=1e-12)
        assert all(block.numel() <= max(size, 4) for block in by_rows)
        assert all(block.numel() <= max(size, 12) for block in by_classes)
        assert torch.allclose(capture.mean_prediction, expected.mean(0), rtol=1e-12)
        assert torch.allclose(capture.log_partition, whole.logits.logsumexp(1), rtol=1e-12)


def test_blocks_cut_rows_and_classes_at_once(make_capture, monkeypatch):
    for size in (7, 1 << 20):
        monkeypatch.setattr(prescreen.predictions, "BLOCK_ELEMENTS", size)
        capture = make_capture()
        block = capture.predictions(slice(2, 5), slice(1, 3))
        assert torch.allclose(block, capture.logits.softmax(1)[2:5, 1:3], rtol=1e-12)


def test_feature_norms(make_capture):
    capture = make_capture()
    assert torch.allclose(capture.feature_norms, capture.features.square().sum(1).sqrt())


def test_a_capture_cannot_be_changed(make_capture):
    with pytest.raises(AttributeError, match="cannot assign to field 'logits'"):
        make_capture().logits = torch.zeros(12, 4)
