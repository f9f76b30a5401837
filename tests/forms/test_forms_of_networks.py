"""What networks compute, as a text: equal for equal ones, and for no others."""

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from prescreen.forms.calls import NotComparable
from prescreen.forms.network import described
from prescreen.random_state import forked

INPUTS = torch.zeros(4, 3, 6, 6)
BATCH = INPUTS, torch.zeros(4, dtype=torch.long)


class Net(nn.Module):
    """Blocks by name, and what is computed with them."""

    def __init__(self, forward, **blocks):
        super().__init__()
        self.blocks = nn.ModuleDict(blocks)
        self.run = forward
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.run(self.blocks, x).mean((2, 3)))


def loss(model, batch):
    return functional.cross_entropy(model(batch[0]), batch[1])


def use(model, inputs):
    return model(inputs)


def text(make, seed=0):
    def build():
        with forked(seed=seed):
            return make()

    return described(build, use, INPUTS, loss, BATCH, twice=True).text


def conv(*, cin=3, cout=4, k=3, init=None, frozen=False, **more):
    layer = nn.Conv2d(cin, cout, k, padding=k // 2, **more)
    if init is not None:
        init(layer.weight)
    layer.weight.requires_grad_(not frozen)
    return layer


def one(**more):
    return Net(lambda b, x: b["a"](x), a=conv(**more))


def behind(layer, **more):
    return Net(lambda b, x: b["c"](b["a"](x)), a=conv(**more), c=layer)


def two(run, second=None):
    return Net(run, a=conv(), b=conv() if second is None else second)


def cell(first="a", then=lambda x: x, swapped=False):
    """Two branches, of which one goes on; named and added in any order."""
    other = "b" if first == "a" else "a"

    def run(b, x):
        terms = [then(b[first](x)), b[other](x)]
        return sum(terms[::-1]) if swapped else sum(terms)

    return two(run)


def tied():
    net = two(lambda b, x: b["a"](x) + b["b"](x) ** 2)
    net.blocks["b"].weight = net.blocks["a"].weight
    return net


def sums(nested):
    blocks = {name: conv() for name in "abc"}
    if nested:
        return Net(lambda b, x: b["c"](x) + (b["b"](x) + b["a"](x)), **blocks)
    return Net(lambda b, x: (b["a"](x) + b["b"](x)) + b["c"](x), **blocks)


def pairs(chosen):
    """Products of branches that share their layers as these pairs of numbers say."""
    blocks = {str(n): conv() for n in range(6)}

    def run(b, x):
        return sum(b[str(m)](x).relu() * b[str(n)](x).sigmoid() for m, n in chosen)

    return Net(run, **blocks)


def at_random(rate):
    return Net(lambda b, x: functional.dropout(b["a"](x), rate, b.training), a=conv())


def dropped(times):
    def run(b, x):
        y = b["a"](x)
        if times == 1:
            d = functional.dropout(y, 0.5, b.training)
            return d.relu() * d.tanh()
        return (
            functional.dropout(y, 0.5, b.training).relu()
            * functional.dropout(y, 0.5, b.training).tanh()
        )

    return Net(run, a=conv())


class Buffer(nn.Module):
    def __init__(self, values, learns=False):
        super().__init__()
        values = torch.tensor(values).view(1, 4, 1, 1)
        if learns:
            self.values = nn.Parameter(values)
        else:
            self.register_buffer("values", values)

    def forward(self, x):
        return x * self.values


class Mean(nn.Module):
    """Subtracts a running mean that it keeps itself."""

    def __init__(self, share, reassigned=False):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 4, 1, 1))
        self.share, self.reassigned = share, reassigned

    def forward(self, x):
        if not self.training:
            return x - self.mean
        new = x.detach().mean((0, 2, 3), keepdim=True)
        if self.reassigned:
            self.mean = self.mean * self.share + new
        else:
            self.mean.mul_(self.share).add_(new)
        return x


def nothing():
    return one()


def zero_branch():
    return Net(lambda b, x: b["a"](x) + b["b"](x) * 0, a=conv(), b=conv())


def written_in_place():
    return Net(lambda b, x: functional.relu(b["a"](x), inplace=True), a=conv())


def later(step):
    net = two(lambda b, x: b["b"](step(b["a"](x))), conv(cin=4))
    return net


def initialised(weights):
    return one(init=lambda w: weights(w))


def scaled(by):
    return initialised(lambda w: w.data.mul_(by))


def cloned(is_copy):
    """Two layers that begin with the same weights, or not; both are trained."""
    first = conv()
    return Net(
        lambda b, x: b["a"](x) * b["b"](x), a=first, b=copy.deepcopy(first) if is_copy else conv()
    )


class Block(nn.Module):
    def __init__(self, wrapped):
        super().__init__()
        self.inner = nn.Sequential(conv(), nn.Identity(), nn.Flatten(0, -1)) if wrapped else conv()
        self.wrapped = wrapped

    def forward(self, x):
        return self.inner(x).view(4, 4, 6, 6) if self.wrapped else self.inner(x).relu()


EQUAL = {
    "names of layers": (lambda: cell("a"), lambda: cell("b")),
    "order of terms": (lambda: cell(), lambda: cell(swapped=True)),
    "brackets in sums": (lambda: sums(True), lambda: sums(False)),
    "identities": (nothing, lambda: behind(nn.Sequential(nn.Identity(), nn.Dropout(0.0)))),
    "a dead layer": (nothing, lambda: two(lambda b, x: b["a"](x))),
    "a dead branch": (nothing, lambda: two(lambda b, x: (b["a"](x), b["b"](x).relu())[0])),
    "a branch times zero": (nothing, zero_branch),
    "zeros added": (
        nothing,
        lambda: Net(lambda b, x: torch.zeros(4, 4, 6, 6) + b["a"](x), a=conv()),
    ),
    "in place": (lambda: behind(nn.ReLU()), written_in_place),
    "computed twice": (
        lambda: Net(lambda b, x: b["a"](x) * b["a"](x), a=conv()),
        lambda: Net(lambda b, x: (lambda y: y * y)(b["a"](x)), a=conv()),
    ),
    "a layer or a function": (
        lambda: behind(nn.ReLU()),
        lambda: Net(lambda b, x: functional.relu(b["a"](x)), a=conv()),
    ),
    "order of products": (
        lambda: two(lambda b, x: b["a"](x) * b["b"](x).relu()),
        lambda: two(lambda b, x: b["b"](x).relu() * b["a"](x)),
    ),
    "numbers of products": (
        lambda: pairs([(0, 1), (1, 2), (2, 0)]),
        lambda: pairs([(4, 5), (5, 3), (3, 4)]),
    ),
    "a buffer that nothing reads": (
        nothing,
        lambda: Net(lambda b, x: b["a"](x), a=conv(), z=Buffer([1.0] * 4)),
    ),
}
UNEQUAL = {
    "size of a kernel": (nothing, lambda: one(k=1)),
    "stride": (nothing, lambda: one(stride=2)),
    "dilation": (
        nothing,
        lambda: Net(lambda b, x: b["a"](x), a=nn.Conv2d(3, 4, 3, dilation=2, padding=2)),
    ),
    "no bias": (nothing, lambda: one(bias=False)),
    "another activation": (lambda: behind(nn.ReLU()), lambda: behind(nn.GELU())),
    "slope of an activation": (
        lambda: behind(nn.LeakyReLU(0.1)),
        lambda: behind(nn.LeakyReLU(0.2)),
    ),
    "scale of the initial weights": (nothing, lambda: scaled(1.01)),
    "distribution of the initial weights": (
        lambda: initialised(nn.init.xavier_uniform_),
        lambda: initialised(nn.init.xavier_normal_),
    ),
    "bounds of the initial weights": (
        lambda: initialised(lambda w: nn.init.trunc_normal_(w, std=0.1, a=-0.1, b=0.1)),
        lambda: initialised(lambda w: nn.init.trunc_normal_(w, std=0.1, a=-0.2, b=0.1)),
    ),
    "constant initial weights": (
        lambda: initialised(lambda w: nn.init.constant_(w, 0.1)),
        lambda: initialised(lambda w: nn.init.constant_(w, 0.2)),
    ),
    "zero initial weights": (nothing, lambda: initialised(nn.init.zeros_)),
    "initial weights partly zero": (nothing, lambda: initialised(lambda w: w.data[0].zero_())),
    "equal initial weights": (lambda: cloned(True), lambda: cloned(False)),
    "a frozen layer": (nothing, lambda: one(frozen=True)),
    "a frozen bias": (nothing, lambda: Net(lambda b, x: b["a"](x), a=_unlearned_bias())),
    "rate of a dropout": (lambda: behind(nn.Dropout(0.1)), lambda: behind(nn.Dropout(0.2))),
    "a dropout": (nothing, lambda: behind(nn.Dropout(0.1))),
    "whether a dropout is shared": (lambda: dropped(1), lambda: dropped(2)),
    "kind of dropout": (lambda: behind(nn.Dropout(0.1)), lambda: behind(nn.Dropout2d(0.1))),
    "ε of a normalisation": (
        lambda: behind(nn.BatchNorm2d(4)),
        lambda: behind(nn.BatchNorm2d(4, 1e-3)),
    ),
    "momentum of a normalisation": (
        lambda: behind(nn.BatchNorm2d(4)),
        lambda: behind(nn.BatchNorm2d(4, momentum=0.2)),
    ),
    "running statistics": (
        lambda: behind(nn.BatchNorm2d(4)),
        lambda: behind(nn.BatchNorm2d(4, track_running_stats=False)),
    ),
    "kind of normalisation": (
        lambda: behind(nn.GroupNorm(2, 4)),
        lambda: behind(nn.GroupNorm(4, 4)),
    ),
    "order of subtraction": (
        lambda: two(lambda b, x: b["a"](x) - b["b"](x).relu()),
        lambda: two(lambda b, x: b["b"](x).relu() - b["a"](x)),
    ),
    "order of concatenation": (
        lambda: two(lambda b, x: torch.cat([b["a"](x), b["b"](x).relu()], 1)[:, :4]),
        lambda: two(lambda b, x: torch.cat([b["b"](x).relu(), b["a"](x)], 1)[:, :4]),
    ),
    "tied weights": (tied, lambda: two(lambda b, x: b["a"](x) + b["b"](x) ** 2)),
    "a layer used twice": (
        lambda: two(lambda b, x: b["a"](x) + b["b"](x)),
        lambda: two(lambda b, x: b["a"](x) + b["a"](x)),
    ),
    "two triangles and a hexagon": (
        lambda: pairs([(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)]),
        lambda: pairs([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]),
    ),
    "values of a buffer": (
        lambda: behind(Buffer([1.0, 2, 3, 4])),
        lambda: behind(Buffer([1.0, 2, 3, 5])),
    ),
    "a buffer that learns": (
        lambda: behind(Buffer([1.0, 2, 3, 4])),
        lambda: behind(Buffer([1.0, 2, 3, 4], learns=True)),
    ),
    "a mean of its own": (lambda: behind(Mean(0.9)), lambda: behind(Mean(0.8))),
    "a mean that is assigned": (lambda: behind(Mean(0.9, True)), lambda: behind(Mean(0.8, True))),
    "a stopped gradient": (
        lambda: later(lambda y: y.relu()),
        lambda: later(lambda y: y.detach().relu()),
    ),
    "a part without gradients": (
        lambda: later(lambda y: y.relu()),
        lambda: later(lambda y: torch.no_grad()(torch.relu)(y)),
    ),
    "half a gradient": (
        lambda: later(lambda y: y * y),
        lambda: later(lambda y: y * y.detach()),
    ),
    "in training alone": (
        nothing,
        lambda: Net(lambda b, x: b["a"](x) * (2 if b.training else 1), a=conv()),
    ),
    "in use alone": (
        nothing,
        lambda: Net(lambda b, x: b["a"](x) * (1 if b.training else 2), a=conv()),
    ),
    "type of numbers": (
        lambda: later(lambda y: y),
        lambda: later(lambda y: y.bfloat16().float()),
    ),
    "a fixed factor": (lambda: later(lambda y: y * 2), lambda: later(lambda y: y * 3)),
    "an axis": (lambda: later(lambda y: y.softmax(1)), lambda: later(lambda y: y.softmax(2))),
    "weights in parts": (
        nothing,
        lambda: Net(lambda b, x: b["a"](x), a=parametrizations.weight_norm(conv())),
    ),
    "written into a part": (
        lambda: later(lambda y: y),
        lambda: later(lambda y: _first_row_zero(y)),
    ),
}


def _unlearned_bias():
    layer = conv()
    layer.bias.requires_grad_(False)
    return layer


def _first_row_zero(y):
    return torch.cat([torch.zeros_like(y[:, :1]), y[:, 1:]], 1)


@pytest.mark.parametrize("name", EQUAL)
def test_equal_networks_have_equal_texts(name):
    first, second = EQUAL[name]
    assert text(first) == text(second) == text(first, seed=5)


@pytest.mark.parametrize("name", UNEQUAL)
def test_unequal_networks_have_unlike_texts(name):
    first, second = UNEQUAL[name]
    assert text(second) == text(second, seed=5) != text(first)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 3 * gradient


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.count = 0

    def forward(self, x):
        self.count += 1
        return x * self.count


def with_hook(where):
    net = one()
    layer = net.blocks["a"]
    if where == "module":
        layer.register_full_backward_hook(lambda module, given, got: None)
    else:
        layer.weight.register_hook(lambda gradient: gradient * 2)
    return net


def caught(y):
    try:
        return y * y.sum().item()
    except Exception:
        return y


def hooked(y):
    y.register_hook(lambda gradient: gradient * 2)
    return y


def of_node(y):
    y.grad_fn.register_hook(lambda given, got: None)
    return y


def shared_memory():
    net = two(lambda b, x: b["a"](x) + b["b"](x))
    net.blocks["b"].weight = nn.Parameter(net.blocks["a"].weight.data)
    return net


REFUSED = {
    "a gradient of its own": lambda: later(Doubled.apply),
    "a hook of a layer": lambda: with_hook("module"),
    "a hook of a parameter": lambda: with_hook("parameter"),
    "a hook of a value": lambda: later(hooked),
    "a hook of a node": lambda: later(of_node),
    "a decision by values": lambda: later(lambda y: y if y.sum() > 0 else -y),
    "a number of values": lambda: later(lambda y: y * y.mean().item()),
    "values as NumPy's": lambda: later(lambda y: y * float(y.detach().numpy().sum())),
    "an error that is caught": lambda: later(caught),
    "a count of passes": lambda: behind(Counting()),
    "Python's random numbers": lambda: later(lambda y: y * (1 + (random.random() < 2))),
    "NumPy's random numbers": lambda: later(lambda y: y * (1 + (np.random.rand() < 2))),
    "two parameters in one place": shared_memory,
    "memory seen with other strides": lambda: later(
        lambda y: y + y.as_strided((4, 4, 6, 6), (0, 0, 0, 0))
    ),
    "weights by values that are drawn": lambda: initialised(
        lambda w: nn.init.constant_(w, math.ceil(w.abs().max().item()))
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_operations_do_not_say_is_refused(name):
    with pytest.raises(NotComparable):
        text(REFUSED[name])


def test_a_network_is_left_as_it_was():
    net = behind(nn.Sequential(nn.BatchNorm2d(4), Mean(0.9, True)))
    before = {
        name: (id(value), value.clone()) for name, value in net.state_dict(keep_vars=True).items()
    }
    described(lambda: net, use, INPUTS, loss, BATCH)
    for name, value in net.state_dict(keep_vars=True).items():
        assert id(value) == before[name][0]
        assert torch.equal(value, before[name][1])
