"""Parts of the probe: readouts on the probe batch without each of them."""

import math

import pytest
import torch

from prescreen import Readout
from prescreen.captured import Capture
from prescreen.predictions import Logits
from prescreen.readouts import compose, get_readout, labels
from prescreen.readouts.parts import PARTS, part_of_rows, replicates

NAMES = ["sample_gradient", "rankme", "mutual_information", "view_information"]


def captured(seed, rows=40, classes=5):
    generator = torch.Generator().manual_seed(seed)
    z, w = (torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in (rows, classes))
    return Capture(z, z @ w.T, w)


def test_they_are_the_readouts_of_the_other_rows():
    head, view = captured(0), captured(1)
    readouts = {name: get_readout(name) for name in NAMES}
    found = replicates(readouts, {"head": head, "view": view}, 40)
    parts = part_of_rows(40, 40)
    for name, readout in readouts.items():
        for part, value in enumerate(found[name]):
            kept = parts != part
            rest = [
                Capture(one.features[kept], one.logits[kept], one.weight) for one in (head, view)
            ]
            assert value == pytest.approx(readout(*rest[: len(readout.needs)]), rel=1e-12)


def test_for_means_over_samples_their_mean_is_the_readout():
    head = captured(2)
    found = replicates({"confidence": get_readout("confidence")}, {"head": head}, 40)
    assert sum(found["confidence"]) / PARTS == pytest.approx(get_readout("confidence")(head))


def test_the_reading_before_loses_the_same_rows_and_seen_inputs_none():
    head, seen = captured(0), captured(1, rows=24)
    before = Logits(captured(3).logits)
    sizes = Readout(
        lambda now, earlier, seen: now.num_samples * 1e4 + earlier.num_samples * 1e2 + 24,
        ("head", "before", "seen"),
    )
    subjects = {"head": head, "before": before, "seen": seen}
    assert set(replicates({"sizes": sizes}, subjects, 40)["sizes"]) == {353524.0}


def test_what_cannot_be_computed_without_a_part_is_nan_and_other_needs_are_left_out():
    readouts = {
        "labels": compose(labels(torch.zeros(40, dtype=torch.long)), "gradient"),
        "synflow": get_readout("synflow"),
        "training_loss": get_readout("training_loss"),
    }
    found = replicates(readouts, {"head": captured(0)}, 40)
    assert [*found] == ["labels"]
    assert all(map(math.isnan, found["labels"]))


@pytest.mark.parametrize(("rows", "samples"), [(40, 40), (256, 256), (120, 40), (4096, 32), (9, 9)])
def test_rows_of_one_sample_stay_together_in_parts_of_equal_size(rows, samples):
    parts = part_of_rows(rows, samples).view(samples, -1)
    assert (parts == parts[:, :1]).all()
    sizes = parts[:, 0].bincount(minlength=PARTS)
    assert sizes.max() - sizes.min() <= 1
    assert torch.equal(part_of_rows(rows, samples), parts.flatten())


def test_where_samples_are_unknown_parts_are_neighbours():
    parts = part_of_rows(100, 7)
    assert (parts.diff() >= 0).all()
    assert parts.bincount().tolist() == [13, 12, 13, 12] * 2
