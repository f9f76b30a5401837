"""Heads that are transposed convolutions, as many own U-Nets end in."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from prescreen import capture
from prescreen.heads import find_heads

KINDS = {
    "2× without overlap": (nn.ConvTranspose2d, {"kernel_size": 2, "stride": 2}),
    "2× with overlap": (
        nn.ConvTranspose2d,
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    ),
    "uneven": (
        nn.ConvTranspose2d,
        {"kernel_size": (4, 3), "stride": (3, 2), "padding": (2, 0), "dilation": (1, 2)},
    ),
    "without bias": (nn.ConvTranspose2d, {"kernel_size": 4, "stride": 4, "bias": False}),
    "2× by four": (nn.ConvTranspose2d, {"kernel_size": 4, "stride": 2, "padding": 1}),
    "each pixel by itself": (nn.ConvTranspose2d, {"kernel_size": 1}),
    "dilated": (nn.ConvTranspose2d, {"kernel_size": 2, "dilation": 3, "output_padding": 2}),
    "some positions see nothing": (nn.ConvTranspose2d, {"kernel_size": 2, "stride": 3}),
    "more padding than kernel": (nn.ConvTranspose2d, {"kernel_size": 1, "stride": 3, "padding": 1}),
    "one dimension": (nn.ConvTranspose1d, {"kernel_size": 4, "stride": 2, "padding": 1}),
    "three dimensions": (nn.ConvTranspose3d, {"kernel_size": 2, "stride": 2}),
}


class Decoder(nn.Module):
    """The last layer is not the one that is registered last, and may be followed by a scale."""

    def __init__(self, kind, options, scale):
        super().__init__()
        number = len(kind(1, 1, 1).kernel_size)
        self.up, self.scale = kind(5, 3, **options), scale
        self.body = getattr(nn, f"Conv{number}d")(2, 5, 3, padding=1)
        self.inputs = torch.randn(4, 2, *(6, 7, 5)[:number])

    def forward(self, x):
        return self.up(self.body(x).relu()) * self.scale


@pytest.mark.parametrize("most", [10_000, 40])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("kind", "options"), KINDS.values(), ids=KINDS)
def test_its_logits_are_linear_in_the_inputs_that_it_sees(kind, options, scale, most):
    torch.manual_seed(0)
    model = Decoder(kind, options, scale)
    made = capture(model, model.inputs, max_positions=most)
    every = model(model.inputs).movedim(1, -1).flatten(0, -2).detach()
    product = made.features @ made.weight.T + (0 if made.bias is None else made.bias)
    torch.testing.assert_close(made.logits, product)
    assert len(made.logits) == min(most, len(every))
    if most > len(every):
        torch.testing.assert_close(made.logits, every)
    assert made.features.shape[1] == made.weight.shape[1] == model.up.weight[:, 0].numel()
    named = capture(model, model.inputs, max_positions=most, head="up")
    assert torch.equal(named.features, made.features)


@pytest.mark.parametrize(("kind", "options"), KINDS.values(), ids=KINDS)
def test_its_gradient_is_that_of_its_weight(kind, options):
    """The sum of outer products, but for the order of the weight, is the gradient of autograd."""
    torch.manual_seed(0)
    model = Decoder(kind, options, 1)
    made = capture(model, model.inputs, max_positions=10_000)
    logits = model(model.inputs).movedim(1, -1).flatten(0, -2)
    labels = torch.arange(len(logits)) % 3
    functional.cross_entropy(logits, labels).backward()
    residuals = made.logits.softmax(1) - functional.one_hot(labels, 3)
    gradient = residuals.T @ made.features / len(labels)
    turned = model.up.weight.grad.transpose(0, 1).flip([*range(2, model.up.weight.ndim)])
    torch.testing.assert_close(gradient, turned.flatten(1), atol=1e-6, rtol=1e-4)


def test_it_sees_what_a_convolution_of_spread_inputs_sees():
    """Zeros between the inputs, then windows of the kernel's size."""
    head, z = nn.ConvTranspose2d(5, 4, 3, stride=2, padding=1), torch.randn(2, 5, 4, 4)
    spread = torch.zeros(2, 5, 7, 7)
    spread[:, :, ::2, ::2] = z
    patches = functional.unfold(spread, 3, padding=1).mT.flatten(0, 1)
    assert torch.equal(capture(nn.Sequential(head), z).features, patches)


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
    made = capture(model, images, batch_statistics=False)
    assert torch.equal(made.logits, model(images).movedim(1, -1).flatten(0, 2))
    weight = scale * model.up.weight.transpose(0, 1).flip(2, 3).flatten(1)
    torch.testing.assert_close(made.weight, weight)
    product = made.features @ made.weight.T + made.bias
    torch.testing.assert_close(made.logits, product)


def test_it_is_found_as_the_last_layer():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 3, 2, 2))
    assert [head.name for head in find_heads(model)] == ["2"]
    assert torch.equal(
        capture(model, torch.ones(2, 2, 6, 6)).logits,
        capture(model, torch.ones(2, 2, 6, 6), head="2").logits,
    )


@pytest.mark.parametrize("size", [(11, 11), (12, 12), (12, 11)])
@pytest.mark.parametrize("wrap", [lambda made: made, lambda made: {"out": made}])
@pytest.mark.parametrize("head", [None, "up"])
def test_one_whose_output_size_is_given_when_it_is_called(head, wrap, size):
    class Sized(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(2, 3, 3, 2, padding=1)

        def forward(self, x):
            return wrap(self.up(x, output_size=size))

    model, inputs = Sized(), torch.randn(4, 2, 6, 6)
    made = capture(model, inputs, head=head)
    logits = model.up(inputs, output_size=size).movedim(1, -1).flatten(0, 2)
    torch.testing.assert_close(made.logits, logits)


def test_groups_are_refused():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2, 2, groups=2))
    with pytest.raises(ValueError, match=r"^`head` must be named where no linear map gives .*$"):
        capture(model, torch.randn(2, 2, 6, 6))
    with pytest.raises(ValueError, match=r"^`head` must be a convolution with groups=1, got '2'"):
        capture(model, torch.randn(2, 2, 6, 6), head="2")
