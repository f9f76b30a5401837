"""Each caution is said where it is due, and by no sound result."""

import math
from dataclasses import replace

import pytest
from toy_rankings import make_ranking, make_study

from prescreen.reading import Reading, Trajectory
from prescreen.report import cautions, collect
from prescreen.report.cautions import CHECKS
from prescreen.report.data import Entry, Findings

PANEL = ("ahead/expected_agreement", "isotropy", "flops")
COUNT = 12


def entry(place, **more):
    """A sound candidate: all measures, the results and early readings say the same, sizes another."""
    worth = 1 - place / COUNT
    trajectory = Trajectory()
    for step in (5, 10, 20):
        values = dict.fromkeys(PANEL, worth * step / 20 + 0.3)
        trajectory.append(Reading(step, values, training_loss=2 - step / 20))
    return replace(
        Entry(
            name=f"c{place}",
            rank=place + 1,
            score=worth,
            low=worth - 0.02,
            high=worth + 0.02,
            values=trajectory.last.values,
            trajectory=trajectory,
            costs={"parameters": float((place * 7) % COUNT)},
            config={"width": float((place * 5) % COUNT), "kind": "x"},
        ),
        **more,
    )


def findings(change=lambda place: {}, count=COUNT, **more):
    entries = tuple(entry(place, **change(place)) for place in range(count))
    return Findings("a run", entries, PANEL, **{"samples": 256, **more})


def read(place, value, steps=(5, 10, 20), loss=lambda step: 2 - step / 20):
    trajectory = Trajectory()
    for step in steps:
        values = {name: value(name, step) for name in PANEL}
        trajectory.append(Reading(step, values, training_loss=loss(step)))
    return {"trajectory": trajectory, "values": trajectory.last.values}


def worth(place):
    return 1 - place / COUNT


def contradicted(place):
    sign = {"ahead/expected_agreement": -1}
    return read(place, lambda name, step: sign.get(name, 1) * worth(place))


def turning(place):
    return read(place, lambda name, step: worth(place) * (1 if step == 20 else -1))


CASES = {
    "results": findings(lambda p: {"final": p / COUNT}, final="accuracy"),
    "signal": findings(contradicted),
    "training": findings(lambda p: read(p, lambda n, s: worth(p), loss=lambda step: 2.3)),
    "ties": findings(lambda p: {"tied": p == 1}),
    "stability": findings(turning),
    "disagreement": findings(contradicted),
    "edge of the space": findings(lambda p: {"config": {"lr": 10.0 ** -min(p // 3, 3)}}),
    "probe": findings(samples=32),
    "foreign probe": findings(
        lambda p: read(p, lambda n, s: 0.1 * worth(p), loss=lambda step: 0.5 / step)
    ),
    "failures": findings(lambda p: {"rank": None, "status": "build"} if p > 6 else {}),
    "size": findings(lambda p: {"costs": {"parameters": 100.0 - p}}),
    "left out": findings(left_out={"isotropy": "not defined for c3"}),
    "few candidates": findings(count=3),
    "not done": findings(lambda p: {"rank": None, "status": "running"} if p > 9 else {}),
}


def about(found):
    return {one.about for one in cautions(found)}


def test_a_sound_result_needs_none():
    assert cautions(findings()) == ()
    assert cautions(findings(lambda p: {"final": worth(p)}, final="accuracy")) == ()


def test_every_check_has_a_case():
    assert set(CASES) == set(CHECKS)


@pytest.mark.parametrize("name", CASES)
def test_it_is_said_where_it_is_due(name):
    assert name in about(CASES[name])
    (text,) = [one.text for one in cautions(CASES[name]) if one.about == name]
    assert "nan" not in text
    assert text.endswith((".", "c3"))


ALSO = {"signal": {"disagreement"}, "disagreement": {"signal"}, "stability": set()}


@pytest.mark.parametrize("name", CASES)
def test_and_little_else_with_it(name):
    assert about(CASES[name]) - {name} <= ALSO.get(name, set())


def test_the_order_of_cautions_does_not_depend_on_the_order_of_measures():
    found = CASES["signal"]
    turned = replace(found, measures=found.measures[::-1])
    assert about(turned) == about(found)


def test_wide_intervals_ask_for_a_larger_probe():
    assert "probe" in about(findings(lambda p: {"low": 0.0, "high": 1.0}))
    assert "probe" not in about(findings(lambda p: {"low": math.nan, "high": math.nan}))


def test_the_edge_is_that_of_the_space_if_it_is_known():
    config = {"config": {"lr": 0.1}}
    values = findings(lambda p: config if p < 3 else {"config": {"lr": 0.01 * (p % 5)}})
    assert "edge of the space" in about(values)
    assert "edge of the space" not in about(replace(values, ranges={"lr": (0.0, 1.0)}))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_candidate_is_no_reason_to_fail(count):
    cautions(collect(make_ranking(count=count, failed=0)))
    cautions(collect(make_ranking(count=count, failed=2)))
    cautions(collect(make_study(completed=count, pruned=1)))
