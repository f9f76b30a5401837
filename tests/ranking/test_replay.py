"""What a journal believes: nothing but what was written, whole and in order."""

import json
import os
import random
import re
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest
import toy
from patience import PATIENCE
from toy import GOOD, TRAINING, make_task

from prescreen.lines import line_of
from prescreen.ranking.journal import Journal
from prescreen.ranking.replay import Complete
from prescreen.ranking.run import rank
from prescreen.reading import Reading

SETTINGS = {"steps": 10}
COMPLETE = Complete(("a",), range(2, 3), 10)


def started(key="x"):
    return {"event": "started", "candidate": key}


def reading(step=5, number=None, key="x", **changes):
    data = {**Reading(step, {"a": 0.5}, 1.0, 2.0, 7).to_json(), **changes}
    event = {"event": "reading", "candidate": key, "reading": data}
    return event if number is None else {**event, "number": number}


def finished(readings=2, key="x"):
    return {"event": "finished", "candidate": key, "readings": readings}


def failed(kind="run", reason="it failed", key="x"):
    return {"event": "failed", "candidate": key, "kind": kind, "reason": reason}


WHOLE = [started(), reading(5), reading(10), finished()]


def opened(folder, lines, version=4):
    header = {"prescreen_journal": version, "settings": SETTINGS}
    plain = [json.dumps(event).encode() + b"\n" for event in (header, *lines)]
    content = b"".join(plain if version == 1 else map(line_of, (header, *lines)))
    (folder / "journal.jsonl").write_bytes(content)
    return Journal(folder, SETTINGS, complete=COMPLETE)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_whole_screening_is_believed(tmp_path, version):
    with opened(tmp_path, [*WHOLE, started("y"), failed(key="y")], version) as journal:
        assert {key: one.status for key, one in journal.records.items()} == {
            "x": "finished",
            "y": "run",
        }


HALF = [started(), reading(5)]
WRONG = {
    "finished after 1 readings": [*HALF, finished(1)],
    "finished after 0 readings": [started(), finished(0)],
    "finished after 3 readings": [started(), reading(3), reading(6), reading(10), finished(3)],
    "finished at step 9 of 10": [*HALF, reading(9), finished()],
    "a reading that differs in a, b": [*HALF, reading(10, values={"b": 1.0}), finished()],
    "step 5 after step 5": [*HALF, reading(5)],
    "step 4 after step 5": [*HALF, reading(4)],
    "step 0 after step 0": [started(), reading(0)],
    "step -1": [started(), reading(-1)],
    "step True": [started(), reading(True)],
    "step '5'": [started(), reading("5")],
    "step 5.0": [started(), reading(5.0)],
    "parameters -1": [*HALF, reading(10, parameters=-1)],
    "parameters 1e+30": [*HALF, reading(10, parameters=1e30)],
    "seconds -1": [*HALF, reading(10, seconds=-1)],
    "seconds None": [*HALF, reading(10, seconds=None)],
    "seconds inf": [*HALF, reading(10, seconds="inf")],
    "training_loss 'NaN'": [*HALF, reading(10, training_loss="NaN")],
    "a True": [*HALF, reading(10, values={"a": True})],
    "a '1'": [*HALF, reading(10, values={"a": "1"})],
    "a [": [*HALF, reading(10, values={"a": [1]})],
    "a 1000000000": [*HALF, reading(10, values={"a": 10**400})],
    "a reading with parts of other types": [*HALF, reading(10, values=[1.0])],
    "a reading with other parts": [*HALF, reading(10, more=1)],
    "replicates of another form": [*HALF, reading(10, replicates={"a": [1.0] * 7})],
    "replicates of another form)": [*HALF, reading(10, replicates=[1.0] * 8)],
    "a None": [*HALF, reading(10, replicates={"a": [None] * 8})],
    "predictions of another form": [*HALF, reading(10, predictions="2 3 AAAA")],
    "predictions of another form)": [*HALF, reading(10, predictions=3)],
    "a failure of kind 3": [started(), failed(3)],
    "a failure of kind ['run']": [started(), failed(["run"])],
    "a failure of kind 'other'": [started(), failed("other")],
    "a failure of kind 'running'": [started(), failed("running")],
    "a failure of kind 'finished'": [started(), failed("finished")],
    "a failure of kind 'run'": [started(), failed("run", 3)],
    "a reading after the end": [*WHOLE, reading(11)],
    "finished after the end": [*WHOLE, finished()],
    "failed after the end": [*WHOLE, failed()],
    "readings '2'": [*WHOLE[:-1], finished("2")],
    "time -1": [{**started(), "time": -1}],
    "number 1.5": [started(), reading(5, 1.5)],
    "`code` of another type": [{**started(), "code": ["a"]}],
    "started with other": [{**started(), "other": 1}],
    "finished with nothing": [{"event": "finished", "candidate": "x"}],
    "it is not an event": [{"event": "ended", "candidate": "x"}],
    "it is not an event)": [{"event": "started", "candidate": 3}],
    "it is not an event) ": [{"event": ["started"], "candidate": "x"}],
}


@pytest.mark.parametrize("version", [1, 4])
@pytest.mark.parametrize("reason", WRONG)
def test_what_cannot_be_true_is_refused_in_one_line(tmp_path, reason, version):
    events = WRONG[reason]
    with pytest.raises(ValueError, match=r"^`out` must hold undamaged events, got b") as error:
        opened(tmp_path, events, version)
    line = str(error.value)
    assert f"({reason.strip()}" in line
    assert f"as line {len(events) + 1} of {tmp_path}" in line
    assert "remove the line to measure its candidate again" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "line",
    [
        b'{"event": "started", "candidate": "x", "candidate": "y"}',
        b'{"event": "reading", "candidate": "x", "reading": {"step": 5, "values": {"a": NaN}}}',
        b'{"event": "started", "candidate": "x"} {}',
        b'{"event": "started", "candidate": "\xff"}',
        b"[" * 100_000,
        b'{"event": "failed", "candidate": "x", "kind": 1' + b"0" * 5000 + b', "reason": "r"}',
        b"\x00",
        b"",
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_lines_that_are_not_events_are_refused(tmp_path, line, version):
    opened(tmp_path, [], version).close()
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(
        ValueError, match=r"^`out` must hold undamaged events, got .* as line 2 of "
    ):
        Journal(tmp_path, SETTINGS)


def test_a_failure_whose_readings_are_not_all_there_is_measured_again(tmp_path):
    failure = {**failed(), "readings": 2}
    with opened(tmp_path, [started(), reading(5), failure]) as journal:
        assert not journal.records["x"].done
    with opened(tmp_path, [started(), reading(5), reading(10), failure]) as journal:
        assert journal.records["x"].status == "run"


@pytest.mark.parametrize("removed", range(len(WHOLE)))
@pytest.mark.parametrize("numbered", [False, True])
def test_a_line_that_was_removed_is_no_damage(tmp_path, removed, numbered):
    """Whatever the line was, the candidate is either whole still or measured again."""
    whole = [started(), reading(5, 1), reading(10, 2), finished()] if numbered else WHOLE
    aborted = [started(), reading(5, 1), reading(10, 2)] if numbered else [started()]
    lines = [*aborted, *whole]
    del lines[len(aborted) + removed]
    with opened(tmp_path, lines) as journal:
        assert journal.records["x"].done == (removed == 0)
        journal.started("x")
        for step in (5, 10):
            journal.reading("x", Reading(step, {"a": 0.5}))
        journal.finished("x")
    with Journal(tmp_path, SETTINGS, complete=COMPLETE) as journal:
        assert journal.records["x"].status == "finished"


def summary(journal):
    records = sorted(journal.records.items())
    return [(k, r.status, r.reason, repr(r.trajectory), dict(r.code), r.time) for k, r in records]


def test_no_flipped_byte_is_believed(tmp_path):
    """At 300 places of a real journal: refused in one line, or without any effect."""
    rank({**GOOD, **toy.BAD}, make_task(), training=TRAINING, out=tmp_path)
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    settings = json.loads(whole.split(b"\n")[0])["settings"]
    with Journal(tmp_path, settings) as journal:
        expected = summary(journal)
    generator, outcomes = random.Random(0), {"refused": 0, "same": 0, "cut": 0}
    for _ in range(300):
        place = generator.randrange(len(whole))
        byte = whole[place] ^ (1 << generator.randrange(8))
        new = generator.choice([bytes([byte]), b"", bytes([whole[place]] * 2), b"7"])
        path.write_bytes(whole[:place] + new + whole[place + 1 :])
        before = path.read_bytes()
        refusal, found = "", expected
        try:
            with Journal(tmp_path, settings) as journal:
                found = summary(journal)
        except ValueError as error:
            refusal = str(error)
        # A last line without its newline counts as not written.
        cut = not before.endswith(b"}\n")
        outcomes["refused" if refusal else "cut" if cut else "same"] += 1
        assert re.fullmatch("|`out` must .*", refusal)
        assert not refusal or path.read_bytes() == before
        assert found == expected or cut
    assert outcomes["refused"] > 250


def test_events_are_checked_before_they_are_written(tmp_path):
    with opened(tmp_path, HALF) as journal:
        before = (tmp_path / "journal.jsonl").read_bytes()
        for wrong in (
            lambda: journal.reading("x", Reading(5, {"a": 0.5})),
            lambda: journal.reading("x", Reading(7.5, {"a": 0.5})),
            lambda: journal.finished("x"),
            lambda: journal.failed("x", "odd", "reason"),
        ):
            with pytest.raises(ValueError, match=r"^events must be those of one screening, got "):
                wrong()
        assert (tmp_path / "journal.jsonl").read_bytes() == before
        journal.reading("x", Reading(10, {"a": 0.5}))
        journal.finished("x")
        with pytest.raises(ValueError, match=r"a reading after the end for 'x'$"):
            journal.reading("x", Reading(20, {"a": 0.5}))
    Journal(tmp_path, SETTINGS, complete=COMPLETE).close()


def test_a_fork_neither_writes_nor_goes_on_nor_unlocks(tmp_path):
    with Journal(tmp_path, SETTINGS) as journal:
        before = (tmp_path / "journal.jsonl").read_bytes()
        for act in (lambda: journal.started("x"), journal.close):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of forks beside threads
                child = os.fork()
            if not child:
                act()
                os._exit(7)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == (7 if act == journal.close else 1)
            assert (tmp_path / "journal.jsonl").read_bytes() == before
            with pytest.raises(ValueError, match="that no other run is using"):
                Journal(tmp_path, SETTINGS)


SCRIPT = """
import os, sys
sys.path.insert(0, {tests!r})
from torch import nn
from toy import GOOD, TRAINING, make_task, mlp
from prescreen.ranking.run import rank

class Forking(nn.Module):
    forked = False

    def forward(self, x):
        if self.training and not self.forked:
            self.forked = True
            os.fork()
        return x

def in_build():
    os.fork()
    return mlp(4)

def in_forward():
    return nn.Sequential(Forking(), mlp(4))

def raising():
    if os.fork() == 0:
        raise SystemExit("the copy")
    return mlp(4)

CANDIDATES = {{"in build": in_build, "in forward": in_forward, "raising": raising, **GOOD}}
if __name__ == "__main__":
    ranking = rank(CANDIDATES, make_task(), training=TRAINING, out={out!r}, on={on!r})
    print(*sorted((row.name, row.status) for row in ranking), sep="\\n", flush=True)
"""


@pytest.mark.parametrize(
    "on", ["here", pytest.param("processes,workers=1", marks=pytest.mark.slow)]
)
def test_candidates_that_fork_are_measured_once(tmp_path, on):
    script, out = tmp_path / "script.py", tmp_path / "run"
    tests = str(Path(toy.__file__).parent)
    script.write_text(textwrap.dedent(SCRIPT).format(tests=tests, out=str(out), on=on))
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    names = sorted(["in build", "in forward", "raising", *GOOD])
    assert done.stdout.splitlines() == [str((name, "ok")) for name in names]
    lines = map(json.loads, (out / "journal.jsonl").read_text().splitlines())
    events = [line["event"] for line in lines if "candidate" in line]
    assert events == ["started", *["reading"] * 4, "finished"] * 6
