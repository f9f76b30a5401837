"""The spaces in which rankings are judged: their lists, and which candidates are for tuning."""

from pathlib import Path

import pytest

from benchmarks.architectures import nas_bench_201, own_truth, spaces
from benchmarks.architectures.recordings import known_truths

TRUTHS = Path(__file__).parents[3] / "shared" / "data"
PUBLISHED = {"nas_bench_201": 2000, "nas_bench_101": 250, "darts": 362}


@pytest.mark.parametrize("name", spaces.SPACES)
def test_candidates_are_distinct_the_same_every_time_and_enough(name):
    space = spaces.SPACES[name]
    if name in PUBLISHED and not (TRUTHS / name).is_dir():
        pytest.skip(f"needs the table of {name} in shared/data")
    candidates = space.candidates(TRUTHS)
    names = [candidate.name for candidate in candidates]
    assert len({*names}) == len(names) == PUBLISHED.get(name, 24)
    assert names == [candidate.name for candidate in space.candidates(TRUTHS)]
    tuning, reported = (range(len(names))[space.chosen(report)] for report in (False, True))
    assert len(tuning) == space.tuning
    assert not {*tuning} & {*reported}
    if not space.truth_steps:
        assert {*names} <= {*known_truths(name, Path("nowhere"), TRUTHS)}


def test_own_truths_are_longer_than_ten_brief_runs():
    for space in spaces.SPACES.values():
        assert not space.truth_steps or space.truth_steps > 10 * space.training.steps
        assert not space.truth_steps or space.tuning == len(space.candidates(None)) / 2


def test_no_network_of_the_new_list_is_in_the_old_one():
    assert not {*spaces.TIMM_NEW} & {*own_truth.TIMM}


def test_the_cells_are_those_of_the_earlier_benchmark():
    table = TRUTHS / "nas_bench_201" / "cifar10.csv"
    if not table.exists():
        pytest.skip("needs the table of nas_bench_201 in shared/data")
    space = spaces.SPACES["nas_bench_201"]
    candidates = space.candidates(TRUTHS)
    truths = known_truths("nas_bench_201", Path("nowhere"), TRUTHS)
    for report, cells in ((False, "tune"), (True, "report")):
        chosen = candidates[space.chosen(report)]
        earlier = nas_bench_201.choose_cells(table, cells)
        assert [one.config["arch"] for one in chosen] == [cell["arch"] for cell in earlier]
        accuracies = [float(cell["test_accuracy"]) for cell in earlier]
        assert [truths[one.name] for one in chosen] == accuracies


def test_published_spaces_need_their_tables():
    with pytest.raises(SystemExit, match="`darts` needs --truths"):
        spaces.SPACES["darts"].candidates(None)
