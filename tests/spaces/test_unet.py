"""The space of U-Nets: its parts, its choices, and all that uses it on a task of masks."""

import itertools
import math
import re

import pytest
import torch
from prescreen.search_spaces import unet
from torch import nn
from toy_tasks import diffusion, masks

from prescreen import (
    CheckpointSelector,
    Monitor,
    Training,
    capture,
    rank,
    read,
)
from prescreen.panel import CHECKPOINT_PANEL
from prescreen.readouts import Network, get_readout
from prescreen.spaces.chosen import as_candidates
from prescreen.tasks.base import panel_of

PLAIN = {"depth": 2, "width": 4, "kernel": 3, "norm": "batch", "skip": "concatenate"}
TRAINING = Training(steps=6, batch_size=8)
EVERY = [
    dict(zip(unet.CHOICES, values, strict=True))
    for values in itertools.product(*unet.CHOICES.values())
]


def expected_parameters(config, classes, channels, with_time):
    """Two convolutions without biases a block, two parameters a normalised channel, 1×1s with biases."""
    depth, width, kernel = config["depth"], config["width"], config["kernel"]

    def block(entering, leaving):
        told = 4 * width * leaving + leaving if with_time else 0
        return kernel**2 * (entering + leaving) * leaving + 4 * leaving + told

    levels = [width * 2**level for level in range(depth + 1)]
    total = sum(block(a, b) for a, b in zip([channels, *levels], levels, strict=False))
    for leaving in levels[:-1]:
        total += 2 * leaving * leaving + leaving
        total += block(2 * leaving if config["skip"] == "concatenate" else leaving, leaving)
    told = (4 * width) ** 2 + 4 * width if with_time else 0
    return total + width * classes + classes + told


@pytest.mark.parametrize("with_time", [False, True])
def test_every_network_has_the_expected_parameters(with_time):
    for config in EVERY:
        with torch.device("meta"):
            model = unet.build(config, num_classes=7, in_channels=2, with_time=with_time)
        counted = sum(parameter.numel() for parameter in model.parameters())
        assert counted == expected_parameters(config, 7, 2, with_time)
        assert model.training


def test_samples_have_names_of_their_own_and_use_every_choice():
    candidates = as_candidates("unet", 100, 0)
    assert unet.name(PLAIN) == "d2 w4 k3 batch concatenate"
    assert len({candidate.name for candidate in candidates}) == 100
    for key, choices in unet.CHOICES.items():
        assert {candidate.config[key] for candidate in candidates} == set(choices)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (7, 30), (16, 16)])
@pytest.mark.parametrize("skip", unet.CHOICES["skip"])
@pytest.mark.parametrize("norm", unet.CHOICES["norm"])
def test_every_image_size_trains(norm, skip, size):
    model = unet.build({**PLAIN, "norm": norm, "skip": skip, "depth": 4}, in_channels=1)
    logits = model(torch.randn(3, 1, *size))
    assert logits.shape == (3, 2, *size)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def reach(config, size=32):
    """How far a change of the central pixel is seen, in pixels."""
    torch.manual_seed(0)
    model = unet.build(config, in_channels=1).eval()
    images = torch.zeros(2, 1, size, size)
    images[1, 0, size // 2, size // 2] = 1
    first, second = model(images)
    changed = (first != second).any(0).nonzero()
    return int((changed.amax(0) - changed.amin(0)).amax()) + 1


def test_depth_and_kernel_widen_what_a_pixel_sees():
    shallow = {**PLAIN, "depth": 1}
    assert reach(shallow) < reach(PLAIN)
    assert reach(shallow) < reach({**shallow, "kernel": 5})


def test_skips_are_what_their_names_say():
    blocks = {
        skip: unet.build({**PLAIN, "skip": skip}, in_channels=1) for skip in unet.CHOICES["skip"]
    }
    entering = {skip: [up.first[0].in_channels for up in one.up] for skip, one in blocks.items()}
    assert entering == {"concatenate": [16, 8], "add": [8, 4], "none": [8, 4]}
    torch.manual_seed(0)
    added = unet.build({**PLAIN, "skip": "add"}, in_channels=1).eval()
    without = unet.build({**PLAIN, "skip": "none"}, in_channels=1).eval()
    without.load_state_dict(added.state_dict())
    image = torch.randn(2, 1, 8, 8)
    assert not torch.allclose(added(image), without(image))
    # All that a network without skips knows has passed the lowest level.
    nn.init.zeros_(without.down[-1].second[1].weight)
    nn.init.zeros_(added.down[-1].second[1].weight)
    assert torch.allclose(without(image)[0], without(image)[1], atol=1e-6)
    assert not torch.allclose(added(image)[0], added(image)[1], atol=1e-3)


def test_mirrored_images_give_mirrored_maps_if_kernels_are_symmetric():
    """Halving and doubling keep places where they are: nothing is shifted by half a pixel."""
    torch.manual_seed(0)
    model = unet.build(PLAIN, in_channels=1).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data += module.weight.data.flip(-1)
    image = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(model(image.flip(-1)).flip(-1), model(image))


def test_times_are_told_to_every_block():
    torch.manual_seed(0)
    model = unet.build(PLAIN, in_channels=3, num_classes=3, with_time=True)
    image = torch.randn(1, 3, 8, 8).expand(2, -1, -1, -1)
    predicted = model.eval()(image, torch.tensor([1, 900]))
    assert predicted.shape == (2, 3, 8, 8)
    assert not torch.allclose(predicted[0], predicted[1])
    model.train()(image, torch.tensor([1, 900])).square().sum().backward()
    assert all(bool(block.time.weight.grad.any()) for block in [*model.down, *model.up])
    made = capture(model, (image, torch.tensor([1, 900])), link="identity")
    assert (made.logits.shape, made.features.shape) == ((128, 3), (128, 4))


def test_the_head_and_the_network_are_measured(monkeypatch):
    torch.manual_seed(0)
    model, images = unet.build(PLAIN, in_channels=1), torch.randn(4, 1, 8, 8)
    made = capture(model, images, max_positions=10_000)
    assert made.features.shape == (4 * 64, 4)
    assert made.weight.data_ptr() == model.head.weight.data_ptr()
    network = Network(model, images)
    # A multiplication and an addition for every weight of a convolution, at every place of its level.
    places = {
        **{f"down.{i}": 64 // 4**i for i in range(3)},
        **{f"up.{i}": 4 ** (i + 2) for i in (0, 1)},
    }
    places |= {"shrink.0": 4, "shrink.1": 16, "head": 64}
    count = sum(
        2 * module.weight.numel() * next(n for start, n in places.items() if name.startswith(start))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    )
    assert get_readout("flops")(network) == count
    every = get_readout("isotropy")(network)
    assert 0 < every <= math.log(4)
    # Of very many places some are drawn.
    monkeypatch.setattr("prescreen.readouts.network.features._MOST", 100)
    drawn = get_readout("isotropy")(network)
    assert drawn == pytest.approx(every, abs=0.2)
    assert drawn != every


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "`config` must have the keys depth, width, kernel, norm, skip, got []"),
        (PLAIN | {"width": 9}, "`width` must be one of 4, 8, 12, 16, got 9"),
        (PLAIN | {"norm": "none"}, "`norm` must be one of batch, group, got 'none'"),
        (PLAIN | {"skip": "all"}, "`skip` must be one of concatenate, add, none, got 'all'"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(config, message):
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}$"):
        unet.build(config)


# -- users


@pytest.mark.parametrize("make", [masks, diffusion])
def test_a_ranking_is_resumed_and_equals_an_uninterrupted_one(tmp_path, make):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.finished:
            raise Stop

    options = {"samples": 3, "training": TRAINING, "out": tmp_path / "run"}
    with pytest.raises(Stop):
        rank("unet", make(0), progress=stop, **options)
    resumed = rank("unet", make(0), **options)
    whole = rank("unet", make(0), samples=3, training=TRAINING)
    assert [(row.name, row.status, row.values) for row in resumed] == [
        (row.name, row.status, row.values) for row in whole
    ]
    assert [row.status for row in whole] == ["ok"] * 3
    assert not any(math.isnan(value) for row in whole for value in row.values.values())


def test_checkpoints_are_chosen_by_mirrored_views(tmp_path):
    task = masks(0)
    model = unet.build(PLAIN, in_channels=1, num_classes=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, selector = Monitor(task.probe, view=task.views), CheckpointSelector(tmp_path / "best")
    for step, batch in enumerate(task.batches(8, 0), start=1):
        optimizer.zero_grad()
        task.loss(model, batch).backward()
        optimizer.step()
        reading = monitor.read(model, step)
        selector.update(reading, model)
        if step == 3:
            break
    assert math.isfinite(reading.values[CHECKPOINT_PANEL[0]])
    model.load_state_dict(selector.load())
    # Without a view a model of maps is not shifted, but read with noise in its weights.
    names = ["expected_agreement"]
    shifted, noisy = (
        Monitor(task.probe, view=view, readouts=names).read(model, 1).values
        for view in (None, "noise")
    )
    assert shifted == noisy
    assert read(model, task.probe, batch_statistics=False) == pytest.approx(noisy)


@pytest.mark.parametrize("make", [masks, diffusion])
def test_a_study_searches_the_space(make):
    optuna = pytest.importorskip("optuna")
    from prescreen.integrations.optuna import objective

    study = optuna.create_study(directions=["maximize", "minimize"])
    value = panel_of(make(0))[0]
    study.optimize(objective("unet", make(0), TRAINING, value=value, costs=["flops"]), n_trials=1)
    assert len(study.trials[0].values) == 2
