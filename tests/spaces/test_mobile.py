"""The space of mobile networks: its parts, its choices, and its users."""

import re

import pytest
import torch
from prescreen.search_spaces import mobile
from published_spaces import IMAGES, with_gradients
from torch import nn

from prescreen import Training, load_task, rank
from prescreen.spaces.chosen import as_candidates

PLAIN = {
    "width": 8,
    "activation": "relu",
    **{
        f"{key}_{stage}": values[0]
        for stage in mobile.STAGES
        for key, values in mobile.OF_STAGE.items()
    },
}


def modules(config, kind, **sizes):
    return [part for part in mobile.build(config, **sizes).modules() if isinstance(part, kind)]


def expected_parameters(config, classes, channels):
    """Convolutions without biases, two parameters a normalised channel, and the linear head."""
    width = config["width"]
    total, entering = channels * width * 9 + 2 * width, width
    for stage in mobile.STAGES:
        depth, kernel, expansion = (
            config[f"{key}_{stage}"] for key in ("depth", "kernel", "expansion")
        )
        leaving = width * 2 ** (stage - 1)
        for _ in range(depth):
            wide = entering * expansion
            if expansion > 1:
                total += entering * wide + 2 * wide
            total += wide * kernel**2 + 2 * wide + wide * leaving + 2 * leaving
            if config[f"attention_{stage}"]:
                inner = max(1, wide // 4)
                total += 2 * wide * inner + inner + wide
            entering = leaving
    return total + entering * 4 * entering + 8 * entering + 4 * entering * classes + classes


def test_every_network_has_the_expected_parameters():
    for candidate in as_candidates("mobile", 60, 3):
        with torch.device("meta"):
            model = mobile.build(candidate.config, num_classes=7, in_channels=2)
        counted = sum(parameter.numel() for parameter in model.parameters())
        assert counted == expected_parameters(candidate.config, 7, 2)
        assert model.training


def test_samples_have_names_of_their_own_and_use_every_choice():
    candidates = as_candidates("mobile", 200, 0)
    assert candidates[0].name == "w24 gelu 1×5e6+se 2×5e4 3×3e4"
    assert len({candidate.name for candidate in candidates}) == 200
    for key, choices in mobile.CHOICES.items():
        assert {candidate.config[key] for candidate in candidates} == set(choices)


@pytest.mark.parametrize("activation", mobile.ACTIVATIONS)
def test_the_activation_is_the_only_one(activation):
    kind = mobile.ACTIVATIONS[activation]
    found = modules(PLAIN | {"activation": activation}, tuple(mobile.ACTIVATIONS.values()))
    # The stem's, one a depthwise convolution, and the head's.
    assert [type(part) for part in found] == [kind] * 5
    x = torch.tensor([-4.0, -1.0, 0.5, 8.0])
    expected = {
        "relu": x.clamp(min=0),
        "relu6": x.clamp(0, 6),
        "hardswish": x * (x + 3).clamp(0, 6) / 6,
        "gelu": x * (1 + torch.erf(x / 2**0.5)) / 2,
        "silu": x / (1 + torch.exp(-x)),
    }
    torch.testing.assert_close(kind()(x), expected[activation])


def test_attention_scales_channels_by_a_gate_of_their_means():
    attentive = PLAIN | {"attention_2": True, "depth_2": 3}
    assert not modules(PLAIN, mobile.SqueezeExcite)
    assert len(modules(attentive, mobile.SqueezeExcite)) == 3
    torch.manual_seed(0)
    block = mobile.SqueezeExcite(8)
    x = torch.randn(3, 8, 5, 5)
    hidden = torch.relu(nn.functional.linear(x.mean((2, 3)), *flat(block.gate[1])))
    gate = nn.functional.hardsigmoid(nn.functional.linear(hidden, *flat(block.gate[3])))
    torch.testing.assert_close(block(x), x * gate[:, :, None, None])
    # Where pixels are does not matter.
    torch.testing.assert_close(block(x.flip(-1)), block(x).flip(-1))


def flat(convolution):
    return convolution.weight[:, :, 0, 0], convolution.bias


def test_kernels_depths_and_expansions_are_those_of_the_stage():
    config = PLAIN | {"kernel_1": 7, "depth_2": 3, "expansion_3": 6}
    blocks = modules(config, mobile.InvertedResidual)
    assert [block.skip for block in blocks] == [True, False, True, True, False]
    depthwise = [c for c in modules(config, nn.Conv2d) if c.groups > 1]
    assert [c.kernel_size[0] for c in depthwise] == [7, 3, 3, 3, 3]
    assert [c.stride[0] for c in depthwise] == [1, 2, 1, 1, 2]
    assert [c.in_channels for c in depthwise] == [8, 8, 16, 16, 16 * 6]
    assert [c.padding[0] for c in depthwise] == [3, 1, 1, 1, 1]


def test_a_block_that_keeps_its_shape_has_a_skip():
    sizes = {"kernel": 3, "expansion": 2, "attention": False, "activation": nn.ReLU}
    x = torch.randn(2, 4, 6, 6)
    for channels, stride in ((4, 1), (4, 2), (8, 1)):
        block = mobile.InvertedResidual(4, channels, stride=stride, **sizes)
        nn.init.zeros_(block.body[-1][1].weight)
        out = block(x)
        same = (channels, stride) == (4, 1)
        assert torch.equal(out, x if same else torch.zeros_like(out))
        assert out.shape == (2, channels, 6 // stride, 6 // stride)


@pytest.mark.parametrize(("channels", "size"), [(1, (1, 1)), *IMAGES])
def test_every_image_size_trains(channels, size):
    for network in with_gradients("mobile", 4, 1, channels, size):
        assert all(parameter.grad is not None for parameter in network.parameters())


def test_optuna_trials_drive_sample():
    optuna = pytest.importorskip("optuna")
    assert mobile.sample(optuna.trial.FixedTrial(PLAIN)) == PLAIN
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    assert mobile.sample(trial) == trial.params


def test_a_ranking_of_the_space():
    training = Training(steps=2, batch_size=8)
    ranking = rank("mobile", load_task("digits"), samples=3, training=training)
    assert [row.status for row in ranking] == ["ok"] * 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "`config` must have the keys width, activation, depth_1, "),
        (PLAIN | {"dropout": 0}, "`config` must have the keys width, activation, depth_1, "),
        (
            PLAIN | {"activation": "tanh"},
            "`activation` must be one of relu, relu6, hardswish, gelu",
        ),
        (PLAIN | {"width": 9}, "`width` must be one of 8, 12, 16, 24, got 9"),
        (PLAIN | {"depth_2": 0}, "`depth_2` must be one of 1, 2, 3, got 0"),
        (PLAIN | {"kernel_3": 4}, "`kernel_3` must be one of 3, 5, 7, got 4"),
        (PLAIN | {"expansion_1": 3}, "`expansion_1` must be one of 1, 2, 4, 6, got 3"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(config, message):
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}[^\n]*$"):
        mobile.build(config)
