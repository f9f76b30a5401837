import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from toy import BAD, GOOD, TRAINING, make_task

from prescreen.lines import line_of
from prescreen.ranking.journal import Journal
from prescreen.ranking.run import rank
from prescreen.reading import Reading

SETTINGS = {"steps": 10, "readouts": ["a"]}


def write_example(folder):
    """Two candidates: one finished, one failed; the second was started twice."""
    with Journal(folder, SETTINGS) as journal:
        journal.started("x")
        journal.reading("x", Reading(5, {"a": 0.5}, 1.0, 2.0, 7))
        journal.started("y")
        journal.reading("y", Reading(5, {"a": math.nan}))
        journal.reading("x", Reading(10, {"a": 0.25}))
        journal.finished("x")
        journal.started("y")
        journal.reading("y", Reading(5, {"a": -math.inf}))
        journal.failed("y", "diverged", "loss nan at step 7")
    return folder / "journal.jsonl"


def summary(journal):
    return {
        key: (record.status, record.reason, [r.to_json() for r in record.trajectory])
        for key, record in journal.records.items()
    }


def test_what_was_written_comes_back(tmp_path):
    write_example(tmp_path)
    with Journal(tmp_path, SETTINGS) as journal:
        x, y = journal.records["x"], journal.records["y"]
        assert x.done
        assert [r.step for r in x.trajectory] == [5, 10]
        assert x.trajectory.readings[0] == Reading(5, {"a": 0.5}, 1.0, 2.0, 7)
        assert (y.status, y.reason) == ("diverged", "loss nan at step 7")
        assert y.trajectory.series("a") == ([5], [-math.inf])


def test_what_candidates_are_compared_by_comes_back(tmp_path):
    replicates = {"a": (0.5, math.inf, -0.25, 0.0, 1e-300, 1.0, 2.0, 3.0)}
    reading = Reading(10, {"a": 0.5}, 1.0, replicates=replicates, predictions="2 2 ADwAAAA8ADw=")
    with Journal(tmp_path, SETTINGS) as journal:
        journal.started("x")
        journal.reading("x", reading)
    with Journal(tmp_path, SETTINGS) as journal:
        found = journal.records["x"].trajectory.last
    assert found.to_json() == reading.to_json()
    assert found.replicates == replicates


def test_a_cut_at_any_byte_is_survived(tmp_path):
    whole = write_example(tmp_path / "whole").read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        path = folder / "journal.jsonl"
        path.write_bytes(whole[:cut])
        with Journal(folder, SETTINGS) as journal:
            kept = summary(journal)
            journal.started("z")
        intact = max((end for end in ends if end <= cut), default=0)
        # Whole lines are neither lost nor altered, and appended lines can be read again.
        lines = path.read_bytes().splitlines(keepends=True)
        assert b"".join(lines[:-1]) == (whole[:intact] or whole[: ends[0]])
        with Journal(folder, SETTINGS) as journal:
            assert journal.records.pop("z").status == "running"
            assert summary(journal) == kept


def test_memory_journal_records_without_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Journal(None, SETTINGS) as journal:
        journal.started("x")
        journal.finished("x")
        assert journal.records["x"].done
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\x01",
        b"{}",
        b"[]",
        b"null",
        b'{"event": "finished", "candidate": "x"}',
        b'{"event": "other", "candidate": "x"}',
        b'{"event": "reading", "candidate": "x"}',
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_changed(tmp_path, line):
    path = write_example(tmp_path)
    lines = path.read_bytes().splitlines()
    lines[2] = line
    path.write_bytes(b"\n".join(lines) + b"\n")
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"^`out` must hold undamaged events, got b.* as line 3 of .*journal.jsonl"
    ) as error:
        Journal(tmp_path, SETTINGS)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    # Without the line, which is a reading of x, the rest is kept and x is measured again.
    del lines[2]
    path.write_bytes(b"\n".join(lines) + b"\n")
    with Journal(tmp_path, SETTINGS) as journal:
        assert not journal.records["x"].done
        assert journal.records["y"].status == "diverged"


def test_other_settings_are_refused_by_name(tmp_path):
    write_example(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"^`out` must be a folder of the same settings, .* steps 10 instead of 20$",
    ):
        Journal(tmp_path, {**SETTINGS, "steps": 20})


def test_other_schema_is_refused(tmp_path):
    path = write_example(tmp_path)
    path.write_bytes(line_of({"prescreen_journal": 99, "settings": SETTINGS}))
    with pytest.raises(
        ValueError, match=r"^`out` must hold a journal of schema 1 to 5, got 99 in "
    ):
        Journal(tmp_path, SETTINGS)


@pytest.mark.parametrize("content", [b"name,score\na,1\n", b"no newline", b'{"other": 1}\n'])
def test_a_foreign_journal_file_is_left_alone(tmp_path, content):
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^`out` must hold a journal of prescreen, got another file"
    ):
        Journal(tmp_path, SETTINGS)
    assert path.read_bytes() == content


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(
        ValueError, match=r"^`out` must be an empty folder or .*, got .*, which holds other files$"
    ):
        Journal(tmp_path, SETTINGS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"^`out` must be a folder that can be written, got "):
            Journal(folder, SETTINGS)


def test_what_is_no_file_in_place_of_the_journal_is_refused(tmp_path):
    for name, make in {"folder": Path.mkdir, "pipe": os.mkfifo}.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name / "journal.jsonl")
        for fresh in (False, True):
            with pytest.raises(
                ValueError, match=r"^`out` must hold a journal .* else than a file in "
            ):
                Journal(tmp_path / name, SETTINGS, fresh=fresh)
    (tmp_path / "locked" / ".lock").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"^`out` must be a folder that can be written, got "):
        Journal(tmp_path / "locked", SETTINGS)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match=r"^`out` must be a folder that can be written, got "):
        Journal(tmp_path, SETTINGS)


def test_a_folder_in_use_is_refused_until_it_is_released(tmp_path):
    with (
        Journal(tmp_path, SETTINGS),
        pytest.raises(
            ValueError, match=r"^`out` must be a folder that no other run is using, got "
        ),
    ):
        Journal(tmp_path, SETTINGS)
    Journal(tmp_path, SETTINGS).close()


def test_every_line_is_strict_json(tmp_path):
    def refuse(constant):
        raise AssertionError(constant)

    for line in write_example(tmp_path).read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_a_run_folder_of_the_earlier_layout_opens(tmp_path, caplog):
    """Written by an earlier layout of the package: nothing is measured but what was not built."""
    shutil.copytree(Path(__file__).parent / "runs" / "before_0.1", tmp_path / "run")
    before = (tmp_path / "run" / "journal.jsonl").read_bytes()
    seen = []
    wanted = {
        "candidates": {**GOOD, **BAD},
        "task": make_task(),
        "readouts": ["sample_gradient", "isotropy", "synflow"],
        "out": tmp_path / "run",
        "progress": seen.append,
    }
    with pytest.raises(ValueError, match=r"^`out` .* with execution plain instead of auto$"):
        rank(**wanted, training=TRAINING)
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == before
    ranking = rank(**wanted, training=replace(TRAINING, execution="plain"))
    assert {progress.name for progress in seen} == {"broken"}
    unknown, continued = (record.getMessage() for record in caplog.records)
    assert unknown.endswith(
        "does not say of which torch, measures and candidates' code it is: taken as the same"
    )
    assert "6 of 7 candidates were measured before" in continued
    failures = ["build", "memory", "diverged", "collapsed"]
    assert [row.status for row in ranking] == ["ok"] * 3 + failures
    assert all(reading.architecture == "" for row in ranking for reading in row.trajectory)
    assert (tmp_path / "run" / "journal.jsonl").read_bytes().startswith(before)
