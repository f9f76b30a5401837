"""The space of detectors: its parts, its choices, and all that uses it on a task of boxes."""

import copy
import math
import re
from itertools import product

import pytest
import torch
from torch import nn

pytest.importorskip("torchvision", reason="the images extra is not installed")
from prescreen.search_spaces import detector
from toy_tasks import randoms

from prescreen import CheckpointSelector, Monitor, Reading, Training, rank
from prescreen.heads import capture_roles
from prescreen.readouts import Network, get_readout
from prescreen.spaces.chosen import as_candidates
from prescreen.tasks import DetectionTask

PLAIN = {"depth": 1, "width": 8, "norm": "batch", "neck": "none", "head": "fcos", "head_depth": 1}
KINDS = [
    {**PLAIN, "neck": neck, "head": head, "norm": norm}
    for neck, head, norm in product(*(detector.CHOICES[key] for key in ("neck", "head", "norm")))
]
TRAINING = Training(steps=4, batch_size=4, optimizer="adamw")


def task(seed=0):
    generator = randoms(seed)
    images = torch.rand(20, 3, 32, 64, generator=generator)
    starts = torch.randint(0, 30, (20,), generator=generator).tolist()
    boxes = [torch.tensor([[x, 4.0, x + 24, 28]]) for x in starts]
    labels = [torch.tensor([1 + x % 2]) for x in starts]
    return DetectionTask(images, boxes, labels, probe_size=6)


def convolutions(entering, leaving, norm=True, kernel=3):
    return kernel**2 * entering * leaving + (2 * leaving if norm else leaving)


def expected_parameters(config, classes, channels):
    """Convolutions of 3×3 without biases but in heads; two parameters a normalised channel."""
    width, depth = config["width"], config["depth"]
    has_neck = config["neck"] == "fpn"
    widths = [width * 2**stage for stage in range(4 if has_neck else 2)]
    total = convolutions(channels, width)
    for entering, leaving in zip([width, *widths], widths, strict=False):
        total += convolutions(entering, leaving) + 2 * depth * convolutions(leaving, leaving)
    head = 4 * width if has_neck else widths[-1]
    if has_neck:
        total += sum(convolutions(w, head, kernel=1) + convolutions(head, head) for w in widths[1:])
    is_fcos = config["head"] == "fcos"
    biases = head if is_fcos else 0  # FCOS has biases before its norms
    total += 2 * config["head_depth"] * (convolutions(head, head) + biases)
    anchors = 1 if is_fcos else 6
    outputs = [anchors * classes, anchors * 4, *([1] if is_fcos else [])]
    return total + sum(convolutions(head, some, norm=False) for some in outputs)


def test_networks_have_the_expected_parameters():
    for values in [*product(*detector.CHOICES.values())][::13]:
        config = dict(zip(detector.CHOICES, values, strict=True))
        with torch.device("meta"):
            model = detector.build(config, num_classes=5, in_channels=2)
        counted = sum(parameter.numel() for parameter in model.parameters())
        assert counted == expected_parameters(config, 5, 2), config


def test_samples_have_names_of_their_own_and_use_every_choice():
    candidates = as_candidates("detector", 60, 0)
    assert detector.name(PLAIN) == "d1 w8 batch none fcos h1"
    assert len({candidate.name for candidate in candidates}) == 60
    for key, choices in detector.CHOICES.items():
        assert {candidate.config[key] for candidate in candidates} == set(choices)


@pytest.mark.parametrize("config", KINDS, ids=detector.name)
def test_losses_in_training_detections_in_evaluation_and_both_heads(config):
    torch.manual_seed(0)
    made = task()
    model = detector.build(config, **made.sizes)
    images, targets = next(made.batches(4, 0))
    kept = copy.deepcopy(targets)
    loss = made.loss(model, (images, targets))
    losses = model([*images], targets)
    torch.testing.assert_close(loss, sum(losses.values()))
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(torch.equal(a[k], b[k]) for a, b in zip(targets, kept, strict=True) for k in a)
    with torch.no_grad():
        found = model.eval()(images)
    assert [set(one) for one in found] == [{"boxes", "labels", "scores"}] * 4
    read = capture_roles(model, images, {"classes": "sigmoid", "boxes": "identity"})
    assert (read["classes"].num_classes, read["boxes"].num_classes) == (3, 4)
    # Strides are 8, 16 and 32 of 32 × 64 pixels.
    places = 32 + (8 + 2) * (config["neck"] == "fpn")
    rows = 4 * places * (6 if config["head"] == "retinanet" else 1)
    assert read["classes"].num_samples == read["boxes"].num_samples == rows


def test_images_without_objects_and_odd_sizes_train():
    model = detector.build(KINDS[-1], num_classes=3)
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    losses = model([torch.rand(3, 40, 50)] * 2, [empty] * 2)
    assert all(bool(torch.isfinite(one)) for one in losses.values())


def test_every_side_of_a_box_can_move_at_first():
    """FCOS' sides are behind a ReLU, which passes no gradient where it gives 0."""
    for seed in range(4):
        torch.manual_seed(seed)
        model = detector.build(PLAIN, num_classes=3)
        sides = capture_roles(model, torch.rand(2, 3, 32, 64), {"boxes": "identity"})[
            "boxes"
        ].logits
        assert bool((sides > 0).all())


@pytest.mark.parametrize("head", detector.CHOICES["head"])
def test_a_network_learns_where_an_object_is(head):
    """After training on one image, its best box is the object's."""
    torch.manual_seed(0)
    model = detector.build({**PLAIN, "head": head, "width": 16}, num_classes=3)
    image, box = torch.zeros(3, 32, 64), torch.tensor([[12.0, 4, 40, 28]])
    image[:, 4:28, 12:40] = 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    target = [{"boxes": box, "labels": torch.tensor([2])}] * 2
    for _ in range(60):
        optimizer.zero_grad()
        sum(model([image] * 2, target).values()).backward()
        optimizer.step()
    with torch.no_grad():
        found = model.eval()([image])[0]
    assert found["labels"][0] == 2
    torch.testing.assert_close(found["boxes"][:1], box, atol=4, rtol=0)


class Pools(nn.Module):
    """Maps of the three strides, whose places are mirrored if the image is."""

    def __init__(self, channels):
        super().__init__()
        self.mix = nn.Conv2d(3, channels, 1)

    def forward(self, images):
        mixed = self.mix(images)
        return {str(k): nn.functional.avg_pool2d(mixed, k) for k in detector.STRIDES}


@pytest.mark.parametrize("head", detector.CHOICES["head"])
def test_places_of_all_levels_and_anchors_come_back(head):
    """If kernels are symmetric, nothing is padded on one side, or shifted by half a pixel."""
    torch.manual_seed(0)
    model = detector.build({**PLAIN, "neck": "fpn", "head": head}, num_classes=3)
    model.backbone = Pools(model.backbone.out_channels)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight)
            module.weight.data += module.weight.data.flip(-1)
    images = torch.rand(2, 3, 64, 96)
    first, second, unmoved = (
        capture_roles(model, x, {"classes": "sigmoid"}, places=places)["classes"].logits
        for x, places in (
            (images, None),
            (images.flip(-1), lambda maps: maps.flip(-1)),
            (images.flip(-1), None),
        )
    )
    assert len(first) == 2 * (96 + 24 + 6) * (6 if head == "retinanet" else 1)
    torch.testing.assert_close(first, second, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(first, unmoved, atol=0.1)


def test_models_that_pad_mirrored_images_are_refused():
    model = detector.build({**PLAIN, "neck": "fpn"}, num_classes=3)
    back, links = lambda maps: maps.flip(-1), {"classes": "sigmoid"}
    for inputs in (torch.rand(2, 3, 64, 90), ([torch.rand(3, 64, 96), torch.rand(3, 64, 64)],)):
        with pytest.raises(ValueError, match=r"^`view` must leave .*multiple of 32, got .* of \d+"):
            capture_roles(model, inputs, links, places=back)
        capture_roles(model, inputs, links)


def test_untrained_networks_are_measured_or_not_defined():
    torch.manual_seed(0)
    images = torch.rand(3, 3, 32, 64)
    model = detector.build(PLAIN, num_classes=3)
    values = {
        name: get_readout(name)(Network(model, images)) for name in ("isotropy", "synflow", "flops")
    }
    # A multiplication and an addition for each weight at each place: strides are 2, 4 and 8.
    size = {"backbone.stem": 512, "backbone.stages.0": 128, "backbone.stages.1": 32, "head": 32}
    assert values["flops"] == sum(
        2 * module.weight.numel() * next(n for start, n in size.items() if name.startswith(start))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    )
    assert values["isotropy"] > 0
    assert math.isnan(values["synflow"])
    listed = get_readout("flops")(Network(model, ([*images],)))
    assert listed == values["flops"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {},
            "`config` must have the keys depth, width, norm, neck, head, head_depth, got []",
        ),
        (PLAIN | {"width": 9}, "`width` must be one of 8, 12, 16, 24, got 9"),
        (PLAIN | {"neck": "pan"}, "`neck` must be one of none, fpn, got 'pan'"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(config, message):
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}$"):
        detector.build(config)


# -- users


def test_detectors_are_ranked():
    ranking = rank("detector", task(), samples=2, training=TRAINING)
    assert [row.status for row in ranking] == ["ok"] * 2
    assert not any(math.isnan(value) for row in ranking for value in row.values.values())


def test_checkpoints_of_a_detector_are_chosen(tmp_path):
    made = task()
    torch.manual_seed(0)
    model = detector.build(PLAIN, **made.sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    monitor = Monitor(made.probe, view=made.views, link=made.link, parts=made.parts)
    selector = CheckpointSelector(tmp_path / "best")
    for step, batch in zip(range(1, 4), made.batches(4, 0), strict=False):
        optimizer.zero_grad()
        made.loss(model.train(), batch).backward()
        optimizer.step()
        reading = monitor.read(model, step)
        selector.update(reading, model)
    assert isinstance(reading, Reading)
    assert all(map(math.isfinite, reading.values.values()))
    model.load_state_dict(selector.load())


def test_a_study_searches_the_space():
    optuna = pytest.importorskip("optuna")
    from prescreen.integrations.optuna import objective

    study = optuna.create_study(directions=["maximize", "minimize"])
    value = "boxes:sample_gradient"
    study.optimize(
        objective("detector", task(), TRAINING, value=value, costs=["flops"]), n_trials=1
    )
    assert len(study.trials[0].values) == 2
