"""The one place where models are read: its memory, its refusals, and the model left unchanged."""

import math

import pytest
import torch
from torch import nn

from prescreen import READOUTS, Probe, Readout, read
from prescreen.captured import NonFiniteError
from prescreen.heads import capture
from prescreen.heads.noise import weight_noise
from prescreen.heads.positions import draw
from prescreen.panel import CHECKPOINT_PANEL, DEFAULT_PANEL
from prescreen.readouts import Network
from prescreen.readouts.network import structure
from prescreen.tasks.images.views import shifted

INPUTS = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SEEN = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def network(seed=0):
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    return nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))


def mirrored(inputs):
    return inputs.flip(-1)


def read_everything(model, step=1, **options):
    probe = Probe(INPUTS, READOUTS, seen=SEEN, view=mirrored, **options)
    probe.read_untrained(model)
    return probe, probe.read(model, step)


def test_every_readout_is_that_of_its_subjects():
    model, before = network(), network(1)
    probe = Probe(INPUTS, [*READOUTS, "gap/entropy"], seen=SEEN, view=mirrored)
    probe.read_untrained(before)
    probe.read(before, 1)
    reading = probe.read(model, 2)
    subjects = {
        "head": capture(model, INPUTS),
        "view": capture(model, mirrored(INPUTS)),
        "seen": capture(model, SEEN),
        "before": capture(before, INPUTS),
        "network": Network(before, INPUTS),
    }
    for name, readout in probe.readouts.items():
        expected = readout(*(subjects[need] for need in readout.needs))
        assert reading.values[name] == pytest.approx(expected, nan_ok=True), name
    assert (reading.step, reading.architecture) == (2, structure(before))
    assert list(reading.values) == list(probe.readouts)


def test_every_reading_has_the_untrained_measures():
    model = network()
    probe = Probe(INPUTS)
    assert tuple(probe.readouts) == DEFAULT_PANEL
    probe.read_untrained(model)
    first = probe.read(model, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    later = probe.read(model, 10)
    assert later.values["ahead/expected_agreement"] != first.values["ahead/expected_agreement"]
    for name in ("isotropy", "flops"):
        assert later.values[name] == first.values[name]
    assert later.architecture == first.architecture != ""


def test_untrained_measures_of_a_network_that_was_not_measured_are_refused():
    with pytest.raises(
        ValueError, match=r"^`readouts` must be of the head .*, got isotropy, flops$"
    ):
        Probe(INPUTS).read(network(), 1)
    probe = Probe(INPUTS, ["entropy"])
    probe.read_untrained(network())  # nothing to do
    assert probe.read(network(), 1).architecture == ""


@pytest.mark.parametrize("on_diverged", ["raise", "nan"])
def test_a_diverged_model(on_diverged):
    model = network()
    probe = Probe(INPUTS, on_diverged=on_diverged)
    probe.read_untrained(model)
    nn.init.constant_(model[-1].bias, math.inf)
    if on_diverged == "raise":
        with pytest.raises(NonFiniteError):
            probe.read(model, 1)
        return
    values = probe.read(model, 1).values
    assert math.isnan(values["ahead/expected_agreement"])
    assert math.isfinite(values["isotropy"])


def test_a_saved_state_continues_bit_for_bit(tmp_path):
    names = [*DEFAULT_PANEL, *CHECKPOINT_PANEL]
    whole, first, second = (Probe(INPUTS, names, view=mirrored) for _ in range(3))
    for probe in (whole, first):
        probe.read_untrained(network(9))
        probe.read(network(1), 1)
    torch.save(first.state_dict(), tmp_path / "probe.pt")
    second.load_state_dict(torch.load(tmp_path / "probe.pt", weights_only=True))
    assert second.read(network(2), 2) == whole.read(network(2), 2)


def test_the_model_stays_as_it_was():
    model = network().train()
    model[0].eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    _, reading = read_everything(model)
    of_before = {name for name, one in READOUTS.items() if one.of_before}
    assert {name for name, value in reading.values.items() if math.isnan(value)} == of_before
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_options_reach_the_capture():
    model = network()
    with torch.no_grad():
        model(INPUTS + 3)
    plain, running = (
        Probe(INPUTS, ["entropy"], batch_statistics=flag).read(model, 1).values["entropy"]
        for flag in (True, False)
    )
    assert plain == READOUTS["entropy"](capture(model, INPUTS))
    assert running == READOUTS["entropy"](capture(model, INPUTS, batch_statistics=False))
    assert plain != running
    sigmoid = Probe(INPUTS, ["entropy"], link="sigmoid", head="3").read(model, 1).values["entropy"]
    assert sigmoid == READOUTS["entropy"](capture(model, INPUTS, link="sigmoid", head="3"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"link": "logit"}, "`link` must be one of softmax, sigmoid, identity, got 'logit'"),
        ({"on_diverged": "stop"}, "`on_diverged` must be one of raise, nan, got 'stop'"),
        (
            {"readouts": ["agreement"], "view": "turn"},
            "`view` must be one of shift, mirror, crop, tokens, noise, got 'turn'",
        ),
        (
            {"readouts": ["gap/entropy"]},
            "`seen` must be given for the readout 'gap/entropy', got None",
        ),
        ({"readouts": ["gap"]}, "`readouts` must be .*, got 'gap'"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        Probe(INPUTS, **arguments)


def test_custom_readouts_get_what_they_need():
    def shift(head, view):
        return (head.logits - view.logits).abs().amax()

    model = network()
    probe = Probe(INPUTS, {"shift": Readout(shift, ("head", "view"))}, view=mirrored)
    expected = (capture(model, INPUTS).logits - capture(model, mirrored(INPUTS)).logits).abs().max()
    assert probe.read(model, 1).values == {"shift": expected.item()}


def test_read_uses_readouts_of_the_head_by_default():
    model = network()
    assert read(model, INPUTS) == Probe(INPUTS, ["expected_agreement"]).read(model, 0).values
    with pytest.raises(ValueError, match=r"^`seen` must be given for .* 'gap/margin', got None$"):
        read(model, INPUTS, ["gap/margin"])


def dense_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 1))


def expected_agreement(model, inputs, other):
    p, q = (capture(model, x).predictions() for x in (inputs, other))
    return (p * q).sum(1).mean().item()


def noisy_agreement(model, inputs):
    p = capture(model, inputs).predictions()
    with weight_noise(model):
        q = capture(model, inputs).predictions()
    return (p * q).sum(1).mean().item()


def small(inputs):
    return inputs[..., :6, :6]


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = network()

    def forward(self, x, scale):
        return self.network(x * scale)


# The network, its inputs, the view that is asked for, and a view of which it then is the agreement.
SEEN_AS = {
    "images by default": (network, INPUTS, None, shifted),
    "images in a dict": (
        network,
        {"input": INPUTS},
        None,
        lambda x: {"input": shifted(x["input"])},
    ),
    "a function without a view": (network, INPUTS, lambda x: None, shifted),
    "a function": (network, INPUTS, mirrored, mirrored),
    "a name": (network, INPUTS, "mirror", mirrored),
    "noise by name": (network, INPUTS, "noise", None),
    "small images": (network, small(INPUTS), None, None),
    "predictions of every pixel": (dense_network, INPUTS, None, None),
    "of every pixel, moved and not back": (dense_network, INPUTS, "shift", None),
    "of every pixel, in their places": (dense_network, INPUTS, torch.neg, torch.neg),
    "a scalar beside": (Scaled, {"scale": torch.tensor(2.0), "x": INPUTS}, None, None),
    "tables": (lambda: nn.Linear(5, 3), torch.randn(20, 5), None, None),
}


@pytest.mark.parametrize(("build", "inputs", "view", "expected"), SEEN_AS.values(), ids=SEEN_AS)
def test_there_is_always_a_view(build, inputs, view, expected):
    torch.manual_seed(0)
    model = build()
    value = read_agreement(model, inputs, view)
    if expected is None:
        assert value == pytest.approx(noisy_agreement(model, inputs), rel=1e-6)
    else:
        other = expected(inputs)
        assert value == pytest.approx(expected_agreement(model, inputs, other), rel=1e-6)


def read_agreement(model, inputs, view):
    probe = Probe(inputs, ["expected_agreement"], view=view)
    return probe.read(model, 1).values["expected_agreement"]


class Upsampled(nn.Module):
    """Logits that are a scaled head's results, so that they are followed, not seen."""

    def __init__(self, stride):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.AvgPool2d(stride))
        self.head = nn.Conv2d(5, 4, 1)

    def forward(self, x):
        return 2 * self.head(self.body(x))


@pytest.mark.parametrize("most", [4096, 50])
@pytest.mark.parametrize(("head", "scale"), [("head", 1), (None, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_maps_of_mirrored_images_go_back_to_their_places(stride, head, scale, most):
    torch.manual_seed(0)
    model = Upsampled(stride)
    own = capture(model, INPUTS, head=head, max_positions=most)
    view = capture(
        model, mirrored(INPUTS), head=head, max_positions=most, places=lambda maps: maps.flip(-1)
    )
    maps = scale * model.head(model.body(INPUTS)).detach()
    there = scale * model.head(model.body(mirrored(INPUTS))).flip(-1).detach()
    rows = draw(maps[:, 0].numel(), most)
    torch.testing.assert_close(own.logits, maps.movedim(1, -1).flatten(0, 2)[rows])
    torch.testing.assert_close(view.logits, there.movedim(1, -1).flatten(0, 2)[rows])


def test_a_mirrored_view_of_maps_is_compared_place_by_place():
    torch.manual_seed(0)
    model = Upsampled(1)
    p, q = (2 * model.head(model.body(x)).detach() for x in (INPUTS, mirrored(INPUTS)))
    p, q = p.softmax(1), q.softmax(1).flip(-1)
    assert read_agreement(model, INPUTS, "mirror") == pytest.approx((p * q).sum(1).mean().item())
    # One label for each image has no places.
    value = read_agreement(network(), INPUTS, "mirror")
    assert value == pytest.approx(expected_agreement(network(), INPUTS, mirrored(INPUTS)))


def test_a_view_costs_nothing_if_no_readout_needs_it():
    def fail(inputs):
        raise AssertionError

    Probe(INPUTS, ["entropy"], view=fail).read(network(), 1)


@pytest.mark.parametrize("order", ["state first", "measured first"])
@pytest.mark.parametrize("loads", ["before", "after"])
def test_a_probe_may_continue_before_or_after_its_model_does(loads, order):
    first, trained = Probe(INPUTS), network(3)
    first.read_untrained(network())
    first.read(network(1), 1)
    state = first.state_dict()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(2.0)
    second, model = Probe(INPUTS), network(7)
    if loads == "before":
        model.load_state_dict(trained.state_dict())
    if order == "state first":
        second.load_state_dict(state)
    second.read_untrained(model)
    if order == "measured first":
        second.load_state_dict(state)
    if loads == "after":
        model.load_state_dict(trained.state_dict())
    assert second.read(model, 2) == first.read(trained, 2)


def test_another_architecture_is_measured_after_a_state_was_loaded():
    first, other = Probe(INPUTS), nn.Sequential(network(), nn.ReLU(), nn.Linear(4, 3))
    first.read_untrained(network())
    second, alone = Probe(INPUTS), Probe(INPUTS)
    second.load_state_dict(first.state_dict())
    for probe in (second, alone):
        probe.read_untrained(other)
    assert second.read(other, 1) == alone.read(other, 1)
