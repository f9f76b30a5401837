"""What is read of which task."""

import pytest
import torch

from benchmarks.tasks import readouts
from prescreen.part import Part
from prescreen.tasks import RegressionTask, SegmentationTask

RANDOMS = torch.Generator().manual_seed(0)


@pytest.fixture
def regression():
    inputs, targets = (torch.randn(12, size, generator=RANDOMS) for size in (4, 2))
    return RegressionTask(inputs, targets, probe_size=4)


def test_only_what_a_link_has_is_read(regression):
    names = [*readouts.readouts_of(regression)]
    assert {"rankme", "sample_gradient", "expected_agreement", "flops", "isotropy"} <= {*names}
    assert not [n for n in names if n.startswith(("pseudo", "uniform", "labels"))]
    assert "mutual_information" not in names
    masks = torch.randint(2, (8, 4, 4), generator=RANDOMS)
    segmentation = SegmentationTask(torch.randn(8, 3, 4, 4, generator=RANDOMS), masks, probe_size=2)
    brief, along = (readouts.readouts_of(segmentation, seen=seen) for seen in (False, True))
    assert {*readouts.PROBE, "mutual_information", "synflow"} <= {*brief}
    assert not {"gap/energy", *readouts.COSTLY} & {*brief}
    assert "gap/energy" in along
    assert "synflow" not in along


def test_parts_have_names_of_their_own(regression):
    regression.parts = {
        "boxes": Part("identity", "boxes"),
        "first": Part("identity", share=(0, 0.5)),
    }
    regression.targets = torch.zeros(4, 2)
    own = readouts.readouts_of(regression, own_head=False, seen=True)
    assert {"boxes:rankme", "boxes:gap/rankme", "first:held_out_loss"} <= {*own}
    # Targets are those of the model's own head, and a share of the probe has no seen counterpart.
    assert not {"rankme", "boxes:held_out_loss", "first:gap/rankme"} & {*own}
    assert "first:labels/gradient/head" in own
    assert own["first:labels/gradient/head"].part == "first"


def test_names_and_directions():
    assert readouts.ahead("rankme") == "ahead/rankme"
    assert readouts.ahead("boxes:rankme") == "boxes:ahead/rankme"
    assert readouts.plain("boxes:ahead/rankme") == "ahead/rankme"
    higher = ("rankme", "boxes:ahead/rankme", "parameters", "flops", "prior/gradient/none")
    lower = ("training.loss", "ahead/training.loss", "first:held_out_loss", "gap/energy")
    lower += ("labels/gradient/head", "pseudo/batch_gradient/head")
    assert all(map(readouts.higher_is_better, higher))
    assert not any(map(readouts.higher_is_better, lower))
    assert [n for n in higher if readouts.is_of_network(n)] == ["parameters", "flops"]
