"""Positions: how many are read, which, and what is known of them."""

import pytest
import torch
from torch import nn

from prescreen import capture, read
from prescreen.captured import Capture
from prescreen.heads import capture_heads, positions
from prescreen.readouts import get_readout

GENERATOR = torch.Generator().manual_seed(0)


def tokens(classes, width=3):
    """Logits (B, L, K) of features (B, L, D)."""
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, classes))


def flat(logits, axis=-1):
    return logits.movedim(axis, -1).flatten(0, -2)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return 0.5 * self.head(x)


# A model, the shape of its inputs, and the axis of classes in its logits.
MODELS = {
    "tokens": (tokens(5), (6, 7, 4), -1),
    "images": (nn.Conv2d(4, 5, 3, padding=1), (3, 4, 6, 5), 1),
    "explained": (Scaled(), (6, 7, 4), -1),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("max_positions", [10_000, 11])
def test_positions_are_rows_of_the_logits_that_the_model_returns(name, max_positions):
    model, shape, axis = MODELS[name]
    inputs = torch.randn(shape, generator=GENERATOR)
    taken = capture(model, inputs, max_positions=max_positions)
    logits = flat(model(inputs), axis)
    torch.testing.assert_close(taken.logits, logits[taken.positions])
    assert len(taken.positions) == min(max_positions, len(logits))
    few = taken.at(torch.tensor([3, 1]))
    assert torch.equal(few.positions, taken.positions[[3, 1]])
    named = capture(model, inputs, head="head" if name == "explained" else None)
    assert torch.equal(named.positions, torch.arange(len(logits)))


def test_positions_are_drawn_after_masking():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 5)

        def forward(self, x, attention_mask=None):
            return self.head(x)

    mask = torch.zeros(8, 10, dtype=torch.long)
    mask[:, 4:8] = 1
    x = torch.randn(8, 10, 4, generator=GENERATOR)
    taken = capture(Masked(), {"x": x, "attention_mask": mask}, max_positions=16)
    assert len(taken.positions) == 16
    assert bool(mask.flatten()[taken.positions].all())
    assert len({int(one) // 10 for one in taken.positions}) == 8  # of every sample


def test_positions_count_on_over_several_calls_of_a_layer():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 5)

        def forward(self, x):
            return [self.head(x), self.head(x[:, :2])]

    model, x = Twice(), torch.randn(3, 4, 4, generator=GENERATOR)
    taken = capture_heads(model, x, head="head")["head"]
    every = torch.cat([flat(part) for part in model(x)])
    torch.testing.assert_close(taken.logits, every[taken.positions])


@pytest.mark.parametrize(
    ("classes", "rows"),
    [(2, 4096), (1000, 4096), (16_384, 4096), (16_385, 4095), (50_257, 1335), (2**26, 2)],
)
def test_logits_are_bounded_and_not_positions_alone(classes, rows):
    drawn = positions.draw(100_000, 4096, classes)
    assert len(drawn) == rows
    assert rows == 2 or rows * classes <= positions.MOST_LOGITS
    assert bool((drawn.diff() > 0).all())
    assert drawn[0] < 100_000 / rows
    assert drawn[-1] >= 100_000 * (1 - 1 / rows) - 1


def test_what_was_drawn_of_few_classes_is_drawn_still():
    """The numbers that version 0.1 drew."""
    assert positions.draw(4096, 4096, 1000).tolist() == list(range(4096))
    assert positions.draw(50_000, 4096, 10)[:6].tolist() == [11, 20, 29, 47, 56, 70]
    assert positions.draw(50_000, 4096, 10).sum() == 102_396_060


@pytest.mark.parametrize("bound", [64, 1 << 26])
def test_a_head_of_many_classes_is_read_at_fewer_positions(monkeypatch, bound):
    monkeypatch.setattr(positions, "MOST_LOGITS", bound)
    taken = capture(tokens(16), torch.randn(5, 9, 4, generator=GENERATOR))
    assert len(taken.logits) == (4 if bound == 64 else 45)


@pytest.mark.parametrize(
    ("name", "limit", "rows"), [("nuclear", "_NUCLEAR_PREDICTIONS", 7), ("cot", "_COT_SAMPLES", 7)]
)
def test_costly_readouts_are_of_an_even_sample(monkeypatch, make_capture, name, limit, rows):
    taken = make_capture(n=30, k=4)
    whole = get_readout(name)(taken)
    most = rows * taken.num_classes if name == "nuclear" else rows
    monkeypatch.setattr(f"prescreen.readouts.statistics.{limit}", most)
    few = taken.at(torch.arange(rows) * 30 // rows)
    alone = Capture(few.features, few.logits, few.weight, few.bias)
    assert get_readout(name)(taken) == get_readout(name)(alone) != whole


def test_reading_a_large_vocabulary_is_bounded():
    model = tokens(50_257)
    values = read(model, torch.randn(2, 700, 4, generator=GENERATOR), ["confidence"])
    assert 0 < values["confidence"] < 1
