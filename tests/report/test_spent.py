"""What pruning saved, and what it would have cost in results."""

import pytest
from toy_rankings import STEPS, make_ranking, make_study

from prescreen.report import collect
from prescreen.report.results import with_results
from prescreen.report.spent import hindsight, spent


def test_saved_steps_are_those_to_the_median_end():
    found = spent(collect(make_study(completed=6, pruned=3)))
    assert found.pruned == 3
    assert found.steps == 6 * 8 + 3 * 4
    assert found.saved == 3 * (8 - 4)
    assert found.share == pytest.approx(12 / 72)


def test_nothing_pruned_saves_nothing():
    found = spent(collect(make_ranking(count=4, failed=0)))
    assert (found.pruned, found.saved, found.share) == (0, 0, 0)
    assert found.seconds == pytest.approx(4)


@pytest.mark.parametrize("higher", [True, False])
def test_what_pruning_loses_is_the_distance_to_the_best_of_all(higher):
    ranking = make_ranking(count=8, failed=0, noise=0)
    # The best result is that of the candidate that readings place last.
    results = {row.name: float(place) for place, row in enumerate(ranking)}
    if not higher:
        results = {name: -value for name, value in results.items()}
    found = hindsight(with_results(collect(ranking), results, higher))
    assert {one.step for one in found} == {*STEPS}
    assert {one.kept for one in found} == {4, 2, 1}
    for one in found:
        assert one.best == (1 if higher else -1) * (one.kept - 1)
        assert one.lost == 7 - (one.kept - 1)
    agreeing = {row.name: -float(place) for place, row in enumerate(ranking)}
    assert all(not one.lost for one in hindsight(with_results(collect(ranking), agreeing, True)))


def test_without_results_nothing_is_said():
    assert hindsight(collect(make_ranking())) == []
