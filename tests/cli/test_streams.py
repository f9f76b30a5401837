"""The standard output is for results; interrupts and closed pipes end the command line quietly."""

import json
import os
import signal
import subprocess
import sys

import pytest
from patience import PATIENCE, wait_until
from toy import SPACE

from prescreen.cli.app import run
from prescreen.interrupts import report

LOUD = """
import ctypes, os, sys
def shout(where):
    print("printed at", where)
    sys.__stdout__.write("written at " + where + chr(10))
    os.write(1, b"to the descriptor at " + where.encode() + bytes([10]))
    ctypes.CDLL(None).puts(b"from C at " + where.encode())
    os.system("echo from a shell at " + where)
shout("import")
"""
PARTS = ("printed", "written", "to the descriptor", "from C", "from a shell")


def test_what_candidates_print_goes_to_stderr(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    build = SPACE.replace("    width =", "    shout('build')\n    width =")
    (tmp_path / "space.py").write_text(LOUD + build)
    assert run(["rank", "space.py", "--on", "here", "--steps", "2", "--json"]) == 0
    printed = capfd.readouterr()
    assert len(json.loads(printed.out)["rows"]) == 3
    for part in PARTS:
        assert printed.err.count(f"{part} at import") == 1
        assert printed.err.count(f"{part} at build") == 3


# The mark and the end of its line in one: a signal may come in between.
WAITING = SPACE.replace(
    "    width =",
    "    import time; print('BUILDS' + chr(10), end=''); time.sleep(10_000)\n    width =",
)


def begun(command, mark, folder):
    """A command in a session of its own, once it has printed a mark on the standard error."""
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            text=True,
            start_new_session=True,
            preexec_fn=_hear_signals,
        )
    said = folder / "errors"
    wait_until(lambda: mark in said.read_text() or process.poll() is not None)
    assert process.poll() is None, said.read_text()
    return process


def _hear_signals():
    """Signals are ignored by what a shell starts in the background, and by all that this starts."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


# What pip installs.
SCRIPT = "import sys; from prescreen.__main__ import main; sys.exit(main())"
RANK = ["-m", "prescreen", "rank", "space.py", "--steps", "2"]
AGAIN = f"python {' '.join(RANK)}"


@pytest.mark.parametrize(
    ("command", "mark", "number", "line"),
    [
        (RANK, "BUILDS", "SIGINT", f"interrupted; go on with: {AGAIN}"),
        (
            [*RANK, "--on", "here"],
            "BUILDS",
            "SIGTERM",
            f"interrupted by SIGTERM; go on with: {AGAIN} --on here",
        ),
        # While torch is imported.
        (
            ["-X", "importtime", *RANK],
            " torch.",
            "SIGINT",
            f"interrupted; go on with: {AGAIN}",
        ),
        (
            ["-X", "importtime", "prescreen", "readouts"],
            " torch.",
            "SIGTERM",
            "interrupted by SIGTERM",
        ),
    ],
)
def test_interrupts_end_all_in_one_line(command, mark, number, line, tmp_path):
    (tmp_path / "space.py").write_text(WAITING)
    (tmp_path / "prescreen").write_text(SCRIPT)
    process = begun(command, mark, tmp_path)
    os.killpg(process.pid, getattr(signal, number))  # as a terminal does
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + getattr(signal, number)
    assert out == ""
    lines = (tmp_path / "errors").read_text().splitlines()
    ours = [one for one in lines if one != "BUILDS" and not one.startswith("import time:")]
    assert ours == [f"prescreen: {line}"]


def test_a_closed_pipe_ends_the_command_quietly(tmp_path):
    command = [sys.executable, "-m", "prescreen", "readouts"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(PATIENCE) == 128 + signal.SIGPIPE
    process.stderr.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rank"], "prescreen rank"),
        (
            ["rank", "my space.py", "--out", "it's"],
            "prescreen rank 'my space.py' --out 'it'\"'\"'s'",
        ),
        # It would measure all anew.
        (["rank", "--fresh", "--seeds", "2"], "prescreen rank --seeds 2"),
        (["rank", "--config", "a.toml"], "prescreen rank --config a.toml --no-fresh"),
        (["rank", "--out", "\x1b[31m"], r"prescreen rank --out '\x1b[31m'"),
        (["select", "rank"], ""),
        ([], ""),
    ],
)
def test_ctrl_c_says_how_to_go_on(words, said, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/prescreen", *words])
    assert report(signal.SIGINT) == 130
    line = "prescreen: interrupted" + (f"; go on with: {said}" if said else "")
    assert capfd.readouterr().err == f"{line}\n"


def test_ctrl_c_says_it_as_windows_shells_read_it(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["C:\\bin\\prescreen.exe", "rank", "my space.py"])
    monkeypatch.setattr(os, "name", "nt")
    assert report(signal.SIGINT) == 130
    monkeypatch.undo()
    assert capfd.readouterr().err.endswith('go on with: prescreen rank "my space.py"\n')
