"""Parts of predictions: their rows and classes, read in one pass, refused before training."""

import math
from functools import partial
from types import MappingProxyType

import pytest
import torch
from torch import nn

from prescreen import Probe, Training, rank
from prescreen.captured import Capture
from prescreen.heads import capture
from prescreen.heads.positions import draw
from prescreen.part import Part, with_own
from prescreen.predictions import Logits
from prescreen.readouts import get_readout
from prescreen.tasks import SegmentationTask
from tests.toy_tasks import TASKS

IMAGES = torch.randn(12, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Dense(nn.Module):
    """Classes (background first) and offsets for each pixel; the offsets are returned second."""

    head_roles = MappingProxyType({"classes": "cls", "boxes": "box"})

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Conv2d(3, 5, 3, padding=1)
        self.cls, self.box = nn.Conv2d(5, 4, 1), nn.Conv2d(5, 2, 1)
        self.runs = 0

    def forward(self, x):
        self.runs += 1
        features = self.body(x).relu()
        return self.cls(features), self.box(features)


def head(rows=24, classes=4, link="softmax", seed=0):
    torch.manual_seed(seed)
    features, weight, bias = torch.randn(rows, 5), torch.randn(classes, 5), torch.randn(classes)
    return Capture(features, features @ weight.T + bias, weight, bias, link)


@pytest.mark.parametrize(("share", "rows"), [((0, 0.25), (0, 6)), ((1 / 3, 1), (8, 24))])
def test_a_share_has_the_rows_of_its_samples(share, rows):
    one = head()
    found = Part(share=share).of({"head": one, "before": Logits(one.logits)})
    for subject in found.values():
        assert torch.equal(subject.logits, one.logits[slice(*rows)])
    assert torch.equal(found["head"].features, one.features[slice(*rows)])


@pytest.mark.parametrize("stop", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("samples", [20, 50, 90])
def test_rows_of_other_samples_are_never_in_a_share(samples, stop):
    places, stop = 100, round(stop * samples) / samples
    positions = draw(samples * places, 4096)
    rows = Part(share=(0, stop)).of({"head": head(len(positions))})["head"].num_samples
    inside = int((positions // places < round(stop * samples)).sum())
    assert inside - 1 <= rows <= inside
    assert bool((positions[:rows] // places < round(stop * samples)).all())


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
@pytest.mark.parametrize("background", [0, 3])
def test_a_background_is_no_class_of_what_is_there(link, background):
    one = head(link=link)
    kept = [k for k in range(4) if k != background]
    found = Part(link, background=background).of({"head": one})["head"]
    assert torch.equal(found.logits, one.logits[:, kept])
    # Checked anew: what is left is a linear head.
    again = Capture(found.features, found.logits, found.weight, found.bias, link)
    p = one.predictions()[:, kept]
    expected = p / p.sum(1, keepdim=True) if link == "softmax" else p
    assert torch.allclose(again.predictions(), expected)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
@pytest.mark.parametrize("background", [None, 0])
def test_the_likeliest_rows_are_those_of_the_head_in_all_subjects(link, background):
    one, view = head(link=link), head(link=link, seed=1)
    found = Part(link, background=background, likeliest=0.25).of({"head": one, "view": view})
    p = one.predictions()
    p = p if background is None else p[:, 1:]
    rows = sorted(sorted(range(24), key=lambda row: -float(p[row].max()))[:6])
    kept = slice(None) if background is None else slice(1, None)
    for name, subject in (("head", one), ("view", view)):
        assert torch.equal(found[name].logits, subject.logits[rows][:, kept]), name


def test_the_likeliest_of_seen_inputs_are_their_own():
    one, seen = head(), head(rows=40, seed=2)
    found = Part(likeliest=0.5).of({"head": one, "seen": seen})
    alone = Part(likeliest=0.5).of({"head": seen})
    assert torch.equal(found["seen"].logits, alone["head"].logits)


PARTS = {
    "classes": Part("softmax", "classes", background=0),
    "boxes": Part("identity", "boxes"),
    "first": Part("softmax", "classes", share=(0, 0.5)),
}
NAMES = ("classes:entropy", "boxes:rankme", "first:sample_gradient", "ahead/entropy", "entropy")


def test_parts_are_read_in_one_forward_pass_and_as_if_alone():
    model = Dense()
    probe = Probe(IMAGES, NAMES[:3], parts=PARTS)
    values = probe.read(model, 1).values
    assert model.runs == 1
    classes, boxes = (
        capture(model, IMAGES, role=role, link=link)
        for role, link in (("classes", "softmax"), ("boxes", "identity"))
    )
    kept = torch.arange(1, 4)
    assert values["classes:entropy"] == pytest.approx(
        get_readout("entropy")(classes.of_classes(kept))
    )
    assert values["boxes:rankme"] == pytest.approx(get_readout("rankme")(boxes))
    half = classes.at(torch.arange(6 * 36))
    assert values["first:sample_gradient"] == pytest.approx(get_readout("sample_gradient")(half))
    own = Probe(IMAGES, ["entropy"]).read(model, 1).values["entropy"]
    assert own == pytest.approx(get_readout("entropy")(classes))


def test_parts_look_at_views_back_and_ahead_as_the_own_head_does():
    names = ["classes:expected_agreement", "classes:before/agreement/none", "classes:ahead/entropy"]
    parts = {"classes": Part("softmax", "classes")}
    probe = Probe(IMAGES, names, parts=parts, view="mirror")
    alone = Probe(IMAGES, [name.partition(":")[2] for name in names], view="mirror")
    for step, seed in ((1, 0), (2, 1), (4, 2)):
        ours = probe.read(Dense(seed), step).values
        theirs = alone.read(Dense(seed), step).values
        assert [*ours.values()] == pytest.approx([*theirs.values()], nan_ok=True)
        state = probe.state_dict()
        probe = Probe(IMAGES, names, parts=parts, view="mirror")
        probe.load_state_dict(state)


def test_a_state_saved_before_there_were_parts_is_continued():
    probe = Probe(IMAGES, ["before/agreement/none"])
    probe.read(Dense(), 1)
    state = probe.state_dict()
    old = {**state, "logits": [logits[""] for logits in state["logits"]]}
    again = Probe(IMAGES, ["before/agreement/none"])
    again.load_state_dict(old)
    assert again.read(Dense(1), 2) == probe.read(Dense(1), 2)


@pytest.mark.parametrize(
    ("names", "parts", "message"),
    [
        (["box:rankme"], PARTS, "of classes or boxes or first or the model's own head, got 'box:r"),
        (["boxes:rankme"], None, "of the model's own head, got 'boxes:rankme'"),
        (["boxes:entropy"], PARTS, "defined for identity links, got boxes:entropy"),
        (["boxes:flops"], PARTS, "one of the head after boxes:, got 'boxes:flops'"),
        (["boxes:classes:rankme"], PARTS, "one of the head after boxes:, got 'boxes:classes:r"),
        (["first:gap/entropy"], PARTS, "without seen inputs for a share of the probe, got 'first"),
        (["boxes:nothing"], PARTS, "or anchor/projection/normalization, got 'nothing'"),
    ],
)
def test_what_a_part_does_not_have_is_refused(names, parts, message):
    with pytest.raises(ValueError, match=f"^`readouts` must (be|name) .*{message}"):
        Probe(IMAGES, names, parts=parts, seen=IMAGES)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"link": "probit"}, "link"),
        ({"share": (0.5, 0.5)}, "share"),
        ({"share": (-0.1, 1)}, "share"),
        ({"background": -1}, "background"),
        ({"link": "identity", "background": 0}, "background"),
        ({"likeliest": 0}, "likeliest"),
        ({"likeliest": math.nan}, "likeliest"),
        ({"link": "identity", "likeliest": 0.5}, "likeliest"),
    ],
)
def test_a_part_that_cannot_be_is_refused(options, argument):
    with pytest.raises(ValueError, match=f"^`{argument}` must be .*, got "):
        Part(**options)


@pytest.mark.parametrize(
    "parts",
    [
        {"": Part()},
        {"a:b": Part()},
        {"classes": "classes"},
        {"one": Part("softmax", "classes"), "two": Part("sigmoid", "classes")},
        {"own": Part("sigmoid")},
    ],
)
def test_parts_have_names_and_a_head_one_link(parts):
    with pytest.raises(ValueError, match=r"^`parts` must be .*, got "):
        with_own(parts, "softmax")


@pytest.mark.parametrize(("classes", "part"), [(2, Part(background=0)), (4, Part(background=4))])
def test_a_background_must_leave_classes(classes, part):
    with pytest.raises(ValueError, match=r"^`background` must be one of at least 3 classes, got "):
        part.of({"head": head(classes=classes)})


class Pixels(SegmentationTask):
    """A task with a panel of its own, of a part that its models have."""

    parts = MappingProxyType({"left": Part("softmax", share=(0, 0.5))})
    panel = ("left:rankme", "flops")


def test_a_task_says_what_is_compared_by_default_and_intervals_are_of_its_rows():
    torch.manual_seed(0)
    task = Pixels(torch.randn(40, 3, 8, 8), torch.randint(2, (40, 8, 8)), probe_size=16)
    builds = {
        f"w{w}": lambda w=w: nn.Sequential(
            nn.Conv2d(3, w, 3, padding=1), nn.ReLU(), nn.Conv2d(w, 2, 1)
        )
        for w in (2, 6)
    }
    made = rank(builds, task, training=Training(steps=4, batch_size=8))
    assert [*made.readouts] == [*Pixels.panel]
    for row in made:
        reading = row.trajectory.last
        assert math.isfinite(reading.values["left:rankme"])
        assert len(reading.replicates["left:rankme"]) == 8
    with pytest.raises(ValueError, match=r"^`readouts` must be of left or the model's own head"):
        rank(builds, task, readouts=["right:rankme"])
    with pytest.raises(ValueError, match=r"^`readouts` must be of the model's own head"):
        rank(builds, TASKS["images"](0), readouts=["left:rankme"])


def test_a_committee_is_asked_of_dense_predictions_as_well():
    """Also where nothing else is read of the head, and one predicted class is no failure."""
    torch.manual_seed(0)
    task = SegmentationTask(torch.randn(40, 3, 8, 8), torch.randint(2, (40, 8, 8)), probe_size=16)
    builds = {f"w{width}": partial(nn.Conv2d, 3, 2, width, padding="same") for width in (1, 3, 5)}
    readouts = ["committee/agreement", "flops"]
    made = rank(builds, task, readouts=readouts, training=Training(steps=4, batch_size=8))
    assert [row.status for row in made] == ["ok"] * 3
    assert all(math.isfinite(row.values["committee/agreement"]) for row in made)
