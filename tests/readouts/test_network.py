"""Measures of untrained networks against counts and spectra by hand, for every layout of features."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from prescreen.search_spaces import nas_bench_201, vit
from torch import nn

from benchmarks import baselines
from prescreen import READOUTS, Candidate, Probe, Training, rank, read
from prescreen.readouts.network import Network, flops, isotropy, structure, synflow
from prescreen.tasks import ImageTask

PROBE = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(0))
CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|none~1|avg_pool_3x3~2|"


def entropy(points):
    """By numpy, from singular values instead of a covariance."""
    points = points.detach().double().numpy()
    shares = np.linalg.svd(points - points.mean(0), compute_uv=False) ** 2
    shares = shares[shares > 0] / shares.sum()
    return float(-(shares * np.log(shares)).sum())


def test_flops_are_those_of_one_sample_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 10))
    expected = 2 * 4 * 14 * 14 * 27 + 2 * 10 * 4 * 14 * 14
    assert flops(model, PROBE) == flops(model, PROBE[:2]) == expected
    assert all(p.requires_grad for p in model.parameters())


def test_flops_and_synflow_equal_the_baselines():
    torch.manual_seed(0)
    model = nas_bench_201.build({"arch": CELL})
    assert flops(model, PROBE) == baselines.flops(model, (3, 16, 16))
    expected = math.log(baselines.synflow(model, (3, 16, 16)))
    assert synflow(model, PROBE) == pytest.approx(expected, abs=1e-9)


def test_flops_of_transformers_grow_with_their_layers():
    config = {"depth": 2, "width": 32, "heads": 2, "mlp_ratio": 2}
    two, four = (vit.build({**config, "depth": depth}, image_size=16) for depth in (2, 4))
    tokens, width = 64, 32
    # Queries, keys, values and what follows them; both products of attention; the MLP.
    layer = 2 * tokens * (4 * width**2 + 2 * tokens * width + 4 * width**2)
    assert flops(four, PROBE) - flops(two, PROBE) == pytest.approx(2 * layer)
    assert torch.backends.mha.get_fastpath_enabled()


def batches(size, seed):
    generator = torch.Generator().manual_seed(seed)
    while True:
        inputs = torch.randn(size, 3, 16, 16, generator=generator)
        yield inputs, (inputs.mean((1, 2, 3)) > 0).long()


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Linear(768, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.inside(x.flatten(1))
        return self.head(x * x)


def test_synflow_is_the_flow_over_all_paths():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.ReLU(), nn.Linear(2, 1)).train()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 0.0]]))
        model[3].weight.copy_(torch.tensor([[-1.0, 2.0]]))
    # Two layers, each Σ over paths: 1·1 + 2·1 + 3·2 + 0·2.
    assert synflow(model, torch.zeros(4, 2)) == pytest.approx(math.log(2 * 9))
    assert synflow(nn.Sequential(nn.Embedding(9, 2), model), torch.ones(4, 3).long()) > 0


def test_synflow_is_not_defined_for_networks_that_multiply_features():
    assert math.isnan(synflow(Gated(), PROBE))
    assert math.isnan(READOUTS["synflow"](Network(nn.Flatten(), PROBE)))


def test_measures_not_defined_for_all_are_left_out_of_a_ranking():
    task = ImageTask("noise", PROBE, 2, 3, (16, 16), batches)
    plain = partial(nas_bench_201.build, {"arch": CELL}, num_classes=2)
    candidates = {"gated": Gated, "plain": plain}
    training = Training(steps=2, batch_size=8)
    panel = ["confidence", "flops", "synflow"]
    ranking = rank(candidates, task, training=training, readouts=panel)
    assert ranking.left_out == ("synflow",)
    assert "Not in the score, as not defined for all: synflow" in str(ranking)
    without = rank(candidates, task, training=training, readouts=panel[:2])
    assert [row.score for row in ranking] == [row.score for row in without]
    whole = rank({"plain": plain}, task, training=training, readouts=panel)
    assert whole.left_out == ()


def test_one_network_is_measured_and_another_trained():
    task = ImageTask("noise", PROBE, 2, 3, (16, 16), batches)
    training = Training(steps=2, batch_size=8, seed=3)
    panel = ["confidence", "isotropy", "synflow"]
    config = nas_bench_201.from_arch(CELL)
    build = partial(nas_bench_201.build, config)
    wide = partial(nas_bench_201.build_untrained, config)
    (plain,) = rank([Candidate("cell", config, build)], task, training=training, readouts=panel)
    (both,) = rank(
        [Candidate("cell", config, build, wide)], task, training=training, readouts=panel
    )
    assert both.values["confidence"] == plain.values["confidence"]
    assert both.parameters == plain.parameters
    torch.manual_seed(3)
    model = wide(num_classes=2)
    for name in ("isotropy", "synflow"):
        assert both.values[name] == pytest.approx(READOUTS[name](Network(model, PROBE)), rel=1e-6)
        assert both.values[name] != pytest.approx(plain.values[name], rel=0.01)


def test_a_network_that_cannot_be_measured_untrained_fails():
    task = ImageTask("noise", PROBE, 2, 3, (16, 16), batches)
    candidate = Candidate("cell", {}, partial(nas_bench_201.build, {"arch": CELL}), lambda: None)
    (row,) = rank([candidate], task, training=Training(steps=1, batch_size=8))
    assert row.status == "build"
    assert "must return a torch.nn.Module, got NoneType" in row.reason


def test_isotropy_is_of_all_places_before_they_are_averaged():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    model = nn.Sequential(body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    places = body(PROBE).movedim(1, -1).reshape(-1, 8)  # in train mode: the batch's statistics
    assert isotropy(model, PROBE) == pytest.approx(entropy(places), rel=1e-5)
    model[1].inplace = True
    assert isotropy(model, PROBE) == pytest.approx(entropy(places), rel=1e-5)
    assert model[1].inplace


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.embed(x.movedim(1, -1)).mean((1, 2)))


def test_isotropy_finds_the_channels_wherever_they_are():
    model = ChannelsLast()
    places = model.embed(PROBE.movedim(1, -1)).reshape(-1, 6)
    assert isotropy(model, PROBE) == pytest.approx(entropy(places), rel=1e-5)
    tokens = vit.build({"depth": 2, "width": 32, "heads": 2, "mlp_ratio": 2}, image_size=16)
    expected = tokens.norm(
        tokens.layers(tokens.embedding(PROBE).flatten(2).mT + tokens.positions)
    ).reshape(-1, 32)
    assert isotropy(tokens, PROBE) == pytest.approx(entropy(expected), rel=1e-4)


def test_isotropy_of_sequences_with_channels_first():
    torch.manual_seed(0)
    body = nn.Conv1d(3, 5, 3)
    model = nn.Sequential(body, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(5, 2))
    signals = PROBE.flatten(2)
    places = body(signals).mT.reshape(-1, 5)
    assert isotropy(model, signals) == pytest.approx(entropy(places), rel=1e-5)


def test_isotropy_without_places_is_that_of_the_features():
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 7), nn.ReLU(), nn.Linear(7, 3))
    assert isotropy(model, PROBE) == pytest.approx(entropy(model[:3](PROBE)), rel=1e-5)


def test_isotropy_of_fewer_features_than_directions():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 200), nn.Tanh(), nn.Linear(200, 10))
    assert isotropy(model, PROBE) == pytest.approx(entropy(model[:3](PROBE)), rel=1e-6)


def test_isotropy_has_the_bounds_of_an_entropy():
    directions = nn.Sequential(nn.Identity(), nn.Linear(4, 2))
    assert isotropy(directions, torch.eye(4).repeat(3, 1)) == pytest.approx(math.log(3))
    assert isotropy(directions, torch.arange(8.0)[:, None] * torch.ones(4)) == pytest.approx(0)
    assert math.isnan(isotropy(directions, torch.ones(5, 4)))


@pytest.mark.parametrize("name", [n for n, readout in READOUTS.items() if readout.of_network])
def test_the_network_stays_as_it_was(name):
    torch.manual_seed(0)
    model = nas_bench_201.build({"arch": CELL})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in model.modules()]
    state = torch.get_rng_state()
    network = Network(model, PROBE)
    assert READOUTS[name](network) == READOUTS[name](network)
    assert READOUTS[name].score(2.0) == 2.0
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


def test_reading_a_head_refuses_measures_of_the_untrained_network():
    with pytest.raises(
        ValueError, match=r"^`readouts` must be of the head unless read_untrained .*, got flops$"
    ):
        read(nas_bench_201.build({"arch": CELL}), PROBE, ["confidence", "flops"])


def widened(model):
    model[0] = nn.Conv2d(3, 9, 3)
    return model


def strided(model):
    model[0] = nn.Conv2d(3, 8, 3, stride=2)
    return model


def other_activation(model):
    model[1] = nn.GELU()
    return model


def deeper(model):
    return nn.Sequential(*model, nn.ReLU())


def retrained(model):
    with torch.no_grad():
        model[0].weight.add_(1)
    return model


def dropped(model):
    model[2].p = 0.9
    return model


def without_dropout(model):
    return model[:2]


def dropout_switched_off(model):
    model[2] = nn.Identity()
    return model


def dropout_first(model):
    return nn.Sequential(nn.Dropout2d(0.3), *model)


def frozen(model):
    return model.eval().requires_grad_(False)


def small():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.1))


@pytest.mark.parametrize("change", [widened, strided, other_activation, deeper])
def test_structure_tells_architectures_apart(change):
    assert structure(change(small())) != structure(small())


@pytest.mark.parametrize(
    "change",
    [
        *(retrained, dropped, frozen, torch.nn.DataParallel),
        *(without_dropout, dropout_switched_off, dropout_first),
    ],
)
def test_structure_ignores_settings_of_training(change):
    assert structure(change(small())) == structure(small())


def test_structure_tells_cells_apart_that_differ_in_where_an_edge_is():
    cells = ["skip_connect", "none", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
    found = set()
    for first in cells:
        for second in cells:
            arch = f"|{first}~0|+|{second}~0|none~1|+|none~0|skip_connect~1|none~2|"
            found.add(structure(nas_bench_201.build({"arch": arch})))
    assert len(found) == 25


def test_structure_of_attributes_that_are_a_dropout_or_nothing():
    class Block(nn.Module):
        def __init__(self, drop):
            super().__init__()
            self.layer, self.drop = nn.Linear(2, 2), drop

    assert structure(Block(nn.Dropout(0.1))) == structure(Block(nn.Identity()))
    assert structure(Block(nn.Dropout(0.1))) != structure(Block(nn.ReLU()))


@pytest.mark.parametrize("names", [["isotropy", "flops"], ["flops", "isotropy"], ["flops"]])
def test_measures_of_one_forward_pass_are_those_of_their_own(names):
    config = {"depth": 2, "width": 32, "heads": 2, "mlp_ratio": 2}
    for model in (nas_bench_201.build({"arch": CELL}), vit.build(config, image_size=16)):
        passes = []
        handle = model.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        probe = Probe(PROBE, names)
        probe.read_untrained(model)
        handle.remove()
        assert len(passes) == (1 if names[0] == "isotropy" else len(names))
        found = probe.before_training.values
        assert found["flops"] == flops(model, PROBE)
        if "isotropy" in names:
            assert found["isotropy"] == pytest.approx(isotropy(model, PROBE), rel=1e-6)
        assert "forward" not in vars(model)
        assert torch.backends.mha.get_fastpath_enabled()


class Uncountable(nn.Module):
    """Does not run where operations are counted."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(768, 4)

    def forward(self, x):
        # Beside other threads, readings have a mode of their own for what is random.
        mode = torch.utils._python_dispatch._get_current_dispatch_mode()
        if mode is not None and type(mode).__module__ != "prescreen.random_state":
            raise RuntimeError("no modes")
        return self.head(x.flatten(1))


def test_a_network_that_cannot_be_counted_has_its_other_measures():
    model = Uncountable()
    probe = Probe(PROBE, ["isotropy", "flops"])
    probe.read_untrained(model)
    found = probe.before_training.values
    assert found["isotropy"] == isotropy(model, PROBE)
    assert math.isnan(found["flops"])
