"""What the command line prints and writes: hostile names, poor locales, folders that are gone."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from patience import PATIENCE
from test_text import HOSTILE
from torch import nn
from toy import GOOD, SPACE, TRAINING, make_task, mlp

from prescreen.cli.app import run
from prescreen.ranking.run import rank

NAMES = [*HOSTILE, "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "café"]
HOSTILE_SPACE = (
    SPACE.replace("(4, 8, 16)", f"range({len(NAMES)})").replace('"]\n', '"] % 5 + 2\n', 1)
    + f"""

NAMES = {NAMES!r}

def name(config):
    return NAMES[config["width"]]

_build = build

def build(config, *, num_classes, in_channels):
    if config["width"] % 2:
        raise RuntimeError(name(config))
    return _build(config, num_classes=num_classes, in_channels=in_channels)
"""
)
QUICK = ["--steps", "1", "--on", "here", "--samples", "0", "--readouts", "entropy"]


def lines_of(printed):
    assert all(line.isprintable() for line in printed.split("\n"))
    return printed.splitlines()


@pytest.fixture
def space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("space.py").write_text(HOSTILE_SPACE)
    return "space.py"


def test_hostile_names_and_reasons_are_escaped_in_every_output(space, capsys):
    command = ["rank", space, *QUICK, "--out", "run\x1b[31m"]
    assert run(command) == 0
    table = capsys.readouterr()
    assert [*filter(str.strip, lines_of(table.out))][2 + len(NAMES) :][0].startswith("±")
    assert len(lines_of(table.err)) == len(NAMES) + 1
    assert run([*command, "--csv"]) == 0
    text = capsys.readouterr().out
    assert len(lines_of(text)) == 1 + len(NAMES)
    rows = list(csv.reader(io.StringIO(text)))
    assert not any(row[1].startswith(("=", "+", "-", "@")) for row in rows)
    assert sum(row[1].startswith("'") for row in rows) == 5
    assert run([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in data["rows"]} == set(NAMES)
    written = Path("run\x1b[31m", "ranking.csv").read_text("utf-8")
    assert "'=cmd|" in written
    assert json.loads(Path("run\x1b[31m", "ranking.json").read_text("utf-8")) == data


@pytest.mark.parametrize("text", [name for name in HOSTILE if "\0" not in name])
def test_hostile_arguments_are_refused_in_one_printable_line(text, capsys):
    for command in (
        ["rank", text],
        ["rank", f"{text}.py"],
        ["rank", f"--{text}"],
        ["rank", "--data", text],
        ["rank", "--readouts", text],
        ["rank", "--on", text],
        ["select", text, "--model", f"{text}.py:f", "--data", "digits"],
    ):
        assert run(command) == 2
        (line,) = lines_of(capsys.readouterr().err)
        assert line.startswith("prescreen: ")


def test_hostile_checkpoint_names_are_escaped(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text(
        "from torch import nn\ndef f(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    files = ["\x1b[31m.pt", "two\nlines.pt"]
    for file in files:
        torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).state_dict(), file)
    command = ["select", *files, "--model", "models.py:f", "--data", "digits"]
    assert run([*command, "--readouts", "entropy"]) == 0
    assert len(lines_of(capsys.readouterr().out)) == 7


def test_a_poor_locale_loses_nothing(space):
    poor = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    command = [sys.executable, "-m", "prescreen", "rank", space, *QUICK, "--out", "run"]
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, **poor}, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert r"caf\xe9" in done.stdout.decode("ascii")
    written = Path("run/ranking.csv").read_bytes().decode("utf-8")
    assert "café" in written
    assert r"\udcff" in written


GONE = """
import shutil
from pathlib import Path

def name(config):
    return f"w{config['width']}"

_build = build

def build(config, *, num_classes, in_channels):
    if config["width"] == 16:
        shutil.rmtree("run")
    return _build(config, num_classes=num_classes, in_channels=in_channels)
"""


def test_a_ranking_that_cannot_be_written_is_still_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("space.py").write_text(SPACE + GONE)
    assert run(["rank", "space.py", *QUICK, "--out", "run"]) == 1
    printed = capsys.readouterr()
    assert [line[:4].strip() for line in printed.out.splitlines()[2:5]] == ["1", "2", "3"]
    unwritten = [line for line in printed.err.splitlines() if "could not be written" in line]
    assert len(unwritten) == 2
    assert unwritten[0].startswith("run/ranking.json could not be written: ")


def test_in_python_the_ranking_is_returned_and_the_loss_is_logged(tmp_path, caplog):
    def hindered():
        (tmp_path / "ranking.csv").mkdir()
        return mlp(2)

    ranking = rank({**GOOD, "h": hindered}, make_task(), training=TRAINING, out=tmp_path)
    assert len(ranking) == 4
    assert ranking.unwritten == ("ranking.csv",)
    assert json.loads((tmp_path / "ranking.json").read_text())["rows"]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{tmp_path}/ranking.csv could not be written: ")
    shutil.rmtree(tmp_path / "ranking.csv")
    assert (
        rank({**GOOD, "h": hindered}, make_task(), training=TRAINING, out=tmp_path).unwritten == ()
    )
