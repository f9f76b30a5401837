"""Kinds of model: what is read of each, against the logits that its loss sees."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune
from toy import TRAINING, make_task

from prescreen import rank, screen
from prescreen.heads.capturing import capture, capture_heads
from prescreen.predictions import model_logits
from prescreen.readouts.network.features import isotropy
from prescreen.spaces.candidate import Candidate

D, K, N, L = 6, 4, 10, 5


class Body(nn.Module):
    """Features z, and a head that a case adds; `tail` makes the output of them."""

    def __init__(self, tail, **parts):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, D), nn.Tanh())
        for name, part in parts.items():
            if isinstance(part, torch.Tensor):
                part = nn.Parameter(part)
            setattr(self, name, part)
        self.tail = tail

    def forward(self, x):
        return self.tail(self, self.body(x))


class Lora(nn.Module):
    """An adapter as libraries write them: the base layer, and B A x."""

    def __init__(self, rank=2, scale=0.5, attributes=False):
        super().__init__()
        self.base = nn.Linear(D, K)
        self.down, self.up = nn.Linear(D, rank, bias=False), nn.Linear(rank, K, bias=False)
        self.scale = scale
        if attributes:  # peft's layers say these of their base layer
            self.in_features, self.out_features = D, K

    @property
    def weight(self):
        return self.base.weight

    @property
    def bias(self):
        return self.base.bias

    def forward(self, x):
        return self.base(x) + self.up(self.down(x)) * self.scale


class LoraSubclass(nn.Linear):
    def __init__(self):
        super().__init__(D, K)
        self.a, self.b = nn.Parameter(torch.randn(2, D)), nn.Parameter(torch.randn(K, 2))

    def forward(self, x):
        result = functional.linear(x, self.weight, self.bias)
        result += (x @ self.a.T @ self.b.T) * 0.1
        return result


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


Pair = namedtuple("Pair", "logits hidden")


@dataclass
class Output:
    logits: torch.Tensor
    loss: None = None


def fc(bias=True):
    return nn.Linear(D, K, bias=bias)


def zeros(layer):
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def lora_weight(m):
    return m.fc.base.weight + 0.5 * m.fc.up.weight @ m.fc.down.weight


def cosine(m, z):
    return 8 * functional.linear(functional.normalize(z, dim=-1), functional.normalize(m.w, dim=-1))


def tokens():
    return torch.randn(N, L, 3)


def row():
    return torch.randn(N, 3)


def image():
    return torch.randn(N, 3, 3, 3)


def flat(z):
    return z.flatten(0, -2)


# name: (tail, parts, inputs, features of (model, z), weight, bias of the model)
PLAIN = (lambda m, z: z, lambda m: m.fc.weight, lambda m: m.fc.bias)
CASES = {
    "plain": (lambda m, z: m.fc(z), {"fc": fc}, row, *PLAIN),
    "auxiliary returned second": (
        lambda m, z: (m.fc(z), m.aux(z)),
        {"fc": fc, "aux": fc},
        row,
        *PLAIN,
    ),
    "auxiliary computed first, registered last": (
        lambda m, z: {"aux": m.aux(z), "logits": m.fc(z)},
        {"fc": fc, "aux": fc},
        row,
        *PLAIN,
    ),
    "named tuple": (
        lambda m, z: Pair(hidden=m.aux(z), logits=m.fc(z)),
        {"fc": fc, "aux": fc},
        row,
        *PLAIN,
    ),
    "data class": (lambda m, z: Output(m.fc(z)), {"fc": fc}, row, *PLAIN),
    "list of outputs": (
        lambda m, z: [m.fc(z), m.aux(z), z],
        {"fc": fc, "aux": fc},
        row,
        *PLAIN,
    ),
    "lora": (
        lambda m, z: m.fc(z),
        {"fc": Lora},
        row,
        lambda m, z: z,
        lora_weight,
        lambda m: m.fc.base.bias,
    ),
    "lora that looks like its base": (
        lambda m, z: m.fc(z),
        {"fc": lambda: Lora(attributes=True)},
        row,
        lambda m, z: z,
        lora_weight,
        lambda m: m.fc.base.bias,
    ),
    "lora as a subclass, added in place": (
        lambda m, z: m.fc(z),
        {"fc": LoraSubclass},
        row,
        lambda m, z: z,
        lambda m: m.fc.weight + 0.1 * m.fc.b @ m.fc.a,
        lambda m: m.fc.bias,
    ),
    "parametrized": (
        lambda m, z: m.fc(z),
        {"fc": lambda: parametrize.register_parametrization(fc(), "weight", Doubled())},
        row,
        *PLAIN,
    ),
    "weight norm": (
        lambda m, z: m.fc(z),
        {"fc": lambda: parametrizations.weight_norm(fc())},
        row,
        *PLAIN,
    ),
    "spectral norm": (
        lambda m, z: m.fc(z),
        {"fc": lambda: parametrizations.spectral_norm(fc())},
        row,
        *PLAIN,
    ),
    "old spectral norm": (
        lambda m, z: m.fc(z),
        {"fc": lambda: nn.utils.spectral_norm(fc())},
        row,
        *PLAIN,
    ),
    "cosine": (
        cosine,
        {"w": lambda: torch.randn(K, D)},
        row,
        lambda m, z: functional.normalize(z, dim=-1),
        lambda m: 8 * functional.normalize(m.w, dim=-1),
        None,
    ),
    "tied to an embedding": (
        lambda m, z: functional.linear(z, m.e.weight),
        {"e": lambda: nn.Embedding(K, D)},
        tokens,
        lambda m, z: flat(z),
        lambda m: m.e.weight,
        None,
    ),
    "matmul and own bias": (
        lambda m, z: z @ m.w + m.b,
        {"w": lambda: torch.randn(D, K), "b": lambda: torch.randn(K)},
        row,
        lambda m, z: z,
        lambda m: m.w.T,
        lambda m: m.b,
    ),
    "weight cast like the features": (
        lambda m, z: functional.linear(z, m.w.to(z), torch.zeros_like(z[0, :K]) + m.b),
        {"w": lambda: torch.randn(K, D), "b": lambda: torch.randn(K)},
        row,
        lambda m, z: z,
        lambda m: m.w,
        lambda m: m.b,
    ),
    "weight on the left": (
        lambda m, z: (m.w @ z.T).T,
        {"w": lambda: torch.randn(K, D)},
        row,
        lambda m, z: z,
        lambda m: m.w,
        None,
    ),
    "addmm": (
        lambda m, z: torch.addmm(m.b, z, m.w),
        {"w": lambda: torch.randn(D, K), "b": lambda: torch.randn(K)},
        row,
        lambda m, z: z,
        lambda m: m.w.T,
        lambda m: m.b,
    ),
    "einsum": (
        lambda m, z: torch.einsum("bld,kd->blk", z, m.w),
        {"w": lambda: torch.randn(K, D)},
        tokens,
        lambda m, z: flat(z),
        lambda m: m.w,
        None,
    ),
    "scaled by a parameter": (
        lambda m, z: m.fc(z) * m.s.exp(),
        {"fc": fc, "s": lambda: torch.randn(())},
        row,
        lambda m, z: z,
        lambda m: m.s.exp() * m.fc.weight,
        lambda m: m.s.exp() * m.fc.bias,
    ),
    "scaled class by class, in place": (
        lambda m, z: m.fc(z).mul_(m.s).add_(m.s),
        {"fc": fc, "s": lambda: torch.randn(K)},
        row,
        lambda m, z: z,
        lambda m: m.s[:, None] * m.fc.weight,
        lambda m: m.s * m.fc.bias + m.s,
    ),
    "masked in place": (
        lambda m, z: m.fc(z).mul_(2),
        {"fc": fc},
        row,
        lambda m, z: z,
        lambda m: 2 * m.fc.weight,
        lambda m: 2 * m.fc.bias,
    ),
    "log_softmax": (
        lambda m, z: functional.log_softmax(m.fc(z), -1),
        {"fc": fc},
        row,
        *PLAIN,
    ),
    "log_softmax by hand": (
        lambda m, z: (lambda y: y - y.logsumexp(-1, keepdim=True))(m.fc(z)),
        {"fc": fc},
        row,
        *PLAIN,
    ),
    "mean of two log_softmax": (
        lambda m, z: (m.one(z).log_softmax(-1) + m.two(z.square()).log_softmax(-1)) / 2,
        {"one": fc, "two": fc},
        row,
        lambda m, z: torch.cat([z, z.square()], 1),
        lambda m: torch.cat([m.one.weight, m.two.weight], 1) / 2,
        lambda m: (m.one.bias + m.two.bias) / 2,
    ),
    "a class that is ruled out": (
        lambda m, z: m.fc(z).masked_fill(torch.tensor([False, False, True, False]), -1e4),
        {"fc": fc},
        row,
        lambda m, z: z,
        lambda m: m.fc.weight * torch.tensor([1.0, 1, 0, 1])[:, None],
        lambda m: m.fc.bias.masked_fill(torch.tensor([False, False, True, False]), -1e4),
    ),
    "adapters in parallel": (
        lambda m, z: m.fc(z) + 0.5 * m.up(m.down(z)) + m.up2(m.down2(z)),
        {
            "fc": fc,
            "down": lambda: nn.Linear(D, 2),
            "up": lambda: nn.Linear(2, K, bias=False),
            "down2": lambda: nn.Linear(D, 3),
            "up2": lambda: zeros(nn.Linear(3, K)),
        },
        row,
        lambda m, z: z,
        lambda m: m.fc.weight + 0.5 * m.up.weight @ m.down.weight,
        lambda m: m.fc.bias + 0.5 * m.up.weight @ m.down.bias,
    ),
    "batch in parts": (
        lambda m, z: torch.cat([m.fc(part) for part in z.split(3)]),
        {"fc": fc},
        row,
        *PLAIN,
    ),
    "attention over the logits of tokens": (
        lambda m, z: (m.gate(z).softmax(1) * m.fc(z)).sum(1),
        {"fc": fc, "gate": lambda: nn.Linear(D, 1)},
        tokens,
        lambda m, z: (m.gate(z).softmax(1) * z).sum(1),
        lambda m: m.fc.weight,
        lambda m: m.fc.bias,
    ),
    "a layer whose weight alone is used": (
        lambda m, z: z @ m.fc.weight.T,
        {"fc": fc},
        row,
        lambda m, z: z,
        lambda m: m.fc.weight,
        None,
    ),
    "pruned": (
        lambda m, z: m.fc(z),
        {"fc": lambda: prune.l1_unstructured(fc(), "weight", 0.5)},
        row,
        *PLAIN,
    ),
    "mlp": (
        lambda m, z: m.fc(m.inner(z)),
        {"inner": lambda: nn.Sequential(nn.Linear(D, K), nn.ReLU(), nn.Linear(K, D)), "fc": fc},
        row,
        lambda m, z: m.inner(z),
        lambda m: m.fc.weight,
        lambda m: m.fc.bias,
    ),
    "gru, last step": (
        lambda m, z: m.fc(m.gru(z)[0])[:, -1],
        {"gru": lambda: nn.GRU(D, D, batch_first=True), "fc": fc},
        tokens,
        lambda m, z: m.gru(z)[0][:, -1],
        lambda m: m.fc.weight,
        lambda m: m.fc.bias,
    ),
    "a head applied step by step": (
        lambda m, z: torch.stack([m.fc(step) for step in z.unbind(1)], 1),
        {"fc": fc},
        lambda: torch.randn(N, 30, 3),
        lambda m, z: flat(z),
        lambda m: m.fc.weight,
        lambda m: m.fc.bias,
    ),
    "first token of a head on all": (
        lambda m, z: m.fc(z)[:, 0],
        {"fc": fc},
        tokens,
        lambda m, z: z[:, 0],
        lambda m: m.fc.weight,
        lambda m: m.fc.bias,
    ),
    "a token of each sequence": (
        lambda m, z: m.fc(z)[torch.arange(N), torch.arange(N) % L],
        {"fc": fc},
        tokens,
        lambda m, z: z[torch.arange(N), torch.arange(N) % L],
        lambda m: m.fc.weight,
        lambda m: m.fc.bias,
    ),
    "every token": (
        lambda m, z: m.fc(z),
        {"fc": fc},
        tokens,
        lambda m, z: flat(z),
        lambda m: m.fc.weight,
        lambda m: m.fc.bias,
    ),
    "reversed samples": (
        lambda m, z: m.fc(z).flip(0),
        {"fc": fc},
        row,
        lambda m, z: z.flip(0),
        lambda m: m.fc.weight,
        lambda m: m.fc.bias,
    ),
    "mean over tokens": (
        lambda m, z: m.fc(z).mean(1),
        {"fc": fc},
        tokens,
        lambda m, z: z.mean(1),
        lambda m: m.fc.weight,
        lambda m: m.fc.bias,
    ),
    "sum of two heads": (
        lambda m, z: 0.3 * m.one(z) + 0.7 * m.two(z.square()),
        {"one": fc, "two": fc},
        row,
        lambda m, z: torch.cat([z, z.square()], 1),
        lambda m: torch.cat([0.3 * m.one.weight, 0.7 * m.two.weight], 1),
        lambda m: 0.3 * m.one.bias + 0.7 * m.two.bias,
    ),
    "two heads on the same features": (
        lambda m, z: m.one(z) + m.two(z),
        {"one": fc, "two": fc},
        row,
        lambda m, z: z,
        lambda m: m.one.weight + m.two.weight,
        lambda m: m.one.bias + m.two.bias,
    ),
    "two heads on equal features, which training may change": (
        lambda m, z: m.one(z) + m.two(z.clone()),
        {"one": fc, "two": fc},
        row,
        lambda m, z: torch.cat([z, z], 1),
        lambda m: torch.cat([m.one.weight, m.two.weight], 1),
        lambda m: m.one.bias + m.two.bias,
    ),
    "two heads that are equal at first": (
        lambda m, z: m.one(z) + m.two(z.square()),
        {"one": lambda: zeros(fc()), "two": lambda: zeros(fc())},
        row,
        lambda m, z: torch.cat([z, z.square()], 1),
        lambda m: torch.cat([m.one.weight, m.two.weight], 1),
        lambda m: m.one.bias + m.two.bias,
    ),
    "one head on two features": (
        lambda m, z: (m.fc(z) + m.fc(z.square())) / 2,
        {"fc": fc},
        row,
        lambda m, z: (z + z.square()) / 2,
        lambda m: m.fc.weight,
        lambda m: m.fc.bias,
    ),
    "a weight that is normalised at each step": (
        lambda m, z: torch.stack(
            [functional.linear(step, functional.normalize(m.w)) for step in z.unbind(1)], 1
        ),
        {"w": lambda: torch.randn(K, D)},
        tokens,
        lambda m, z: flat(z),
        lambda m: functional.normalize(m.w),
        None,
    ),
    "classes put together": (
        lambda m, z: torch.cat([m.one(z), m.two(z)], -1),
        {"one": lambda: nn.Linear(D, 1), "two": lambda: nn.Linear(D, 3)},
        row,
        lambda m, z: z,
        lambda m: torch.cat([m.one.weight, m.two.weight]),
        lambda m: torch.cat([m.one.bias, m.two.bias]),
    ),
    "classes left out": (
        lambda m, z: m.fc(z)[:, 1:-1],
        {"fc": lambda: nn.Linear(D, K + 2)},
        row,
        lambda m, z: z,
        lambda m: m.fc.weight[1:-1],
        lambda m: m.fc.bias[1:-1],
    ),
    "classes in another order": (
        lambda m, z: m.fc(z)[:, [2, 0, 3, 1]],
        {"fc": fc},
        row,
        lambda m, z: z,
        lambda m: m.fc.weight[[2, 0, 3, 1]],
        lambda m: m.fc.bias[[2, 0, 3, 1]],
    ),
}


class Images(nn.Module):
    def __init__(self, tail, head):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, D, 1), nn.Tanh())
        self.fc, self.tail = head, tail

    def forward(self, x):
        return self.tail(self, self.body(x))


def dense(z):
    return z.movedim(1, -1).flatten(0, -2)


IMAGES = {
    "1x1 head, pooled": (
        lambda m, z: m.fc(z).mean((2, 3)),
        lambda: nn.Conv2d(D, K, 1),
        lambda z: z.mean((2, 3)),
    ),
    "3x3 head, pooled": (
        lambda m, z: functional.adaptive_avg_pool2d(m.fc(z), 1).flatten(1),
        lambda: nn.Conv2d(D, K, 3, padding=1),
        lambda z: functional.unfold(z, 3, padding=1).mean(-1),
    ),
    "1x1 head, dense": (lambda m, z: m.fc(z), lambda: nn.Conv2d(D, K, 1), dense),
    "dense, channels moved last": (
        lambda m, z: m.fc(z).permute(0, 2, 3, 1).contiguous(),
        lambda: nn.Conv2d(D, K, 1),
        dense,
    ),
    "convolution on pooled features": (
        lambda m, z: m.fc(z.mean((2, 3), keepdim=True)).flatten(1),
        lambda: nn.Conv2d(D, K, 1),
        lambda z: z.mean((2, 3)),
    ),
}


def build(name):
    torch.manual_seed(0)
    if name in IMAGES:
        tail, head, features = IMAGES[name]
        model, inputs = Images(tail, head()), image()
        expected = (lambda m, z: features(z), lambda m: m.fc.weight.flatten(1), lambda m: m.fc.bias)
    else:
        tail, parts, make, *expected = CASES[name]
        model = Body(tail, **{key: part() for key, part in parts.items()})
        inputs = make()
    return model.eval(), inputs, expected


def rows_of(logits, count):
    if logits.ndim > 2 and logits.shape[-1] != K:
        logits = logits.movedim(1, -1)
    return logits.flatten(0, -2) if logits.ndim > 2 else logits


@torch.no_grad()
def assert_read(taken, model, inputs, expected):
    features, weight, bias = expected
    logits = rows_of(model_logits(model(inputs)), K)
    z = model.body(inputs)
    torch.testing.assert_close(taken.features, features(model, z), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(taken.weight, weight(model), rtol=1e-4, atol=1e-6)
    if bias is None:
        assert taken.bias is None
    else:
        torch.testing.assert_close(taken.bias, bias(model), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(taken.logits.softmax(-1), logits.softmax(-1), rtol=1e-5, atol=1e-6)
    product = taken.features @ taken.weight.T + (0 if taken.bias is None else taken.bias)
    torch.testing.assert_close(taken.logits, product, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*CASES, *IMAGES])
def test_what_gives_the_logits_is_read(name):
    model, inputs, expected = build(name)
    taken = capture(model, inputs)
    assert_read(taken, model, inputs, expected)
    assert next(iter(capture_heads(model, inputs).values())).features.shape == taken.features.shape
    assert isotropy(model, inputs) > 0
    for tensor in (taken.features, taken.logits, taken.weight):
        assert not tensor.requires_grad
    with torch.inference_mode():
        again = capture(model, inputs)
    # Not bit for bit: a recurrent layer rounds otherwise in inference mode, at times.
    torch.testing.assert_close(again.features, taken.features, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(again.logits, taken.logits, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", [*CASES, *IMAGES])
def test_other_layers_change_nothing(name):
    """Neither layers that do not run, nor ones that run but do not reach the logits."""
    model, inputs, _ = build(name)
    taken = capture(model, inputs)

    class Busy(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(D, K)
            self.model = model
            self.late = nn.Linear(D, K)
            self.classifier = nn.Linear(D, K)

        def get_output_embeddings(self):  # transformers would read `classifier`
            return None

        def forward(self, x):
            output = self.model(x)
            for _ in range(20):
                self.late(torch.ones(N, D) * x.mean())
            return output

    other = capture(Busy(), inputs)
    assert torch.equal(other.features, taken.features)
    assert torch.equal(other.weight, taken.weight)
    assert torch.equal(other.logits, taken.logits)


@pytest.mark.parametrize("tail", [lambda m, z: m.fc(z), lambda m, z: m.fc(z).tanh()])
def test_an_adapter_that_the_user_names(tail):
    torch.manual_seed(0)
    model, inputs = Body(tail, fc=Lora(attributes=True, scale=1e-3)).eval(), row()
    taken = capture(model, inputs, head="fc")
    assert torch.equal(taken.logits, model.fc(model.body(inputs)))
    effective = model.fc.base.weight + 1e-3 * model.fc.up.weight @ model.fc.down.weight
    torch.testing.assert_close(taken.weight, effective, rtol=0, atol=1e-6)
    assert not torch.allclose(taken.weight, model.fc.base.weight, rtol=0, atol=1e-5)


REFUSED = {
    "softmax": lambda m, z: m.fc(z).softmax(-1),
    "soft cap": lambda m, z: 30 * torch.tanh(m.fc(z) / 30),
    "rectified": lambda m, z: m.fc(z).relu(),
    "bilinear": lambda m, z: m.two(z, z),
    "normalised by itself": lambda m, z: functional.normalize(m.fc(z), dim=-1),
    "clamped": lambda m, z: m.fc(z).clamp(-0.1, 0.1),
    "maximum of heads": lambda m, z: torch.maximum(m.fc(z), m.one(z)),
    "a weight made of the data": lambda m, z: z @ z[:K].T,
    "rows repeated": lambda m, z: m.fc(z).repeat(2, 1),
    "inside vmap": lambda m, z: 2 * torch.vmap(m.fc)(z),
    "a dict without logits": lambda m, z: {"a": m.fc(z), "b": m.one(z)},
    "no linear end": lambda m, z: m.bilinear_free(z),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_linear_is_refused(name):
    torch.manual_seed(0)
    model = Body(
        REFUSED[name],
        fc=fc(),
        one=fc(),
        two=nn.Bilinear(D, D, K),
        bilinear_free=nn.Sequential(nn.Linear(D, K), nn.SiLU()),
    )
    with pytest.raises(
        ValueError, match=r"^`head` must be named where [^\n]*head='path\.to\.layer'$"
    ):
        capture(model, row())
    if name in ("softmax", "soft cap", "clamped", "a dict without logits"):  # the user may name it
        inputs = row()
        taken = capture(model, inputs, head="fc")
        assert torch.equal(taken.logits, model.fc(model.body(inputs)))


@pytest.mark.parametrize(
    "tail",
    [
        lambda m, z: m.fc(z).log_softmax(1),
        lambda m, z: (lambda y: y - y.logsumexp(1, keepdim=True))(m.fc(z)),
        lambda m, z: m.fc(z).log_softmax(-1).exp(),
    ],
)
def test_log_softmax_of_anything_but_classes(tail):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"^`head` must be named"):
        capture(Body(tail, fc=fc()), tokens())


def test_sigmoid_does_not_forgive_a_shift():
    model, inputs, _ = build("log_softmax")
    with pytest.raises(ValueError, match=r"^`head` must be named"):
        capture(model, inputs, link="sigmoid")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_quantised_head():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, D), nn.ReLU(), nn.Linear(D, K))
    model = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    inputs = row()
    taken = capture(model, inputs)
    assert torch.equal(taken.weight, model[2].weight().dequantize())
    assert torch.equal(taken.logits, model(inputs))
    product = taken.features @ taken.weight.T + taken.bias
    torch.testing.assert_close(product, taken.logits)


@pytest.mark.slow
def test_an_exported_program():
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(3, D), nn.ReLU(), nn.Linear(D, K)), row()
    taken = capture(torch.export.export(model, (inputs,)).module(), inputs)
    assert torch.equal(taken.weight, model[2].weight)
    assert torch.equal(taken.features, model[:2](inputs))


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_torchscript_is_refused():
    with pytest.raises(
        ValueError, match=r"^`model` must be an nn.Module in Python, got one made by"
    ):
        capture(torch.jit.trace(nn.Linear(3, 2), row()), row())


@pytest.mark.parametrize("name", [*CASES, *IMAGES])
def test_a_head_in_lower_precision(name):
    """Numbers of rows and classes survive it; half the mantissa is not enough for more."""
    model, inputs, _ = build(name)
    expected = capture(model, inputs)
    taken = capture(model.bfloat16(), inputs.bfloat16())
    assert taken.features.shape == expected.features.shape
    assert taken.weight.shape == expected.weight.shape
    torch.testing.assert_close(taken.weight.float(), expected.weight, rtol=0.1, atol=0.05)


class Auxiliary(nn.Module):
    """The toy task's network, which may return another output after its logits."""

    def __init__(self, auxiliary):
        super().__init__()
        self.body, self.fc = (
            nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU()),
            nn.Linear(8, 3),
        )
        self.other = nn.Linear(8, 5) if auxiliary else None

    def forward(self, x):
        z = self.body(x)
        return (self.fc(z), self.other(z)) if self.other else self.fc(z)


def test_what_training_uses_is_what_is_read():
    def readings(auxiliary):
        candidate = Candidate("one", {}, lambda: Auxiliary(auxiliary))
        readings = screen(candidate, make_task(), TRAINING, ["sample_gradient", "rankme"])
        return [reading.values for reading in readings]

    assert readings(True) == readings(False)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(16, 3))

    def forward(self, x):
        return x.flatten(1) @ self.w


def test_a_ranking_takes_models_without_layers():
    models = {"functional": Functional, "plain": lambda: Auxiliary(False)}
    table = rank(models, make_task(), training=TRAINING)
    assert {row.name: row.status for row in table} == {"functional": "ok", "plain": "ok"}
