"""Readings from the training's own forward passes, which leave the training as it would be."""

import copy
import math
from contextlib import nullcontext

import pytest
import torch
import toy_networks
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from prescreen import READOUTS, Readout, TrainingProbe
from prescreen.captured import Capture

IMAGES = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.arange(24).view(4, 6) % 7
LABELS = torch.arange(12) % 4
HEAD = [name for name, one in READOUTS.items() if one.needs == ("head",)]


def network():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3))
    return nn.Sequential(body, pooled, nn.Linear(6, 4))


class Tied(nn.Module):
    """A language model whose head is its embedding; it returns its loss beside the logits."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 5)
        self.head = nn.Linear(5, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, input_ids, attention_mask=None):
        logits = self.head(self.embed(input_ids).tanh())
        return {"loss": logits.logsumexp(-1).mean(), "logits": logits}


class Losses(nn.Module):
    """Returns no logits, as detectors do in training."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, images):
        return {"loss": self.head(self.body(images.mean((2, 3)))).square().mean()}


def taken(model, run):
    """What enters and leaves the last linear layer or convolution, by a hook of the test's own."""
    seen = []
    last = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)][-1]
    handle = last.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    with torch.no_grad():
        run()
    handle.remove()
    features, logits = (one.detach() for one in seen[-1])
    if isinstance(last, nn.Conv2d):
        features, logits = features.movedim(1, -1), logits.movedim(1, -1)
    bias = None if last.bias is None else last.bias.detach()
    weight = last.weight.detach().flatten(1)
    return Capture(features.flatten(0, -2), logits.flatten(0, -2), weight, bias)


MODELS = {
    "classifier": (network, lambda model: model(IMAGES)),
    "perceptron": (lambda: toy_networks.perceptron(8, num_classes=4, in_features=192), None),
    "pixels": (lambda: toy_networks.pixelwise(5, num_classes=4, in_channels=3), None),
    "tied": (Tied, lambda model: model(TOKENS)),
    "keywords": (lambda: toy_networks.tagger(5, vocab_size=7, num_classes=4), None),
    "averaged": (lambda: AveragedModel(network()), lambda model: model(IMAGES)),
}
RUNS = {"keywords": lambda model: model(input_ids=TOKENS)}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad])
def test_values_are_those_of_the_forward_pass_that_training_makes(name, mode):
    build, run = MODELS[name]
    model = build().train()
    run = run or RUNS.get(name) or (lambda model: model(IMAGES))
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    expected = taken(model, lambda: run(model))
    model.load_state_dict(state)
    torch.set_rng_state(random)
    probe = TrainingProbe(HEAD)
    with mode(), probe.watching(model, 3) as watched:
        run(model)
        assert watched.reading is None
    assert watched.reading.step == 3
    for readout in HEAD:
        value = READOUTS[readout](expected)
        assert watched.reading.values[readout] == pytest.approx(value, rel=1e-5, nan_ok=True)


def trained(watch, amp=False, accumulate=1):
    """The weights, buffers, momenta, losses and random state after some steps, and the readings."""
    model, readings, losses = network().train(), [], []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    probe = TrainingProbe(HEAD)
    for step in range(1, 7):
        optimizer.zero_grad()
        for part in range(accumulate):
            block = probe.watching(model, step, due=step % 2 == 0) if watch else nullcontext()
            with block as watched, torch.autocast("cpu", torch.bfloat16, enabled=amp):
                logits = model(IMAGES[part::accumulate])
                loss = functional.cross_entropy(logits, LABELS[part::accumulate])
            loss.backward()
            losses.append(loss.item())
        if watch and watched.reading is not None:
            readings.append(watched.reading)
        optimizer.step()
    momenta = [one["momentum_buffer"] for one in optimizer.state.values()]
    tensors = [*model.state_dict().values(), *momenta, torch.get_rng_state()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return tensors, losses, hooks, readings


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_is_bit_for_bit_as_it_would_be(amp, accumulate):
    plain, losses, _, _ = trained(False, amp, accumulate)
    watched, own, hooks, readings = trained(True, amp, accumulate)
    assert all(map(torch.equal, plain, watched))
    assert own == losses
    assert not any(hooks)
    assert [one.step for one in readings] == [2, 4, 6]
    assert all(math.isfinite(one.values["confidence"]) for one in readings)


def test_of_several_forward_passes_the_last_is_read():
    model = network().eval()
    probe = TrainingProbe(["confidence"])
    with probe.watching(model, 1) as both:
        model(IMAGES[:6])
        model(IMAGES[6:])
    with probe.watching(model, 1) as last:
        model(IMAGES[6:])
    assert both.reading == last.reading


def test_a_named_head_of_a_model_that_returns_losses():
    model = Losses()
    with TrainingProbe(["rankme"], head="head").watching(model, 1) as watched:
        model(IMAGES)
    features = model.body(IMAGES.mean((2, 3))).detach()
    expected = READOUTS["rankme"](
        Capture(features, model.head(features).detach(), *model.head.parameters())
    )
    assert watched.reading.values["rankme"] == pytest.approx(expected)


def test_a_diverged_model_has_no_values():
    model = network()
    nn.init.constant_(model[-1].bias, math.inf)
    with TrainingProbe(["confidence"]).watching(model, 1) as watched:
        model(IMAGES)
    assert math.isnan(watched.reading.values["confidence"])


def fail(model):
    model(IMAGES)
    raise ValueError("boom")


def test_nothing_is_read_if_the_block_raises_or_none_is_due():
    model = network()
    calls = []
    probe = TrainingProbe({"mine": Readout(lambda head: calls.append(head) or 1.0)})
    with pytest.raises(ValueError, match="boom"), probe.watching(model, 1) as watched:
        fail(model)
    with probe.watching(model, 1, due=False) as other:
        model(IMAGES)
    assert watched.reading is None
    assert other.reading is None
    assert calls == []
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("names", "needs"),
    [
        (["expected_agreement"], "'expected_agreement', which needs a view"),
        (["ahead/entropy"], "'ahead/entropy', which needs earlier readings"),
        (["entropy", "flops"], "'flops', which needs the untrained network"),
        (["gap/entropy"], "'gap/entropy', which needs seen inputs"),
        (
            ["stable_information"],
            "'stable_information', which needs a view and the reading before",
        ),
    ],
)
def test_a_panel_that_needs_more_is_refused(names, needs):
    message = f"^`readouts` must need the head alone, got {needs}; Probe reads it$"
    with pytest.raises(ValueError, match=message):
        TrainingProbe(names)
    with pytest.raises(ValueError, match=r"^`readouts` must be defined for identity links"):
        TrainingProbe(["entropy"], link="identity")


def test_a_readout_that_fails_is_named():
    model, readouts = network(), {"mine": Readout(lambda head: head.nothing)}
    message = r"^readout 'mine' failed, AttributeError: "
    with pytest.raises(RuntimeError, match=message), TrainingProbe(readouts).watching(model, 1):
        model(IMAGES)


class Scaled(nn.Sequential):
    def forward(self, x):
        return 3 * super().forward(x)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda model: model[0](IMAGES),
            "`watching` must hold a forward pass of the model, got none",
        ),
        (
            lambda model: (model(IMAGES), model[-1].weight.data.add_(0), _step(model)),
            "`watching` must end before the optimizer's step, got weights that have changed",
        ),
        (
            lambda model: Scaled(*model)(IMAGES),
            "`watching` must hold a forward pass of the model, got none",
        ),
    ],
)
def test_a_block_that_cannot_be_read_says_so(run, message):
    model = network()
    probe = TrainingProbe(["confidence"])
    with pytest.raises(ValueError, match=f"^{message}"), probe.watching(model, 1):
        run(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def _step(model):
    model(IMAGES).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def test_logits_that_no_layer_makes_are_refused():
    model = Scaled(*network())
    message = (
        r"^`head` must be named where no layer's own output is the logits .* got None for Scaled"
    )
    with pytest.raises(ValueError, match=message), TrainingProbe(HEAD).watching(model, 1):
        model(IMAGES)


def test_compiled_models_are_refused():
    message = "^`model` must be watched as it is before torch.compile, got a compiled one"
    model, inside = network(), network()
    inside.compile(backend="eager")
    for compiled in (torch.compile(model, backend="eager"), nn.Sequential(inside)):
        with (
            pytest.raises(ValueError, match=message),
            TrainingProbe(HEAD).watching(compiled, 1),
        ):
            pass
