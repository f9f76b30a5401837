"""The flow of networks with smooth activations, attention and gates, against their weights."""

import math
from functools import partial

import pytest
import torch
from prescreen.search_spaces import vit
from torch import nn
from torch.nn import functional
from toy import TRAINING, make_task

from prescreen import READOUTS, Readout, rank
from prescreen.readouts.network import MEASURES, Network, isotropy, measured, synflow

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


class Calls(nn.Module):
    """A function as a module, so that nothing tells that it is an activation."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


CLASSES = [
    *(nn.Identity, nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.ELU, nn.CELU, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh),
    *(nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Hardshrink, nn.Softshrink),
]
ACTIVATIONS = {
    **{kind.__name__: kind for kind in CLASSES},
    "functional.gelu": lambda: Calls(functional.gelu),
    "gelu, tanh": lambda: nn.GELU("tanh"),
    "functional.silu, in place": lambda: Calls(lambda x: functional.silu(x, inplace=True)),
    "torch.tanh": lambda: Calls(torch.tanh),
    "method": lambda: Calls(lambda x: x.sigmoid()),
    "keyword": lambda: Calls(lambda x: functional.gelu(input=x)),
    "silu by hand": lambda: Calls(lambda x: x * torch.sigmoid(x)),
    "quick gelu": lambda: Calls(lambda x: x * torch.sigmoid(1.702 * x)),
    "gelu by hand": lambda: Calls(lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
}
ENDS = {
    "LogSoftmax": lambda: nn.LogSoftmax(1),
    "Softmax": lambda: nn.Softmax(1),
    "functional.log_softmax": lambda: Calls(lambda x: functional.log_softmax(x, dim=-1)),
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
}


def mlp(activation=nn.Identity, end=nn.Identity, scale=1.0):
    torch.manual_seed(0)
    layers = [nn.Linear(6, 5), activation(), nn.Linear(5, 4), activation(), nn.Linear(4, 3), end()]
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for index in (0, 2, 4):
            model[index].weight.mul_(scale)
    return model


def expected(model):
    """Three layers, each with Σ over all paths of the product of absolute weights."""
    paths = torch.ones(6, dtype=torch.double)
    for index in (0, 2, 4):
        paths = model[index].weight.detach().double().abs() @ paths
    return math.log(3 * paths.sum().item())


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 9.0])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_flow_of_smooth_activations_is_that_of_linear_ones(name, scale):
    """Where they double their input as they are, which GELU does near zero as well, they stay."""
    model = mlp(ACTIVATIONS[name], scale=scale)
    assert -2 * math.log(2) - 0.2 < synflow(model, ROWS) - expected(model) < 0.2
    assert scale < 9 or math.isfinite(isotropy(model, ROWS))


@pytest.mark.parametrize("name", ENDS)
def test_what_stands_after_the_head_does_not_matter(name):
    model = mlp(nn.ReLU, ENDS[name])
    assert synflow(model, ROWS) == pytest.approx(expected(model))
    smooth = synflow(mlp(nn.GELU, ENDS[name], 9.0), ROWS)
    assert smooth == pytest.approx(expected(mlp(scale=9.0)))


class Gate(nn.Module):
    """Squeeze and excitation: a bounded factor for every channel."""

    def __init__(self, gate):
        super().__init__()
        self.squeeze, self.gate = nn.Linear(5, 5), gate

    def forward(self, x):
        return x * self.gate(self.squeeze(x))


@pytest.mark.parametrize("gate", [nn.Sigmoid(), nn.Hardsigmoid(), nn.Tanh()])
def test_gates_are_open(gate):
    model = mlp(nn.SiLU, scale=0.1)
    expect = expected(model)
    model[1] = nn.Sequential(nn.SiLU(), Gate(gate))
    assert synflow(model, ROWS) == pytest.approx(expect)


class Attention(nn.Module):
    """As in timm: one layer for queries, keys and values, and torch's fused product or a softmax."""

    def __init__(self, fused):
        super().__init__()
        self.fused, self.qkv, self.proj = fused, nn.Linear(5, 15), nn.Linear(5, 5)

    def forward(self, x):
        query, key, value = self.qkv(x[:, None].expand(-1, 4, -1)).chunk(3, -1)
        if self.fused:
            attended = functional.scaled_dot_product_attention(query, key, value)
        else:
            attended = (query @ key.mT * 1e9).softmax(-1) @ value  # rounding chooses a token
        return self.proj(attended).mean(1)


@pytest.mark.parametrize("fused", [True, False])
def test_attention_is_even(fused):
    model = mlp(nn.GELU, scale=0.1)
    model[1] = nn.Sequential(nn.GELU(), attention := Attention(fused))
    paths = model[0].weight.double().abs() @ torch.ones(6, dtype=torch.double)
    for weight in (
        attention.qkv.weight[10:],
        attention.proj.weight,
        model[2].weight,
        model[4].weight,
    ):
        paths = weight.double().abs() @ paths
    assert synflow(model, ROWS) == pytest.approx(math.log(5 * paths.sum().item()))


def vit_flow(model, pixels):
    """Σ w · ∂R/∂w of the residual network of absolute weights that a ViT is without its attention."""
    weights = [model.embedding.weight.flatten(1)]
    for layer in model.layers:
        value = layer.self_attn.in_proj_weight.chunk(3)[2]
        weights += [
            value,
            layer.self_attn.out_proj.weight,
            layer.linear1.weight,
            layer.linear2.weight,
        ]
    weights = [w.detach().double().abs().requires_grad_() for w in [*weights, model.head.weight]]
    x = weights[0] @ torch.ones(pixels, dtype=torch.double)
    for index in range(1, len(weights) - 1, 2):
        x = x + weights[index + 1] @ (weights[index] @ x)
    gradients = torch.autograd.grad((weights[-1] @ x).sum(), weights)
    return math.log(sum((w * g).sum().item() for w, g in zip(weights, gradients, strict=True)))


@pytest.mark.parametrize("depth", [2, 4, 6])
@pytest.mark.parametrize("width", [32, 96, 128])
def test_transformers_of_all_sizes_have_the_flow_of_their_weights(depth, width):
    """Rounding in the attention of large ones gave totals below zero, and so −∞ as if dead."""
    torch.manual_seed(0)
    config = {"depth": depth, "width": width, "heads": 8, "mlp_ratio": 4}
    model = vit.build(config, image_size=16)
    assert synflow(model, IMAGES) == pytest.approx(vit_flow(model, 3 * 2 * 2), rel=0.02)


def test_what_is_dead_and_what_is_undefined_are_not_the_same():
    dead = mlp(nn.ReLU)
    with torch.no_grad():
        dead[2].weight.zero_()
    assert synflow(dead, ROWS) == -math.inf
    network = Network(nn.Sequential(nn.Flatten(), Calls(lambda x: x * x)), ROWS)
    assert math.isnan(READOUTS["synflow"](network))
    refuses = nn.Sequential(Calls(lambda x: x.missing), nn.Linear(6, 2))
    assert math.isnan(READOUTS["synflow"](Network(refuses, ROWS)))
    assert math.isnan(READOUTS["flops"](Network(refuses, ROWS)))


@pytest.mark.parametrize("error", [AttributeError, TypeError, KeyError, NameError, RuntimeError])
@pytest.mark.parametrize("where", ["own", "ours", "inside"])
def test_an_error_of_a_measure_is_an_error_that_names_it(where, error, monkeypatch):
    def broken(*arguments):
        raise error("oops")

    if where == "own":
        monkeypatch.setitem(READOUTS, "mine", Readout(broken, ("network",)))
    elif where == "ours":
        monkeypatch.setitem(
            MEASURES, "mine", Readout(partial(measured, function=broken), ("network",))
        )
    else:
        monkeypatch.setattr("prescreen.readouts.network.flow._all_positive", broken)
        monkeypatch.setitem(READOUTS, "mine", MEASURES["synflow"])
    (row,) = rank(
        {"a": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3))},
        make_task(),
        training=TRAINING,
        readouts=["confidence", "mine"],
    )
    assert row.status == "run"
    assert "readout 'mine' failed, " + error.__name__ in row.reason
    assert "\n" not in row.reason
