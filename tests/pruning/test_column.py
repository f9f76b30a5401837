"""Incremental scores are those of ranking all readings together."""

import numpy as np
import pytest

from prescreen.pruning.column import Column
from prescreen.ranks import aggregate


def random_readings(seed, count, readouts=3):
    """Rows with ties and infinities and, in one of the readouts, NaN."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 4, size=(count, readouts)).astype(float)
    rows[rng.random(rows.shape) < 0.1] = -np.inf
    rows[rng.random(rows.shape) < 0.1] = np.inf
    rows[rng.random(count) < (0.0, 0.02, 0.3)[seed % 3], seed % readouts] = np.nan
    return rows


def together(rows):
    """All readings ranked together; a readout that one of them does not have tells none apart."""
    rows = np.array(rows)
    return aggregate(np.where(np.isnan(rows).any(axis=0), 0.0, rows))


@pytest.mark.parametrize("every", [1, 3, 20])
@pytest.mark.parametrize("seed", range(10))
def test_scores_are_those_of_ranking_all_together(seed, every):
    *rows, newcomer = random_readings(seed, 41)
    column = Column(3)
    for member, row in enumerate(rows):
        if member % every == 0:  # one by one, a few at once, and many at once
            expected = together([*rows[:member], newcomer])
            assert column.scores(newcomer) == pytest.approx(expected[:-1])
            assert column.score(newcomer) == pytest.approx(expected[-1])
            if member:
                assert column.scores() == pytest.approx(together(rows[:member]))
        column.add(100 + member, row)
    some = {101, 105, 120}
    chosen = together([rows[1], rows[5], rows[20]])
    assert column.scores_of(some) == pytest.approx(chosen)
    assert list(column.members) == [100 + member for member in range(40)]
    assert column.index(107) == 7


def test_equal_readings_have_equal_scores_to_the_last_bit():
    rows = np.repeat(random_readings(0, 7), 2, axis=0)
    column = Column(3)
    for member, row in enumerate(rows):
        column.add(member, row)
        column.scores()
    scores = column.scores()
    assert (scores[::2] == scores[1::2]).all()
    assert column.scores(rows[0])[0] == column.score(rows[0])


def test_a_score_among_none_is_one():
    column = Column(2)
    assert column.score((0.0, 0.0)) == 1.0
    assert column.scores().tolist() == column.scores((0.0, 0.0)).tolist() == []
    column.add(5, (1.0, 2.0))
    assert column.scores().tolist() == [1.0]
