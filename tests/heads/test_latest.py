"""A head that was found is looked at first, and searched again where it is another."""

import gc

import torch
from torch import nn

from prescreen.heads import latest
from prescreen.heads.capturing import capture

INPUTS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Two(nn.Module):
    """Its logits come from one of two layers."""

    def __init__(self):
        super().__init__()
        self.body, self.one, self.other = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(5, 3)
        self.chosen, self.runs = "one", 0

    def forward(self, x):
        self.runs += 1
        return getattr(self, self.chosen)(self.body(x).relu())


def same(one, other):
    return all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("features", "logits", "weight", "bias")
    )


def test_the_head_is_searched_once():
    model = Two()
    assert latest.likely_head(model) is None
    first = capture(model, INPUTS)
    assert latest.likely_head(model).module is model.one
    assert same(capture(model, INPUTS), first)
    assert model.runs == 2


def test_a_head_that_moves_is_found():
    model = Two()
    capture(model, INPUTS)
    model.chosen = "other"
    again = capture(model, INPUTS)
    assert torch.equal(again.weight, model.other.weight)
    assert model.runs == 3
    model.other = nn.Linear(5, 3)
    assert latest.likely_head(model) is None
    assert torch.equal(capture(model, INPUTS).weight, model.other.weight)
    del model.other
    assert latest.likely_head(model) is None


def test_nothing_is_kept_of_a_model_that_is_gone():
    model = Two()
    capture(model, INPUTS)
    known = len(latest._FOUND)
    del model
    gc.collect()
    assert len(latest._FOUND) < known
