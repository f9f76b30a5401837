"""Runs that are continued: under which code, what is tried again, and what is said about it."""

import json
import re
from dataclasses import replace

import pytest
from torch import nn
from toy import GOOD, SPACE, TRAINING, make_task, mlp, without_seconds

from prescreen.ranking.run import rank
from prescreen.readouts import Readout


def ranked(candidates, out, **changes):
    return rank(candidates, make_task(), training=TRAINING, out=out, **changes)


def space_of(folder, text=SPACE):
    text = text.replace("9 * width", "width * (1 if in_channels == 1 else 9)")
    folder.mkdir(exist_ok=True)
    (folder / "space.py").write_text(text)
    return folder / "space.py"


def names(seen):
    return {progress.name for progress in seen}


@pytest.fixture
def steps():
    """Progress calls, to see what is measured."""
    return []


def test_the_code_of_another_space_is_refused_by_name(tmp_path):
    first = space_of(tmp_path / "A")
    other = space_of(tmp_path / "B", SPACE.replace("nn.ReLU()", "nn.Tanh()"))
    out = tmp_path / "run"
    ranked(first, out)
    before = (out / "journal.jsonl").read_bytes()
    pattern = (
        r"^`out` must be a folder of the same code, .*--fresh.* with space.py \w+ instead of \w+ "
    )
    with pytest.raises(ValueError, match=pattern) as error:
        ranked(other, out)
    assert "\n" not in str(error.value)
    assert (out / "journal.jsonl").read_bytes() == before
    first.write_text(other.read_text())
    with pytest.raises(ValueError, match=pattern):
        ranked(first, out)


def test_the_same_code_elsewhere_and_comments_continue(tmp_path, steps):
    out = tmp_path / "run"
    whole = ranked(space_of(tmp_path / "A"), out)
    again = ranked(space_of(tmp_path / "B", SPACE + "\n# the end\n"), out, progress=steps.append)
    assert steps == []
    assert repr(again.rows) == repr(whole.rows)


def test_other_functions_under_a_name_are_refused_and_more_candidates_are_not(tmp_path, steps):
    ranked({"one": lambda: mlp(2), "two": lambda: mlp(4)}, tmp_path)
    with pytest.raises(
        ValueError, match=r"^`out` must be a folder of the same code, .* for 'one'$"
    ):
        ranked({"one": lambda: mlp(3), "two": lambda: mlp(4)}, tmp_path)


def test_candidates_can_join(tmp_path, steps):
    ranked({"tiny": GOOD["tiny"]}, tmp_path)
    assert len(ranked(GOOD, tmp_path, progress=steps.append)) == 3
    assert names(steps) == set(GOOD) - {"tiny"}


def test_other_torch_is_refused(tmp_path, monkeypatch):
    ranked(GOOD, tmp_path)
    monkeypatch.setattr("torch.__version__", "2.4.0")
    with pytest.raises(
        ValueError, match=r"^`out` must be .* settings, .* torch .* instead of 2.4.0$"
    ):
        ranked(GOOD, tmp_path)


OWN = {
    "a measurement": lambda by: {"extra": {"size": lambda model: by}},
    "a readout": lambda by: {"readouts": {"mine": Readout(lambda head: head.logits.mean() * by)}},
    "a criterion": lambda by: {
        "task": replace(make_task(), criterion=nn.CrossEntropyLoss(label_smoothing=by))
    },
}


@pytest.mark.parametrize("kind", OWN)
def test_what_is_measured_by_other_code_of_ones_own_is_refused(tmp_path, kind):
    def measured(by):
        given = {"task": make_task(), "training": TRAINING, "out": tmp_path, **OWN[kind](by)}
        return rank({"tiny": GOOD["tiny"]}, given.pop("task"), **given)

    assert repr(measured(0.1)) == repr(measured(0.1))
    with pytest.raises(
        ValueError, match=r"^`out` must be a folder of the same settings, .* measures "
    ):
        measured(0.2)


def test_fresh_measures_anew_and_loses_nothing(tmp_path, steps, caplog):
    first = ranked(GOOD, tmp_path)
    journals = [(tmp_path / "journal.jsonl").read_bytes()]
    for _ in range(2):
        steps.clear()
        again = ranked(GOOD, tmp_path, fresh=True, progress=steps.append)
        assert names(steps) == set(GOOD)
        assert without_seconds(again) == without_seconds(first)
        assert sorted(file.read_bytes() for file in tmp_path.glob("journal-*.jsonl")) == sorted(
            journals
        )
        journals.append((tmp_path / "journal.jsonl").read_bytes())
    assert caplog.records == []
    (tmp_path / "journal.jsonl").unlink()  # as if killed between the two
    ranked(GOOD, tmp_path)


def test_fresh_leaves_a_foreign_file_alone(tmp_path):
    (tmp_path / "journal.jsonl").write_text("dear diary\n")
    with pytest.raises(
        ValueError, match=r"^`out` must hold a journal of prescreen, got another file"
    ):
        ranked(GOOD, tmp_path, fresh=True)
    assert [file.name for file in tmp_path.iterdir() if file.suffix] == ["journal.jsonl"]


@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'x'"), RuntimeError("no")])
def test_what_could_not_be_built_is_tried_again(tmp_path, steps, error):
    installed = []

    def late():
        if not installed:
            raise error
        return mlp(4)

    candidates = {**GOOD, "late": late}
    failed = ranked(candidates, tmp_path)
    assert failed.rows[-1].status == "build"
    installed.append(True)
    ranking = ranked(candidates, tmp_path, progress=steps.append)
    assert names(steps) == {"late"}
    assert all(row.status == "ok" for row in ranking)


def test_a_continued_run_says_what_was_taken_over_and_from_when(tmp_path, caplog):
    def broken():
        raise RuntimeError

    ranked(GOOD, tmp_path)
    assert caplog.records == []
    ranked({**GOOD, "broken": broken}, tmp_path)
    ranked({**GOOD, "broken": broken}, tmp_path)
    first, second = (record.getMessage() for record in caplog.records)
    when = r"\(20\d\d-\d\d-\d\d \d\d:\d\d( to 20\S+ \S+)?\)"
    assert re.fullmatch(
        rf"Continues {tmp_path}: 3 of 4 candidates were measured before {when}; --fresh .*", first
    )
    assert re.search(r"3 of 4 .*\), 1 more failed and is tried again; --fresh", second)


def test_a_line_removed_by_hand_has_its_candidate_measured_again(tmp_path, steps):
    whole = ranked(GOOD, tmp_path)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for place in range(1, len(lines)):
        path.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
        steps.clear()
        again = ranked(GOOD, tmp_path, progress=steps.append)
        removed = json.loads(lines[place]).get("candidate")  # None: what the run was asked for
        assert names(steps) == ({json.loads(removed)["name"]} if removed else set())
        assert without_seconds(again) == without_seconds(whole)
