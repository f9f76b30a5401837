"""Help, version and completion answer without torch, which takes seconds to import."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from patience import PATIENCE
from test_layers import HEAVY

import prescreen
from prescreen.cli.app import app, run

COMMANDS = [one.name for one in app.registered_commands]
ASKING = """
import contextlib, io, json, sys
from prescreen.cli.app import run
loaded = {}
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()):
        assert run(command) == 0, command
    loaded[" ".join(command)] = sorted({one.partition(".")[0] for one in sys.modules})
print(json.dumps(loaded))
"""


def test_help_and_version_do_not_import_torch():
    asked = [["--version"], ["--help"], *([name, "--help"] for name in COMMANDS)]
    command = [sys.executable, "-c", ASKING, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    heavy = {"torch", "numpy", *HEAVY.split()} - {"typer", "rich"}
    for asking, loaded in json.loads(done.stdout).items():
        assert heavy.isdisjoint(loaded), asking


def test_the_version_is_that_of_the_package(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"prescreen {version('prescreen')}\n"
    assert prescreen.__version__ == version("prescreen")


def completed(words, tmp_path):
    """What bash is offered for the last of some words, and whether torch was imported."""
    asked = {
        "_PRESCREEN_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["prescreen", *words]),
        "COMP_CWORD": str(len(words)),
    }
    command = [sys.executable, "-X", "importtime", "-m", "prescreen"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, **asked},
        cwd=tmp_path,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\| +torch$", done.stderr, re.MULTILINE) is None
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["sel"], ["select"]),
        (["rank", "nas_"], ["nas_bench_101", "nas_bench_201"]),
        (["rank", "--probe-s"], ["--probe-size"]),
        (["rank", "--readouts", "flops,iso"], ["flops,isotropy"]),
        (["select", "--readouts", "view"], ["view_information"]),
    ],
)
def test_shells_complete(words, offered, tmp_path):
    assert completed(words, tmp_path) == offered


def test_the_script_for_a_shell_is_printed(monkeypatch, capsys):
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: ("zsh", "/bin/zsh"))
    assert run(["--show-completion"]) == 0
    assert "#compdef prescreen" in capsys.readouterr().out


def test_type_checkers_are_told_the_public_names():
    stub = Path(prescreen.__file__).with_suffix(".pyi").read_text()
    pairs = re.findall(r"^from prescreen\.(\w+) import (\w+) as \2$", stub, re.MULTILINE)
    assert {name: home for home, name in pairs} == prescreen.PLACES


def test_public_names_are_found_and_listed():
    names = {}
    exec("from prescreen import *", names)
    assert set(prescreen.__all__) <= set(names)
    assert {*prescreen.__all__, "__version__"} <= set(dir(prescreen))
    # A module of that name would take its place once it is imported.
    root = Path(prescreen.__file__).parent
    modules = {path.stem for path in root.iterdir()}
    assert modules.isdisjoint(prescreen.PLACES)
    assert prescreen.tasks.load_task is prescreen.load_task
