"""Objects in images: targets, the loss, augmentation, places of views, and what is refused."""

import logging
import math

import pytest
import torch
from toy_networks import Boxer
from toy_tasks import boxes

from prescreen import Candidate, Probe, Training, rank, screen
from prescreen.part import Part
from prescreen.readouts.network import Network, flops, synflow
from prescreen.tasks import DetectionTask
from prescreen.tasks.images.views import Moved

IMAGES = torch.rand(8, 3, 16, 32, generator=torch.Generator().manual_seed(0))
BOXES = [torch.tensor([[i, 2.0, i + 9.5, 12.0], [0, 0, 4, 5]]) for i in range(8)]
LABELS = [torch.tensor([1 + i % 3, 2]) for i in range(8)]


def task(**options):
    given = {"images": IMAGES, "boxes": BOXES, "labels": LABELS, "probe": IMAGES[:3]}
    return DetectionTask(**{**given, **options})


class Returns(torch.nn.Module):
    """Notes what it is called with, and returns what it was given."""

    def __init__(self, value):
        super().__init__()
        self.value, self.called = value, None

    def forward(self, images, targets):
        self.called = images, targets
        return self.value


# -- loss


def test_the_loss_is_the_sum_of_those_that_the_model_returns():
    made = task()
    batch = next(made.batches(4, 0))
    model = Returns({"a": torch.tensor(1.5), "b": torch.tensor([2.0]), "c": torch.tensor(0.25)})
    assert made.loss(model, batch).item() == 3.75
    images, targets = model.called
    assert isinstance(images, list)
    assert torch.equal(torch.stack(images), batch[0])
    assert targets is batch[1]


@pytest.mark.parametrize("value", [torch.ones(()), [], {}, {"a": 1.0}, [{"boxes": torch.ones(4)}]])
def test_what_is_no_dict_of_losses_is_refused(value):
    made = task()
    with pytest.raises(ValueError, match=r"^`model` must return a dict of losses in training mode"):
        made.loss(Returns(value), next(made.batches(4, 0)))


# -- data


def test_sizes_link_and_parts():
    made = task()
    assert made.sizes == {"num_classes": 4, "in_channels": 3, "image_size": (16, 32)}
    assert task(num_classes=7).sizes["num_classes"] == 7
    assert (made.link, made.collapses) == ("sigmoid", False)
    assert made.parts == {"classes": Part("sigmoid", "classes"), "boxes": Part("identity", "boxes")}
    softmax = task(link="softmax")
    assert softmax.parts["classes"] == Part("softmax", "classes", background=0)
    single = task(link="softmax", labels=[k * 0 + 1 for k in LABELS])
    assert single.parts["classes"] == Part("softmax", "classes")


def test_images_of_8_bits_become_shares():
    whole = (IMAGES * 255).byte()
    made = task(images=whole, probe=whole[:3])
    torch.testing.assert_close(made.probe, whole[:3] / 255)
    batch, _ = next(made.batches(8, 0))
    assert batch.dtype == torch.float32
    assert sorted(batch.sum((1, 2, 3)).tolist()) == pytest.approx(
        sorted((whole / 255).sum((1, 2, 3)).tolist())
    )


def test_boxes_are_cut_off_and_those_without_area_left_out(caplog):
    odd = torch.tensor(
        [[-3, -4, 5, 6], [30, 10, 99, 99], [5, 5, 5, 9], [9, 3, 4, 8], [40, 0, 50, 9], [1, 2, 3, 4]]
    )
    labels = torch.tensor([1, 2, 3, 3, 3, 2])
    with caplog.at_level(logging.WARNING):
        made = task(boxes=[odd, *BOXES[1:]], labels=[labels, *LABELS[1:]])
    expected = torch.tensor([[0, 0, 5, 6], [30, 10, 32, 16], [1, 2, 3, 4]]).float()
    assert torch.equal(made.batches.boxes[0], expected)
    assert made.batches.labels[0].tolist() == [1, 2, 2]
    assert [one.message for one in caplog.records] == [
        "detection: left out 3 boxes without area in their image"
    ]


def test_images_without_objects_stay():
    made = task(
        boxes=[torch.zeros(0, 4), *BOXES[1:]],
        labels=[torch.zeros(0, dtype=torch.long), *LABELS[1:]],
    )
    counts = {len(one["labels"]) for one in next(made.batches(8, 0))[1]}
    assert counts == {0, 2}


def test_augmentation_mirrors_images_with_their_boxes():
    """Each image is bright inside its box alone, so it shows where the box is."""
    images, targets = torch.zeros(6, 1, 16, 32), []
    for i in range(6):
        images[i, :, 3:9, 2 + 3 * i : 7 + 3 * i] = 1
        targets.append(torch.tensor([[2.0 + 3 * i, 3, 7 + 3 * i, 9]]))
    labels = [torch.ones(1, dtype=torch.long)] * 6
    made = DetectionTask(images, targets, labels, probe=images[:2], augment=True)
    lefts = set()
    for seed in range(8):
        batch, found = next(made.batches(6, seed))
        for image, target in zip(batch, found, strict=True):
            left, top, right, bottom = target["boxes"][0].int().tolist()
            inside = torch.zeros_like(image)
            inside[:, top:bottom, left:right] = 1
            assert torch.equal(image, inside)
            lefts.add(left)
    assert lefts == {2 + 3 * i for i in range(6)} | {25 - 3 * i for i in range(6)}
    plain = {int(t["boxes"][0, 0]) for t in next(made.batches.unaugmented(6, 0))[1]}
    assert plain == {2 + 3 * i for i in range(6)}


def test_the_fingerprint_covers_all_that_changes_training_or_reading():
    changes = [
        {},
        {"augment": True},
        {"num_classes": 9},
        {"link": "softmax"},
        {"view": torch.neg},
        {"probe": IMAGES[1:5]},
        {"boxes": [BOXES[0] + 1, *BOXES[1:]]},
        {"labels": [LABELS[0].flip(0), *LABELS[1:]]},
        {"images": 1 - IMAGES},
    ]
    assert len({task(**change).fingerprint for change in changes}) == len(changes)
    assert task(name="another").fingerprint == task().fingerprint


# -- views


def test_the_view_is_mirrored_and_back_where_detectors_do_not_pad():
    view = task().views(IMAGES)
    assert isinstance(view, Moved)
    assert torch.equal(view.inputs, IMAGES.flip(-1))
    assert torch.equal(view.back(view.inputs), IMAGES)
    assert task().views(IMAGES[..., :30]) is None
    assert torch.equal(task(view=torch.neg).views(IMAGES), -IMAGES)


def oracle_agreement(model, images):
    """Mean over places and classes of p q + (1 − p)(1 − q), of mirrored images' places mirrored."""
    with torch.no_grad():
        first, second = (
            model.classes(torch.nn.functional.avg_pool2d(model.body(x).relu(), 4)).sigmoid()
            for x in (images, images.flip(-1))
        )
    second = second.flip(-1)
    return (first * second + (1 - first) * (1 - second)).mean().item()


def test_classes_are_compared_place_by_place():
    torch.manual_seed(0)
    made, model = boxes(0), Boxer(6, 4, 1)
    torch.nn.init.normal_(model.classes.weight, std=10)
    names = ["classes:expected_agreement", "expected_agreement", "boxes:rankme"]
    probe = Probe(made.probe, names, view=made.views, link=made.link, parts=made.parts)
    values = probe.read(model, 1).values
    expected = oracle_agreement(model, made.probe)
    assert values["classes:expected_agreement"] == pytest.approx(expected, abs=1e-5)
    assert values["expected_agreement"] == pytest.approx(expected, abs=1e-5)
    unmoved = Probe(
        made.probe, names[:1], view=lambda x: x.flip(-1), link=made.link, parts=made.parts
    )
    assert unmoved.read(model, 1).values[names[0]] != pytest.approx(expected, abs=1e-4)


class Regions(Boxer):
    """Predicts the classes of regions, of which there are several in an image."""

    def __init__(self):
        super().__init__(4, 4, 1)
        self.classes = torch.nn.Linear(4, 4)

    def forward(self, images, targets=None):
        features = torch.nn.functional.avg_pool2d(self.body(images), 4)
        return [{"scores": self.classes(features.movedim(1, -1).flatten(0, 2))}]


def test_regions_have_no_mirrored_places():
    made, model = boxes(0), Regions()
    options = {"view": made.views, "link": made.link, "parts": made.parts}
    with pytest.raises(ValueError, match=r"^`view` must leave samples at their places where .*512"):
        Probe(made.probe, ["classes:expected_agreement"], **options).read(model, 1)
    values = Probe(made.probe, ["classes:sample_gradient"], **options).read(model, 1).values
    assert values["classes:sample_gradient"] > 0


def test_readouts_of_boxes_need_no_view():
    with pytest.raises(
        ValueError,
        match=r"^`readouts` must be without a view for boxes, whose sides it moves, "
        r"got 'boxes:expected_agreement'$",
    ):
        rank({"a": Boxer}, boxes(0), readouts=["boxes:expected_agreement"])


def test_readouts_of_the_panel_are_defined_for_both_links():
    for link in ("sigmoid", "softmax"):
        made = task(link=link)
        Probe(made.probe, made.panel, view=made.views, link=link, parts=made.parts)


# -- ranking


def test_a_ranking_is_resumed_and_one_class_everywhere_is_no_failure(tmp_path):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.finished:
            raise Stop

    def build(num_classes, in_channels):
        model = Boxer(4, num_classes, in_channels)
        torch.nn.init.constant_(model.classes.bias, -9.0)
        return model

    networks = {"a": build, "b": lambda num_classes, in_channels: Boxer(8, num_classes, 1)}
    options = {"training": Training(steps=4, batch_size=8, lr=1e-4), "out": tmp_path / "run"}
    with pytest.raises(Stop):
        rank(networks, boxes(0), progress=stop, **options)
    resumed = rank(networks, boxes(0), **options)
    whole = rank(networks, boxes(0), training=options["training"])
    assert [(row.name, row.status, row.values) for row in resumed] == [
        (row.name, row.status, row.values) for row in whole
    ]
    assert {row.status for row in whole} == {"ok"}
    assert not any(math.isnan(value) for row in whole for value in row.values.values())
    *_, reading = screen(Candidate("a", {}, build), boxes(0), options["training"])
    assert set(reading.values) == set(DetectionTask.panel)


# -- measures of untrained networks


class Listed(torch.nn.Module):
    """Takes a list of images, as detectors do."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv2d(3, 5, 3, bias=False)

    def forward(self, images):
        return [{"boxes": self.body(one[None])} for one in images]


def test_a_list_of_images_is_counted_by_images():
    images = [torch.rand(3, 10, 10) for _ in range(4)]
    assert flops(Listed(), (images,)) == 2 * 5 * 27 * 64
    assert flops(Listed(), (images[:1],)) == 2 * 5 * 27 * 64
    assert flops(Listed(), {"images": images}) == 2 * 5 * 27 * 64


def test_synflow_is_undefined_for_chosen_detections():
    from prescreen.readouts import get_readout

    assert math.isnan(get_readout("synflow")(Network(Listed(), torch.rand(2, 3, 10, 10))))
    with pytest.raises(ValueError, match="detections are chosen"):
        synflow(Listed(), ([torch.rand(3, 10, 10)],))


# -- refusals

REFUSED = {
    "flat images": ({"images": IMAGES[:, 0]}, "`images` must be .* 4 dimensions, got float32"),
    "channels last": (
        {"images": torch.rand(8, 32, 32, 3), "probe": None, "probe_size": 2},
        r"`inputs` must be \(n, C, H, W\), got \(n, H, W, C\)",
    ),
    "standardised": ({"images": IMAGES - 0.5}, "`images` must be of 8 bits, or have values from 0"),
    "few boxes": ({"boxes": BOXES[1:]}, "`boxes` must be a list of 8 tensors, one an image, got 7"),
    "no list": ({"labels": torch.ones(8)}, "`labels` must be a list of 8 tensors.*, got Tensor"),
    "flat boxes": (
        {"boxes": [b[0] for b in BOXES]},
        r"`boxes` must have shape \(m, 4\) for each image, got \(4,\)",
    ),
    "not finite": ({"boxes": [b / 0 for b in BOXES]}, "`boxes` must be finite"),
    "more labels": (
        {"labels": [torch.ones(3).long()] * 8},
        r"`labels` must have an integer for each box, \(2,\), got \(3,\)",
    ),
    "real labels": ({"labels": [torch.ones(2)] * 8}, "`labels` must have an integer for each box"),
    "background": ({"labels": [k - 1 for k in LABELS]}, "`labels` must be at least 1, as 0 is"),
    "few classes": ({"num_classes": 3}, "`num_classes` must be above the largest label, 3: it"),
    "no box": ({"boxes": [b * 0 for b in BOXES]}, "`boxes` must be some inside their images, got"),
    "identity": ({"link": "identity"}, "`link` must be one of sigmoid, softmax, got 'identity'"),
    "crops": ({"augment": "crop"}, "`augment` must be True or False, got 'crop'"),
    "another probe": (
        {"probe": IMAGES[..., :8]},
        "`probe` must be at least 2 images of torch.float",
    ),
    "a large probe": ({"probe": None}, "`probe_size` must be from 2 to 7, with 8 samples"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_are_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        task(**changes)
    assert "\n" not in str(caught.value)
