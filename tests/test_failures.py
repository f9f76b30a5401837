"""Whatever a candidate's or a space's own code raises is a failed row or one line, never more."""

import os
import sys

import pytest
import torch
from toy import TRAINING, make_task, mlp

from prescreen.cli.app import run
from prescreen.failures import KINDS, CandidateFailed
from prescreen.ranking.run import rank
from prescreen.screening import Plan, Screening
from prescreen.spaces.candidate import Candidate

# Source of the error, and what is told of it.
ERRORS = {
    "sys.exit()": "SystemExit: no message",
    "sys.exit(0)": "SystemExit: 0",
    "sys.exit('bye')": "SystemExit: bye",
    "raise KeyboardInterrupt": "KeyboardInterrupt: no message",
    "raise GeneratorExit": "GeneratorExit: no message",
    "raise StopIteration(7)": "StopIteration",
    "raise Own('mine')": "Own: mine",
    "raise Mute": "Mute: no message",
    "raise Number": "Number: no message",
    "raise KeyError('x')": "KeyError: 'x'",
    "raise RuntimeError('one\\ntwo')": "RuntimeError: one",
    "raise RuntimeError('long ' * 10**6)": "RuntimeError: long long",
    "raise MemoryError": "MemoryError: no message",
    "deeper()": "RecursionError: maximum recursion depth exceeded",
    "raise CandidateFailed('no such kind', '')": "`kind` must be one of build, ",
}

SPACE = """
import sys
from prescreen import CandidateFailed
from torch import nn

class Own(BaseException): pass
class Mute(Exception):
    def __str__(self): sys.exit(3)
    __repr__ = __str__
class Number(Exception):
    def __str__(self): return 3
def deeper(): deeper()
def error(where):
    if where == WHERE: {error}

WHERE = "{where}"
error("import")

class Layer(nn.Module):
    def forward(self, x):
        error("training" if self.training else "reading")
        return x

def sample(trial):
    error("sample")
    return {{"width": trial.suggest_int("width", 2, 9)}}

def build(config, *, num_classes):
    error("build")
    return nn.Sequential(Layer(), nn.Flatten(), nn.Linear(64, num_classes))

def build_untrained(config, *, num_classes):
    error("build_untrained")
    return build(config, num_classes=num_classes)

def name(config):
    error("name")
    return f"w{{config['width']}}"

def grid():
    error("grid")
    yield {{"width": 2}}
    error("second of grid")
    yield {{"width": 3}}
"""
REFUSED = {
    "import": "`space` must be importable, got {file}, which fails at {file}, line ",
    "sample": "`sample` of space must return a dict, got ",
    "name": "`name` of space must return a name, got ",
    "grid": "`grid` of space must list configs, got ",
    "second of grid": "`grid` of space must list configs, got ",
}
FAILED = ("build", "build_untrained", "training", "reading")


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(where, error):
        (tmp_path / "space.py").write_text(SPACE.format(where=where, error=error))
        os.utime(
            tmp_path / "space.py", ns=(1, next(times))
        )  # a space is imported anew if it changes
        return tmp_path / "space.py"

    times = iter(range(1000))
    return write


@pytest.mark.parametrize("where", REFUSED)
def test_what_a_space_raises_is_one_line(where, write, capfd):
    for error, told in ERRORS.items():
        file = write(where, error)
        samples = "1" if where in ("sample", "second of grid") else "2"
        code = run(["rank", "space.py", "--on", "here", "--steps", "1", "--samples", samples])
        printed = capfd.readouterr()
        assert (code, printed.out) == (2, ""), error
        (line,) = printed.err.splitlines()
        begin = f"prescreen: {REFUSED[where].format(file=file)}"
        assert line.startswith(begin), line
        assert told in line, line
        assert len(line) < 1500


@pytest.mark.parametrize("where", FAILED)
def test_what_a_candidate_raises_is_a_row(where, write, capfd):
    for error, told in ERRORS.items():
        write(where, error)
        command = ["rank", "space.py", "--on", "here", "--steps", "1", "--samples", "1"]
        code = run([*command, "--readouts", "isotropy,entropy", "--out", f"run{hash(error)}"])
        printed = capfd.readouterr()
        assert code == 1, (error, printed.err)
        *_, row = printed.out.splitlines()
        assert "Traceback" not in printed.err
        kind = "memory" if "Memory" in error else "build" if "build" in where else "run"
        assert f"{kind}: " in row, row
        assert told in row or where == "reading", row
        assert len(row) < 1500


def test_ctrl_c_in_a_program_is_the_users(write):
    """There, a KeyboardInterrupt cannot be told from one that the candidate raises."""
    for where in ("sample", "build", "training"):
        space = write(where, "raise KeyboardInterrupt")
        with pytest.raises(KeyboardInterrupt):
            rank(space, make_task(), samples=1, training=TRAINING)


def test_closing_a_screening_is_no_failure():
    screening = Screening(Candidate("a", {}, lambda: mlp(2)), Plan(make_task(), TRAINING))
    assert next(screening).step == 2
    del screening  # an error would be printed, which is an error in tests


def test_kinds_are_checked():
    assert {CandidateFailed(kind, "").kind for kind in KINDS} == set(KINDS)
    with pytest.raises(ValueError, match=r"^`kind` must be one of build, .*, got 'finished'$"):
        CandidateFailed("finished", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_fork_of_a_candidate_ends_where_its_code_ends(tmp_path):
    def forked(ending):
        pid = os.fork()
        if pid == 0:
            ending()
        else:
            os.waitpid(pid, 0)
        return mlp(4)

    endings = {"returns": int, "exits": sys.exit, "raises": lambda: 1 / 0}
    builds = {name: lambda ending=ending: forked(ending) for name, ending in endings.items()}
    ranking = rank(builds, make_task(), training=TRAINING, out=tmp_path)
    assert [row.status for row in ranking] == ["ok"] * 3
    assert (tmp_path / "journal.jsonl").read_text().count('"started"') == 3


def test_memory_is_limited_for_a_candidate_and_no_longer():
    def greedy():
        blocks = [bytearray(2**26) for _ in range(100)]
        return mlp(len(blocks))

    def large():
        torch.empty(2**30)
        return mlp(2)

    task, builds = make_task(), {"greedy": greedy, "large": large, "small": lambda: mlp(2)}
    small, *others = rank(builds, task, training=TRAINING, memory=1.0)
    assert (small.name, small.status) == ("small", "ok")
    assert [row.status for row in others] == ["memory", "memory"]
    assert len(torch.empty(2**29)) == 2**29
    with pytest.raises(ValueError, match="`memory` must be above 0, or None, got 0"):
        rank(builds, task, memory=0)
