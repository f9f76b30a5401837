"""Every committed file goes through the reader; what is written is read again."""

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common import results

ROOT = Path(__file__).parent.parent
COMMITTED = sorted(ROOT.glob("**/results/**/*.csv"))


@pytest.mark.parametrize(
    "path", COMMITTED, ids=lambda path: f"{path.parts[-3]}/{path.parts[-2]}/{path.stem}"
)
def test_committed_results_are_read_and_written_the_same(path, tmp_path):
    rows = results.read(path)
    assert all(isinstance(row["run"], str) for row in rows)
    assert all(len(row) > 2 for row in rows)
    steps = [(row["run"], row.get("step"), row.get("probe")) for row in rows]
    assert len(set(steps)) == len(steps)
    results.write(tmp_path / "again.csv", rows, digits=17)
    again = results.read(tmp_path / "again.csv")
    for row, other in zip(rows, again, strict=True):
        assert sorted(map(str, row.items())) == sorted(map(str, other.items()))


def test_no_committed_file_is_missed():
    assert len(COMMITTED) == len(list(ROOT.rglob("*.csv"))) >= 9


def test_what_is_not_measured_is_left_out_and_what_is_not_defined_is_nan(tmp_path):
    path = tmp_path / "folder" / "results.csv"
    rows = [
        {"run": "1", "failure": "", "step": 3, "a": 1 / 3, "b": math.nan},
        {"run": "2", "failure": "diverged"},
        {"run": "3", "failure": "", "step": 3, "c": -math.inf},
    ]
    results.write(path, rows, digits=3)
    first, second, third = results.read(path)
    assert math.isnan(first.pop("b"))
    assert first == {"run": "1", "step": 3.0, "a": 0.333}
    assert second == {"run": "2", "failure": "diverged"}
    assert third == {"run": "3", "step": 3.0, "c": -math.inf}
    np.testing.assert_array_equal(results.column([first, second], "a"), [0.333, math.nan])


def test_failed_runs_are_told_and_left_out(capsys):
    rows = [{"run": "good"}, {"run": "bad", "failure": "diverged"}]
    assert results.without_failures(rows, "here: ") == [{"run": "good"}]
    assert capsys.readouterr().out == "here: left out, it failed as 'diverged': bad\n"


def test_no_results_are_one_clear_line(tmp_path):
    with pytest.raises(SystemExit, match=r"^no results in .*none.csv; train them first$"):
        results.read(tmp_path / "none.csv")
