import json

import pytest
from toy import BAD, GOOD, TRAINING, make_task

from prescreen.cli.app import run
from prescreen.ranking import open_run, rank


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("explain") / "run"
    rank({**GOOD, **BAD}, make_task(), training=TRAINING, out=path)
    return str(path)


def test_a_candidate_is_found_by_name_beginning_and_rank(folder, capsys):
    ranking = open_run(folder).ranking
    best = ranking.best.name
    for word in (best, best[:2], "#1"):
        assert run(["explain", folder, word]) == 0
        assert capsys.readouterr().out == f"{ranking.explain(best)}\n"
    assert run(["explain", folder]) == 0
    assert capsys.readouterr().out == f"{ranking.explain(best)}\n"
    assert run(["explain", folder, "broken"]) == 0
    assert "failed: build: RuntimeError: no such layer" in capsys.readouterr().out


def test_json_is_strict(folder, capsys):
    for name in [*GOOD, *BAD]:
        assert run(["explain", folder, name, "--json"]) == 0
        data = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert data["name"] == name
        assert set(data["places"]) == (set(data["values"]) if name in GOOD else set())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "#4",
            "`candidate` must be a name, the beginning of one, or a rank from #1 to #3, got '#4'",
        ),
        ("smll", "a rank such as #1, perhaps small"),
        ("", "or a rank from #1 to #3, got ''"),
        ("zzzz", "or a rank from #1 to #3, got 'zzzz'"),
    ],
)
def test_an_unknown_candidate_is_refused_in_one_line(folder, capsys, word, message):
    assert run(["explain", folder, word]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_beginning_of_several_is_refused(tmp_path, capsys):
    rank({"ab": GOOD["tiny"], "ac": GOOD["small"]}, make_task(), training=TRAINING, out=tmp_path)
    assert run(["explain", str(tmp_path), "a"]) == 2
    error = capsys.readouterr().err
    assert "must be one alone of the 2 that begin so (" in error


def test_no_run_is_refused_in_one_line(tmp_path, capsys):
    assert run(["explain", str(tmp_path), "#1"]) == 2
    assert capsys.readouterr().err.startswith("prescreen: `folder` must be that of a run, got ")
