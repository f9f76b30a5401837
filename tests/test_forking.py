"""The server that workers are forked from: what they have of their parent's, and that it ends."""

import os
import signal
import subprocess
import sys
from functools import partial
from multiprocessing import forkserver

import pytest
from patience import PATIENCE, wait_until
from toy import GOOD, PYTHONPATH, TRAINING, make_task, mlp, without_seconds

from prescreen.forking import can_fork
from prescreen.ranking.executors import Processes, started
from prescreen.ranking.run import rank

pytestmark = pytest.mark.skipif(not can_fork(), reason="only Linux forks workers")


def says_who_it_is():
    parts = (os.environ.get("PRESCREEN_TEST"), os.getcwd(), os.getppid() == os.getpgrp())
    os.write(2, b"its standard error\n")
    raise RuntimeError(repr(parts))


def reason():
    (row,) = rank({"one": says_who_it_is}, make_task(), training=TRAINING, on=Processes(1))
    return row.reason


def test_workers_have_todays_variables_folder_and_streams(monkeypatch, tmp_path, capfd):
    """Those of the moment when they begin, whatever they were when the server began."""
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PRESCREEN_TEST", str(number))
        assert reason() == f"RuntimeError: {(str(number), str(folder), False)}"
        assert capfd.readouterr().err.count("its standard error") == 1
    monkeypatch.delenv("PRESCREEN_TEST")
    assert reason().startswith("RuntimeError: (None")


def test_spawned_and_forked_workers_measure_the_same(monkeypatch):
    forked = rank(GOOD, make_task(), training=TRAINING, on=Processes(2))
    monkeypatch.setattr(started, "is_served", lambda: False)
    spawned = rank(GOOD, make_task(), training=TRAINING, on=Processes(1))
    here = rank(GOOD, make_task(), training=TRAINING)
    assert without_seconds(forked) == without_seconds(spawned) == without_seconds(here)


def test_bad_options_leave_no_process(tmp_path):
    """The server has the streams of the command, which would not end before it does."""
    code = (
        "import os, sys\n"
        "from prescreen.cli.app import run\n"
        "code = run(['rank', '--data', 'nowhere', '--on', 'processes'])\n"
        "from multiprocessing.forkserver import _forkserver\n"
        "print(_forkserver._forkserver_pid)\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE)
    assert done.returncode == 2
    assert done.stderr.startswith("prescreen: `data` must be ")
    server = int(done.stdout)
    wait_until(lambda: not is_alive(server))


def is_alive(pid):
    """Whether a process is there and is not only waited for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kills_its_parent(folder):
    """Kills the server of all workers, the first time that it is built."""
    with (folder / "built").open("a") as file:
        file.write("x")
    if (folder / "built").stat().st_size == 1:
        os.kill(os.getppid(), signal.SIGKILL)
    return mlp(8)


def test_a_server_that_is_killed_fails_no_candidate(tmp_path):
    candidates = {**GOOD, "kills": partial(kills_its_parent, tmp_path)}
    ranking = rank(candidates, make_task(), training=TRAINING, on=Processes(2))
    assert {row.status for row in ranking} == {"ok"}
    assert len(ranking) == len(candidates)


def test_without_pythons_private_names_workers_are_interpreters_of_their_own(monkeypatch):
    """They may go in a later Python."""
    for name in ("_forkserver_pid", "_preload_modules"):
        with monkeypatch.context() as patch:
            patch.delattr(forkserver._forkserver, name)
            assert not can_fork()
    monkeypatch.delattr(forkserver, "_forkserver")
    assert not can_fork()
    ranking = rank({"tiny": GOOD["tiny"]}, make_task(), training=TRAINING, on=Processes(1))
    assert ranking.rows[0].status == "ok"


def test_without_a_server_workers_are_interpreters_of_their_own(tmp_path):
    """The socket of the server lies in the temporary folder, whose name may be too long for it."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    (tmp_path / "script.py").write_text(RANKS)
    command = [sys.executable, "-W", "error", tmp_path / "script.py"]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": PYTHONPATH}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


RANKS = """
from toy import GOOD, TRAINING, make_task
from prescreen import Processes, rank

if __name__ == "__main__":
    ranking = rank({"tiny": GOOD["tiny"]}, make_task(), training=TRAINING, on=Processes(1))
    print(ranking.rows[0].status)
"""
