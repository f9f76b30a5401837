"""Which readouts a link has: the others are refused by name before anything is trained."""

import itertools

import pytest
import torch
from toy_tasks import TASKS

from prescreen import DEFAULT_PANEL, READOUTS, Candidate, Monitor, Probe, Readout, rank, screen
from prescreen.captured import Capture
from prescreen.panel import CHECKPOINT_PANEL, LONE_PANEL
from prescreen.part import with_own
from prescreen.readouts import ANCHORS, PROJECTIONS, get_readout, labels, require_defined
from prescreen.readouts.grid import compose

LINKS = {"softmax": (5, 3), "sigmoid": (1, 4), "identity": (1, 4)}
NAMES = [
    *(name for name, one in READOUTS.items() if not one.of_network),
    *(f"{anchor}/{projection}/none" for anchor in ANCHORS for projection in PROJECTIONS),
    *("gap/entropy", "gap/cot", "ahead/margin", "none/energy/feature"),
]


def head(link, classes, seed):
    randoms = torch.Generator().manual_seed(seed)
    features, weight = (torch.randn(n, 5, generator=randoms) for n in (9, classes))
    return Capture(features, features @ weight.T, weight, None, link)


def works(readout, link):
    """Whether it has a value for heads of one and of several classes."""
    worked = set()
    for classes in LINKS[link]:
        try:
            readout(*(head(link, classes, seed) for seed, _ in enumerate(readout.needs)))
            worked.add(True)
        except ValueError:
            worked.add(False)
    (answer,) = worked
    return answer


@pytest.mark.parametrize("link", LINKS)
def test_a_readout_is_refused_where_it_would_raise_and_nowhere_else(link):
    refused = set()
    for name in NAMES:
        readout = get_readout(name)
        if works(readout, link):
            require_defined({name: readout}, with_own(None, link))
        else:
            refused.add(name)
            with pytest.raises(
                ValueError, match=rf"^`readouts` must be defined for {link} links, got {name}$"
            ):
                require_defined({name: readout}, with_own(None, link))
    assert ("energy" in refused) == (link == "identity")
    assert ("cot" in refused) == (link != "softmax")
    assert "pseudo/divergence/none" in refused  # of no link


KINDS = {"softmax": "images", "sigmoid": "multilabel", "identity": "regression"}


@pytest.mark.parametrize(("link", "kind"), KINDS.items())
def test_rank_and_screen_refuse_them_before_a_candidate_is_built(link, kind):
    def build(**sizes):
        raise AssertionError

    name = "pseudo/divergence/none" if link == "softmax" else "mano"
    message = rf"^`readouts` must be defined for {link} links, got {name}$"
    with pytest.raises(ValueError, match=message):
        rank({"net": build}, TASKS[kind](0), readouts=["rankme", name])
    with pytest.raises(ValueError, match=message):
        screen(Candidate("net", {}, build), TASKS[kind](0), readouts=["rankme", name])


@pytest.mark.parametrize("link", LINKS)
def test_what_reads_by_default_has_all_links_or_says_so(link):
    inputs = torch.randn(8, 3)
    for panel in (DEFAULT_PANEL, LONE_PANEL):
        Probe(inputs, panel, link=link)
    if link != "identity":
        Monitor(inputs, link=link)
    else:
        with pytest.raises(ValueError, match=f"links, got {CHECKPOINT_PANEL[0]}$"):
            Monitor(inputs, link=link)


def test_functions_of_the_user_are_not_called_and_labels_are_not_refused():
    def fail(capture):
        raise AssertionError

    for link, classes in itertools.product(LINKS, (1, 3)):
        truth = compose(labels(torch.zeros(9, classes).long()), "gradient")
        require_defined({"own": Readout(fail), "true": truth}, with_own(None, link))


def test_hard_agreement_of_several_labels_is_of_each():
    ours, theirs = (head("sigmoid", 4, seed) for seed in (0, 1))
    same = [
        (a > 0) == (b > 0)
        for a, b in zip(ours.logits.flatten(), theirs.logits.flatten(), strict=True)
    ]
    value = READOUTS["agreement"](ours, theirs)
    assert value == pytest.approx(sum(map(float, same)) / len(same))
