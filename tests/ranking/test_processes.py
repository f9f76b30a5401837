"""Worker processes: whose fault their end is, what they print, and how long they may take."""

import ctypes
import json
import os
import signal
import sys
import time
from functools import partial

import pytest
import torch
from toy import GOOD, TRAINING, make_task, mlp, without_seconds

from prescreen.ranking.executors import Processes, processes
from prescreen.ranking.run import rank


def first_time(folder, name):
    """Whether this is the first call of a candidate, in whichever process."""
    with (folder / name).open("a") as file:
        file.write("x")
    return (folder / name).stat().st_size == 1


def signalled(folder, name):
    """Is sent a signal from outside, the first time that it is built."""
    if first_time(folder, name):
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(0.01)  # an ignored signal lets it go on
    return mlp(8)


def crashes(name):
    if os.fork() == 0:  # this process would keep the pipe to the parent open
        time.sleep(10_000)
    os.kill(os.getpid(), getattr(signal, name))


def interrupts():
    raise KeyboardInterrupt


def prints():
    print("from Python")
    os.write(1, b"to the descriptor\n")
    ctypes.CDLL(None).puts(b"from C")
    return mlp(8)


def carries_on(folder):
    """Sleeps whatever happens, until it may go on."""
    while not (folder / "open").exists():
        try:
            time.sleep(10_000)
        except Exception:
            pass
    return mlp(8)


def is_ended(folder):
    if not (folder / "open").exists():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10_000)
    return mlp(4)


def test_signals_from_outside_are_not_a_candidates_failure(tmp_path, capfd):
    """A worker is replaced if a signal from outside ends it; what a candidate does itself is a row."""
    outside = ("SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1")
    candidates = {
        **GOOD,
        **{name: partial(signalled, tmp_path, name) for name in outside},
        "crashes": partial(crashes, "SIGSEGV"),
        "ends": partial(os._exit, 0),
        "interrupts": interrupts,
        "prints": prints,
    }
    out = tmp_path / "run"
    ranking = rank(candidates, make_task(), training=TRAINING, on=Processes(2), out=out)
    *good, crashed, ended, interrupted = ranking.rows
    assert {row.name for row in good} == {*GOOD, *outside, "prints"}
    assert (crashed.status, crashed.reason) == ("killed", "its worker process ended with SIGSEGV")
    assert (ended.status, ended.reason) == ("killed", "its worker process ended with exit code 0")
    assert (interrupted.status, interrupted.reason) == ("build", "KeyboardInterrupt: no message")
    events = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()[1:]]
    assert sum(event["event"] == "failed" for event in events) == 3
    sizes = {name: (tmp_path / name).stat().st_size for name in outside}
    assert sizes == {"SIGTERM": 2, "SIGHUP": 1, "SIGINT": 1, "SIGUSR1": 2}
    printed = capfd.readouterr()
    assert printed.out == ""
    for line in ("from Python", "to the descriptor", "from C"):
        assert line in printed.err
    assert "Traceback" not in printed.err
    alone = rank({**GOOD, "prints": partial(mlp, 8)}, make_task(), training=TRAINING)
    assert {(row.name, repr(row.values)) for row in alone} <= {
        (row.name, repr(row.values)) for row in good
    }


def test_late_and_killed_candidates_are_rows_and_tried_again_when_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "RETRIES", 1)
    monkeypatch.setattr(processes, "GRACE", 0.0)
    late, ended = partial(carries_on, tmp_path), partial(is_ended, tmp_path)
    rank_ = partial(
        rank, task=make_task(), training=TRAINING, out=tmp_path / "run", on=Processes(1)
    )
    (row,) = rank_({"late": late}, timeout=0.1)
    assert (row.status, row.reason) == ("timeout", "not finished after 0.1 s")
    (row,) = rank_({"ended": ended})
    reason = "its worker process was ended 2 times from outside, by SIGTERM"
    assert (row.status, row.reason) == ("killed", reason)
    (tmp_path / "open").touch()
    continued = rank_({"late": late, "ended": ended})
    assert [row.status for row in continued] == ["ok", "ok"]
    again = rank_({"late": late, "ended": ended}, progress=pytest.fail)
    assert without_seconds(again) == without_seconds(continued)


def threads_of(model):
    """The threads that a worker has after work that is large enough for several."""
    large = torch.ones(600, 600)
    (large @ large).sum()
    return float(len(os.listdir("/proc/self/task")))


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_workers_do_not_share_their_cores_with_threads_of_their_own():
    """Beside the one that computes there is the one that waits for the parent's end."""
    (row,) = rank(
        {"small": GOOD["small"]},
        make_task(),
        training=TRAINING,
        extra={"threads": threads_of},
        on=Processes(1),
    )
    assert row.values["threads"] <= 2
