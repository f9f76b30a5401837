"""Explanations: what they say is what the comparison answers when it is asked in another way."""

import math
import pickle
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import toy
from toy import BAD, GOOD, TRAINING, make_task

from prescreen.ranking.explanation import ordinal
from prescreen.ranking.opened import open_run
from prescreen.ranking.order import order
from prescreen.ranking.repeats import Repeat
from prescreen.ranking.replay import Record
from prescreen.ranking.report import Ranking
from prescreen.ranking.run import rank
from prescreen.reading import Reading, Trajectory
from prescreen.readouts import resolve_readouts
from prescreen.spaces.candidate import Candidate

PANEL = ["entropy", "margin", "isotropy", "synflow"]  # lower is better, higher, higher, higher
KINDS = ["Conv2d Linear", "Conv2d LayerNorm Linear", "Attention Linear"]


def drawn(seed, count=7, seeds=1, panel=PANEL):
    """Values (seeds, candidates, readouts) with some ties, and architectures, some of them shared."""
    chance = random.Random(seed)
    rows = [
        [[round(chance.random(), 1) for _ in panel] for _ in range(count)] for _ in range(seeds)
    ]
    kinds = [f"{chance.randrange(count)} {chance.choice(KINDS)}" for _ in range(count)]
    return rows, kinds


def ranked(values, kinds, panel=PANEL):
    candidates = [Candidate(f"c{at}", {}, lambda: None) for at in range(len(kinds))]
    records = {
        Repeat(one, number).key: Record(
            Trajectory(
                [Reading(1, dict(zip(panel, run[at], strict=True)), architecture=kinds[at])]
            ),
            "finished",
        )
        for number, run in enumerate(values)
        for at, one in enumerate(candidates)
    }
    return order(candidates, records, resolve_readouts(panel), seeds=len(values))


def rank_of(ranking, name):
    return next(row.rank for row in ranking if row.name == name)


def ranks(values, kinds, panel=PANEL):
    """Ranks by name, from rankings of one seed, which have no intervals and take no time."""
    alone = [ranked([run], kinds, panel) for run in values]
    names = [f"c{at}" for at in range(len(kinds))]
    scores = np.mean([[{r.name: r.score for r in one}[n] for n in names] for one in alone], axis=0)
    best_first = np.argsort(-scores, kind="stable")
    return {names[at]: place for place, at in enumerate(best_first, start=1)}


CASES = [*((seed, 1) for seed in range(10)), (10, 2), (11, 2)]


@pytest.mark.parametrize(("seed", "seeds"), CASES)
def test_without_a_measure_its_rank_is_that_of_a_ranking_without_it(seed, seeds):
    values, kinds = drawn(seed, seeds=seeds)
    ranking = ranked(values, kinds)
    rest = {
        left: ranks(
            [[[v for n, v in enumerate(row) if n != at] for row in run] for run in values],
            kinds,
            [name for name in PANEL if name != left],
        )
        for at, left in enumerate(PANEL)
    }
    for row in ranking:
        said = [one for one in ranking.explain(row.name).changes if one.startswith("without")]
        found = {left: other[row.name] for left, other in rest.items()}
        assert said == [
            f"without `{left}` it would be {ordinal(own)}"
            for left, own in found.items()
            if own != row.rank
        ]


PASSING = re.compile(r"(above|below) `(\w+)` if `(\w+)` were (above|below) (\S+) \(it is (\S+)\)")


@pytest.mark.parametrize(("seed", "seeds"), CASES)
def test_with_another_value_it_passes_its_neighbour(seed, seeds):
    """A ranking in which the candidate has such a value has it there, and a lesser one does not."""
    values, kinds = drawn(seed, seeds=seeds)
    ranking = ranked(values, kinds)
    said = 0
    for row in ranking:
        at = int(row.name[1:])
        found = filter(None, map(PASSING.fullmatch, ranking.explain(row.name).changes))
        for where, other, name, side, bound, now in (match.groups() for match in found):
            said += 1
            column = PANEL.index(name)
            other_rank = rank_of(ranking, other)
            assert other_rank == row.rank + (1 if where == "below" else -1)
            sign = 1 if side == "above" else -1
            assert sign * float(bound) >= sign * float(now)

            def with_value(value, at=at, column=column):
                same = [at] if column < 2 else [n for n, k in enumerate(kinds) if k == kinds[at]]
                moved = [[[*one] for one in run] for run in values]
                for run in moved:
                    for index in same:
                        run[index][column] = value
                return ranks(moved, kinds)

            beyond = with_value(float(bound) + sign * 1e-3)
            passed = beyond[row.name] < beyond[other]
            assert passed == (where == "above")
    assert said > 3


@pytest.mark.parametrize(("seed", "seeds"), CASES[::3])
def test_weights_and_pairs_won_make_the_score(seed, seeds):
    values, kinds = drawn(seed, seeds=seeds)
    alike = [f"{n} Linear" for n in range(len(kinds))]  # the same weights in every pair
    ranking = ranked(values, alike)
    for row in ranking:
        found = ranking.explain(row.name)
        assert sum(found.weights.values()) == pytest.approx(1)
        score = sum(found.weights[name] * found.won[name] for name in PANEL)
        assert seeds > 1 or row.score == pytest.approx(score)
        for name, higher in zip(PANEL, [False, True, True, True], strict=True):
            own = [(one.values[name] if higher else -one.values[name]) for one in ranking]
            mine = row.values[name] if higher else -row.values[name]
            assert found.places[name] == 1 + sum(value > mine + 1e-9 for value in own)


def test_the_neighbours_and_what_is_not_told_apart():
    ranking = rank(GOOD, make_task(), training=TRAINING, seeds=2, readouts=["margin", "rankme"])
    rows = ranking.rows
    for at, row in enumerate(rows):
        found = ranking.explain(row.name)
        assert (found.rank, found.of, found.score) == (row.rank, 3, row.score)
        assert (found.above.name if found.above else None) == (rows[at - 1].name if at else None)
        assert (found.below.name if found.below else None) == (
            rows[at + 1].name if at < 2 else None
        )
        if found.above:
            assert found.above.distance == rows[at - 1].score - row.score
            assert 0 <= found.above.swapped <= 1
            said = any(f"put it above `{found.above.name}`" in one for one in found.changes)
            assert said == (found.above.swapped > 0.025)
    second = ranking.explain(rows[1].name).above.swapped
    assert rows[1].tied == (second > 0.025) or 0.02 < second < 0.03


def test_failures_are_explained_by_their_reason(tmp_path):
    ranking = rank({**GOOD, **BAD}, make_task(), training=TRAINING, out=tmp_path)
    for row in ranking:
        text = str(ranking.explain(row.name))
        if row.rank is None:
            assert text.startswith(
                f"{row.name} has no rank because it failed: {row.status}: {row.reason}"
            )
            assert ("tries it again" in text) == (row.status == "build")
        else:
            assert text.startswith(f"{row.name} is {ordinal(row.rank)} of 3: score {row.score:.3f}")
        assert str(open_run(tmp_path).ranking.explain(row.name)) == text


def test_what_is_over_a_limit_has_not_failed():
    ranking = rank(GOOD, make_task(), training=TRAINING, max_params=200)
    text = str(ranking.explain("large"))
    assert text.startswith("large has no rank because it was not trained: limit: ")
    assert text.endswith("\n- a run with a limit above that measures it")


def test_a_measure_left_out_has_no_weight_and_a_place():
    values, kinds = drawn(0)
    values[0][2][3] = math.nan
    ranking = ranked(values, kinds)
    found = ranking.explain("c0")
    assert found.left_out == ("synflow",)
    assert set(found.weights) == set(found.won) == set(PANEL[:3])
    assert found.places["synflow"] is not None
    assert ranking.explain("c2").places["synflow"] is None
    assert "left out" in str(found)


def test_an_unknown_name_is_refused_with_near_ones():
    ranking = rank(GOOD, make_task(), training=TRAINING)
    with pytest.raises(ValueError, match=r"^`name` must .*, got 'smal'; did you mean 'small'\?$"):
        ranking.explain("smal")
    with pytest.raises(ValueError, match=r"^`name` must be that of a candidate, got 'zzz'$"):
        ranking.explain("zzz")
    by_hand = Ranking(ranking.rows, ranking.readouts)
    with pytest.raises(ValueError, match=r"^the ranking must be one of `rank` .* made by hand$"):
        by_hand.explain("small")


def test_one_candidate_alone_and_pickled_rankings():
    ranking = rank({"tiny": toy.tiny}, make_task(), training=TRAINING)
    assert str(ranking.explain("tiny")).startswith("tiny is 1st of 1: score 1.000, 0.0 of 0 pairs")
    assert ranking.explain("tiny").changes == ()
    again = pickle.loads(pickle.dumps(ranking))
    assert str(again.explain("tiny")) == str(ranking.explain("tiny"))


def test_names_cannot_write_to_the_terminal():
    bad = "\x1b[31mred\u202e\nline"
    ranking = rank({bad: toy.tiny, "b": toy.small}, make_task(), training=TRAINING)
    for row in ranking:
        text = str(ranking.explain(row.name))
        assert all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize(
    ("number", "word"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (13, "13th"), (22, "22nd")],
)
def test_ordinals(number, word):
    assert ordinal(number) == word
    assert ordinal(number + 1000) == f"1{number:03}" + word[-2:]


def test_the_explanation_changes_nothing():
    values, kinds = drawn(3)
    ranking = ranked(values, kinds)
    before = ranking.compared.values.copy()
    for row in ranking:
        ranking.explain(row.name)
    assert np.array_equal(before, ranking.compared.values)
    assert replace(ranking).compared is ranking.compared
