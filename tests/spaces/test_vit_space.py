"""The ViT space against a closed formula, another implementation, and its users."""

import itertools
import re

import pytest
import torch
from prescreen.search_spaces import vit
from torch import nn

from prescreen import read
from prescreen.heads import find_heads

SMALL = {"depth": 2, "width": 32, "heads": 4, "mlp_ratio": 2}


def expected_parameters(config, *, classes, channels, patch, patches):
    d, r = config["width"], config["mlp_ratio"]
    attention = 3 * (d * d + d) + d * d + d
    mlp = (d * r * d + r * d) + (r * d * d + d)
    layer = attention + mlp + 2 * 2 * d
    embedding = channels * patch**2 * d + d + patches * d
    return embedding + config["depth"] * layer + 2 * d + d * classes + classes


@pytest.mark.parametrize(
    ("channels", "size", "patch", "patches"),
    [(3, 32, 4, 64), (1, 28, 4, 49), (1, 8, 2, 16), (1, 7, 1, 49), (3, (32, 16), 2, 128)],
)
def test_every_network_has_the_expected_parameters(channels, size, patch, patches):
    for config in vit.grid():
        with torch.device("meta"):
            model = vit.build(config, num_classes=7, in_channels=channels, image_size=size)
        counted = sum(parameter.numel() for parameter in model.parameters())
        assert counted == expected_parameters(
            config, classes=7, channels=channels, patch=patch, patches=patches
        )


def test_grid_and_names_are_complete_and_distinct():
    configs = list(vit.grid())
    assert len(configs) == len({vit.name(config) for config in configs}) == 4**4
    assert vit.name(SMALL) == "2x32-h4-r2"
    assert all(
        width % heads == 0
        for width, heads in itertools.product(vit.CHOICES["width"], vit.CHOICES["heads"])
    )
    largest = vit.build({key: max(values) for key, values in vit.CHOICES.items()})
    assert sum(parameter.numel() for parameter in largest.parameters()) < 1.3e6


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 8), (1, (28, 28)), (2, (1, 3))])
def test_forward_shapes(channels, size):
    shape = (size, size) if isinstance(size, int) else size
    x = torch.randn(2, channels, *shape)
    for config in itertools.islice(vit.grid(), 0, None, 37):
        model = vit.build(config, num_classes=5, in_channels=channels, image_size=size)
        assert model.training
        assert model(x).shape == (2, 5)


def test_every_parameter_trains_and_the_loss_falls():
    torch.manual_seed(0)
    model = vit.build(SMALL, num_classes=2, in_channels=1, image_size=8)
    y = torch.arange(32) % 2
    x = torch.randn(32, 1, 8, 8) + (2.0 * y - 1).view(-1, 1, 1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.any() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_layers_start_with_different_weights():
    first, second = vit.build(SMALL).layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert not torch.equal(first.self_attn.in_proj_weight, second.self_attn.in_proj_weight)


def test_patches_know_their_position():
    torch.manual_seed(0)
    model = vit.build(SMALL, in_channels=1, image_size=7)
    nn.init.normal_(model.positions)
    x = torch.randn(1, 1, 7, 7)
    assert not torch.allclose(model(x), model(x.flip(-1)), atol=1e-4)
    # Without positions it is the mean over a set of patches, here single pixels.
    nn.init.zeros_(model.positions)
    torch.testing.assert_close(model(x), model(x.flip(-1)))


def test_it_computes_what_timms_vision_transformer_computes():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    ours = vit.build(SMALL, num_classes=5)
    theirs = timm.models.VisionTransformer(
        img_size=32, patch_size=4, num_classes=5, global_pool="avg", embed_dim=32, depth=2,
        num_heads=4, mlp_ratio=2, class_token=False, fc_norm=False,
        norm_layer=nn.LayerNorm,
    )  # fmt: skip
    names = {
        "pos_embed": "positions", "patch_embed.proj": "embedding", "blocks": "layers",
        "attn.qkv.": "self_attn.in_proj_", "attn.proj": "self_attn.out_proj",
        "mlp.fc": "linear",
    }  # fmt: skip
    state = {}
    for key, tensor in theirs.state_dict().items():
        for name, our_name in names.items():
            key = key.replace(name, our_name)
        state[key] = torch.randn_like(tensor) / tensor.shape[-1] ** 0.5
    ours.load_state_dict(state)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), state.values(), strict=True)))
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # torch has another implementation for this
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [8, 32])
def test_its_head_is_found_and_read(size):
    model = vit.build(SMALL, image_size=size)
    assert [head.name for head in find_heads(model)] == ["head"]
    x = torch.randn(16, 3, size, size)
    values = read(model, x, ["confidence"])
    with torch.no_grad():
        confidence = model(x).softmax(1).amax(1).mean().item()
    assert values["confidence"] == pytest.approx(confidence, rel=1e-4)


def test_optuna_trials_drive_sample():
    optuna = pytest.importorskip("optuna")
    assert vit.sample(optuna.trial.FixedTrial(SMALL)) == SMALL
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    config = vit.sample(trial)
    assert trial.params == config
    assert config in list(vit.grid())


def test_whole_numbers_of_a_json_file_are_taken():
    config = {key: float(value) for key, value in SMALL.items()}
    assert vit.name(config) == vit.name(SMALL)
    assert vit.build(config)(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize(
    ("config", "keywords", "message"),
    [
        ({}, {}, "`config` must have the keys depth, width, heads, mlp_ratio, got []"),
        (
            SMALL | {"dropout": 0},
            {},
            "`config` must have the keys depth, width, heads, mlp_ratio, got ",
        ),
        (SMALL | {"depth": 5}, {}, "`depth` must be one of 2, 3, 4, 6, got 5"),
        (SMALL | {"width": 33}, {}, "`width` must be one of 32, 64, 96, 128, got 33"),
        (SMALL | {"heads": "4"}, {}, "`heads` must be one of 1, 2, 4, 8, got '4'"),
        (SMALL | {"mlp_ratio": 2.5}, {}, "`mlp_ratio` must be one of 1, 2, 3, 4, got 2.5"),
        (SMALL, {"image_size": 0}, "`image_size` must be a side or (height, width), got 0"),
        (SMALL, {"image_size": (8, 8, 1)}, "`image_size` must be a side or (height, width), got ("),
    ],
)
def test_bad_arguments_are_refused_in_one_line(config, keywords, message):
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}[^\n]*$"):
        vit.build(config, **keywords)
