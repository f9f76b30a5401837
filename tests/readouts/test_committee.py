"""Committee: packed predictions, and the agreement of each candidate with the others."""

import base64

import pytest
import torch

from prescreen.predictions import Logits
from prescreen.readouts import get_readout
from prescreen.readouts.committee import TOP, committees, packed, unpacked


def logits(seed, rows=30, classes=4):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed)) * 2


@pytest.mark.parametrize("classes", [2, TOP, TOP + 1, 300, 70_000])
def test_the_likeliest_classes_come_back_in_half_precision(classes):
    made = logits(0, rows=7, classes=classes)
    text = packed(Logits(made))
    values, numbers, count = unpacked(text)
    top = min(classes, TOP)
    assert count == classes
    assert values.shape == numbers.shape == (7, top)
    p = made.softmax(1).double()
    assert torch.allclose(values, p.gather(1, numbers), atol=1e-3)
    assert torch.allclose(values.sum(1), p.topk(top).values.sum(1), atol=1e-2)
    bytes_each = 2 + (0 if classes <= TOP else 2 if classes <= 2**16 else 4)
    assert len(base64.b64decode(text.split()[2])) == 7 * top * bytes_each


@pytest.mark.parametrize("classes", [4, TOP])
def test_agreement_is_that_with_the_mean_of_the_others(classes):
    predictions = [logits(seed, classes=classes) for seed in range(5)]
    found = committees([packed(Logits(one)) for one in predictions])
    p = torch.stack([one.softmax(1) for one in predictions])
    for at, committee in enumerate(found):
        others = torch.cat([p[:at], p[at + 1 :]]).mean(0)
        expected = (p[at] * others).sum(1).mean().item()
        assert get_readout("committee/agreement")(committee) == pytest.approx(expected, abs=1e-3)


def test_of_many_classes_the_likeliest_of_each_count():
    predictions = [logits(seed, classes=200) for seed in range(3)]
    found = committees([packed(Logits(one)) for one in predictions])
    kept = torch.stack(
        [p * (p >= p.topk(TOP).values[:, -1:]) for p in (one.softmax(1) for one in predictions)]
    )
    for at, committee in enumerate(found):
        others = (kept.sum(0) - kept[at]) / 2
        expected = (kept[at] * others).sum(1).mean().item()
        assert get_readout("committee/agreement")(committee) == pytest.approx(expected, abs=1e-3)


def test_there_is_no_committee_of_one_nor_of_unlike_shapes():
    texts = [packed(Logits(logits(0, classes=classes))) for classes in (4, 5)]
    assert committees(texts) == [None, None]
    assert committees(texts[:1]) == [None]
    assert committees([]) == []
    assert committees([texts[0], ""]) == [None, None]


@pytest.mark.parametrize(
    "text", ["", "x", "3 4 ????", "3 4 AAAA", "-1 4 ", "2 12 " + "/" * 40, "1 1 //8="]
)
def test_what_was_not_packed_is_refused(text):
    with pytest.raises(ValueError, match=r"^`text` must hold packed predictions, got "):
        unpacked(text)
