"""The chosen checkpoint against loops by hand, and the doubts about the choice."""

import math
import random

import pytest

from prescreen import Reading
from prescreen.checkpoints.selection import Selection
from prescreen.pruning import Panel


def readings(*values, name="a", every=10):
    return [Reading(every * (i + 1), {name: value}) for i, value in enumerate(values)]


def selection(higher=True, **arguments):
    return Selection(Panel(("a",), (higher,)), **{"smoothing": 1, **arguments})


def by_hand(values, start, smoothing):
    """Index of the highest running mean within the window; among equals, the last."""
    inside = [i for i in range(len(values)) if i >= start]
    best, chosen = -math.inf, None
    for i in inside:
        near = [values[j] for j in inside if abs(i - j) <= smoothing // 2]
        if sum(near) / len(near) >= best:
            best, chosen = sum(near) / len(near), i
    return chosen


@pytest.mark.parametrize("smoothing", [1, 3, 5])
@pytest.mark.parametrize("start", [0, 4])
def test_the_best_running_mean_of_the_window_is_chosen(smoothing, start):
    generator = random.Random(smoothing + start)
    for length in range(start + 1, 14):
        values = [float(generator.randint(0, 6)) for _ in range(length)]
        chosen = selection(start=10 * (start + 1), smoothing=smoothing).choose(readings(*values))
        assert chosen.step == 10 * (by_hand(values, start, smoothing) + 1)
        lower = selection(False, start=10 * (start + 1), smoothing=smoothing)
        other = lower.choose(readings(*(-value for value in values)))
        assert (other.step, other.score) == (chosen.step, -chosen.score)


def test_several_readouts_are_compared_by_rank_whatever_their_scale():
    rows = [(1, 5), (2, 4), (3, 9), (4, 1)]  # b is better when lower
    panel = Panel(("a", "b"), (True, False))
    curves = [Reading(i, {"a": a, "b": b}) for i, (a, b) in enumerate(rows)]
    choice = Selection(panel, smoothing=1).choose(curves)
    # Ranks from 0: a 0 1 2 3, b 1 2 0 3.
    assert (choice.step, choice.score) == (3, 1.0)
    scaled = [Reading(r.step, {"a": r.values["a"] ** 3, "b": r.values["b"] / 7}) for r in curves]
    assert Selection(panel, smoothing=1).ranked(scaled) == [3, 1, 2, 0]


def test_nan_is_skipped_and_counted():
    choice = selection(smoothing=3).choose(readings(1.0, math.nan, 3.0, 2.0, math.nan))
    assert (choice.step, choice.candidates, choice.skipped) == (40, 3, 2)
    assert selection().choose(readings(math.nan)) is None
    assert selection().choose([]) is None


def test_before_the_window_all_readings_count():
    assert selection(start=1000).choose(readings(1.0, 3.0, 2.0)).step == 20


@pytest.mark.parametrize(
    ("values", "doubts"),
    [
        ((1.0, 3.0, 2.0, 1.5), ()),
        ((1.0,), ("it is the only checkpoint",)),
        ((2.0, 1.0, 1.5, 1.2), ("it is the first of the window: a better one may lie earlier",)),
        ((2.0, 1.0, 1.5, 2.5), ("it is the last of the window: a better one may lie later",)),
        (
            (1.0, 2.0, 2.0, 3.0),
            (
                "it is the last of the window: a better one may lie later",
                "a only gets better: it may follow training, not generalization",
            ),
        ),
        (
            (3.0, 2.0, 1.0, 0.0),
            (
                "it is the first of the window: a better one may lie earlier",
                "a only gets worse: it may follow training, not generalization",
            ),
        ),
        (
            (1.0, 1.0, 1.0, 1.0),
            ("it is the last of the window: a better one may lie later", "a does not change"),
        ),
    ],
)
def test_the_shape_of_the_curve_is_doubted(values, doubts):
    assert selection().choose(readings(*values)).doubts == doubts
    mirrored = selection(False).choose(readings(*(-value for value in values)))
    assert mirrored.doubts == doubts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": -1}, "`start` must be at least 0, got -1"),
        ({"smoothing": 2}, "`smoothing` must be an odd number, got 2"),
        ({"smoothing": 0}, "`smoothing` must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        selection(**arguments)


def test_a_reading_without_the_readout_is_refused():
    with pytest.raises(ValueError, match=r"^`reading` must have a, got b at step 10$"):
        selection().choose(readings(1.0, name="b"))
