"""Heads that are transposed convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from prescreen.heads import capture, find_heads


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def body(dimensions=2):
    kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    return nn.Sequential(kind(2, 5, 1), nn.ReLU())


def assert_linear(taken):
    product = taken.features.double() @ taken.weight.double().T
    bias = 0 if taken.bias is None else taken.bias.double()
    assert torch.allclose(product + bias, taken.logits.double(), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 1},
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": (3, 2), "stride": (1, 3), "padding": (2, 0), "dilation": (2, 1)},
        {"kernel_size": 2, "stride": 1, "dilation": 3, "output_padding": 2},
        {"kernel_size": 2, "stride": 3},  # some positions see nothing
    ],
)
@pytest.mark.parametrize("most", [10_000, 17])
def test_unfolding(options, bias, most):
    model, inputs = (
        nn.Sequential(body(), nn.ConvTranspose2d(5, 4, bias=bias, **options)),
        torch.randn(3, 2, 5, 6),
    )
    taken = capture(model, inputs, max_positions=most)
    everything = model(inputs).movedim(1, -1).flatten(0, 2)
    assert_linear(taken)
    assert len(taken.logits) == min(most, len(everything))
    assert taken.features.shape[1] == model[1].weight[:, 0].numel()
    if most > len(everything):
        assert torch.equal(taken.logits, everything)
    named = capture(model, inputs, max_positions=most, head="1")
    assert torch.equal(named.features, taken.features)


@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.ConvTranspose1d, (3, 2, 7)), (nn.ConvTranspose3d, (2, 2, 3, 4, 3))]
)
def test_one_and_three_dimensions(kind, shape):
    model = nn.Sequential(body(len(shape) - 2), kind(5, 4, 3, stride=2, padding=1))
    taken = capture(model, torch.randn(shape))
    assert_linear(taken)
    assert find_heads(model)[0].name == "1"


def test_as_a_convolution_of_spread_inputs():
    """Zeros between the inputs, then a convolution with the kernel turned round."""
    head, z = nn.ConvTranspose2d(5, 4, 3, stride=2, padding=1), torch.randn(2, 5, 4, 4)
    spread = torch.zeros(2, 5, 7, 7)
    spread[:, :, ::2, ::2] = z
    patches = functional.unfold(spread, 3, padding=1).mT.flatten(0, 1).unflatten(1, (5, 9))
    taken = capture(nn.Sequential(head), z)
    assert torch.equal(taken.features, patches.flip(2).flatten(1))


def test_a_gradient_of_the_weight():
    """Its outer products are those of autograd, so readouts of gradients are exact."""
    head, z = nn.ConvTranspose2d(5, 4, 4, stride=2, padding=1), torch.randn(2, 5, 4, 4)
    taken = capture(nn.Sequential(head), z)
    outputs = head(z)
    residuals = torch.randn_like(outputs)
    (gradient,) = torch.autograd.grad(outputs, head.weight, residuals)
    expected = residuals.movedim(1, -1).flatten(0, 2).T @ taken.features
    assert torch.allclose(gradient.transpose(0, 1).flatten(1), expected, atol=1e-4)


class UNet(nn.Module):
    """Ends in a transposed convolution, with an inner layer of as many outputs."""

    def __init__(self, tail):
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.body, self.tail = nn.Conv2d(3, 4, 3, 2, 1), tail

    def forward(self, x):
        return self.tail(self.up(self.body(x).relu()))


@pytest.mark.parametrize(
    ("tail", "scale"), [(lambda y: y, 1), (lambda y: 2 * y, 2), (lambda y: y[:, :, 1:-1], 1)]
)
def test_a_network_that_ends_in_one(tail, scale):
    model, images = UNet(tail), torch.randn(2, 3, 8, 8)
    taken = capture(model, images, batch_statistics=False)
    assert torch.equal(taken.logits, model(images).movedim(1, -1).flatten(0, 2))
    weight = scale * model.up.weight.transpose(0, 1).flatten(1)
    assert torch.allclose(taken.weight, weight)
    assert_linear(taken)


def test_grouped():
    with pytest.raises(ValueError, match=r"^`head` must be a convolution with groups=1, got '0'"):
        find_heads(nn.Sequential(nn.ConvTranspose2d(4, 4, 2, groups=2)), "0")


def test_an_output_size_that_is_asked_for():
    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 4, 3, 2, 1)

        def forward(self, x):
            return self.up(x, output_size=[2 * side for side in x.shape[2:]])

    model, images = Asking(), torch.randn(2, 3, 5, 5)
    taken = capture(model, images)
    assert torch.equal(taken.logits, model(images).movedim(1, -1).flatten(0, 2))
