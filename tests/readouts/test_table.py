"""What is added to a public table at run time works under its plain and its composed names."""

import math

import pytest
import torch
from toy import TRAINING, make_task, mlp

from prescreen import READOUTS, Candidate, Probe, Readout, rank, read, screen
from prescreen.readouts import ANCHORS, NORMALIZATIONS, PROJECTIONS, STATISTICS, get_readout
from prescreen.readouts.network import MEASURES
from prescreen.readouts.pairs import PAIRS
from prescreen.readouts.statistics import Statistic

INPUTS = make_task().probe


def top(capture):
    return capture.logits.amax(1)


def parameters(network):
    return sum(p.numel() for p in network.model.parameters())


def disagreement(capture, view):
    return (capture.logits.argmax(1) != view.logits.argmax(1)).double()


# The table, what is added as "mine", and names under which it then works.
ADDED = {
    "STATISTICS": (
        STATISTICS,
        Statistic(top, "higher", "yours"),
        ["mine", "none/mine/none", "none/mine/feature", "gap/mine", "gap/none/mine/head"],
    ),
    "READOUTS": (
        READOUTS,
        Readout(top),
        ["mine", "none/mine/none", "none/mine/feature", "gap/mine", "gap/none/mine/head"],
    ),
    "PAIRS": (PAIRS, Readout(disagreement, ("head", "view")), ["mine"]),
    "MEASURES": (MEASURES, Readout(parameters, ("network",)), ["mine"]),
    "ANCHORS": (ANCHORS, lambda c: c.predictions()[0], ["mine/gradient/none", "gap/mine/gwa/none"]),
    "PROJECTIONS": (PROJECTIONS, lambda c, q: top(c), ["prior/mine/none", "gap/prior/mine/both"]),
    "NORMALIZATIONS": (NORMALIZATIONS, lambda c: 2.0, ["prior/gradient/mine", "none/entropy/mine"]),
}


@pytest.mark.parametrize("table", ADDED)
def test_what_is_added_to_a_table_works_under_all_its_names(table, monkeypatch):
    rows, row, names = ADDED[table]
    with pytest.raises(ValueError, match="`readouts` must"):
        get_readout(names[0])
    monkeypatch.setitem(rows, "mine", row)
    if "mine" in names:
        assert "mine" in READOUTS
        assert "mine" in [*READOUTS]
        assert get_readout("mine") is get_readout("mine") is READOUTS["mine"]
    probe = Probe(INPUTS, names, seen=INPUTS[:8], view=lambda x: x.flip(-1))
    model = mlp(8)
    probe.read_untrained(model)
    assert all(map(math.isfinite, probe.read(model, 1).values.values()))
    ranking = rank({"a": lambda: mlp(8)}, make_task(), training=TRAINING, readouts=names)
    assert [row.status for row in ranking] == ["ok"]


def test_composed_names_divide_what_was_added(monkeypatch):
    monkeypatch.setitem(STATISTICS, "mine", Statistic(top, "lower", "yours"))
    monkeypatch.setitem(NORMALIZATIONS, "half", lambda capture: 2.0)
    torch.manual_seed(0)
    values = read(mlp(8), INPUTS, ["mine", "none/mine/half"])
    assert values["none/mine/half"] == values["mine"] / 2
    assert not get_readout("mine").higher_is_better
    monkeypatch.setitem(STATISTICS, "mine", Statistic(top, "higher", "yours"))
    assert get_readout("mine").higher_is_better


def test_a_name_that_is_gone_is_refused(monkeypatch):
    with monkeypatch.context() as added:
        added.setitem(STATISTICS, "mine", Statistic(top, "higher", "yours"))
        candidate = Candidate("a", {}, lambda: mlp(8))
        (reading,) = screen(candidate, make_task(), TRAINING, ["mine"], readings=1)
        assert set(reading.values) == {"mine"}
    with pytest.raises(ValueError, match=r"`readouts` must be .* got 'mine'"):
        get_readout("mine")
