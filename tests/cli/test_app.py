"""The command line: its output, and one line with exit code 2 for bad input."""

import csv
import io
import json
import re
import socket
import subprocess
import sys

import pytest
from patience import PATIENCE
from toy import SPACE

from prescreen.cli.app import run
from prescreen.panel import DEFAULT_PANEL
from prescreen.readouts import ANCHORS, NORMALIZATIONS, PROJECTIONS, READOUTS

QUICK = ("--steps", "4", "--on", "here")


@pytest.fixture
def space(tmp_path, monkeypatch):
    """A file with a search space of three candidates, in the working directory."""
    (tmp_path / "space.py").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    return "space.py"


def test_rank_prints_a_table_and_continues(space, capsys):
    assert run(["rank", space, *QUICK]) == 0
    first = capsys.readouterr()
    header, _, *rows = first.out.splitlines()
    rows, notes = rows[:3], rows[3:]
    assert [note[:18] for note in notes][:1] == ["±  95 % interval o"]
    assert header.split() == [
        *("rank", "candidate", "score", "±", "="),
        *DEFAULT_PANEL,
        *("params", "loss", "sec"),
    ]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert sorted(row.split()[1] for row in rows) == ["width=16", "width=4", "width=8"]
    assert "3 of 3 candidates done, 0 s left: width=" in first.err
    assert run(["rank", space, *QUICK]) == 0
    again = capsys.readouterr()
    assert again.out == first.out  # the seconds, too: nothing was measured again
    assert "candidates done" not in again.err


def test_rank_for_machines(space, tmp_path, capsys):
    arguments = [
        "rank",
        space,
        *QUICK,
        "--out",
        "run",
        "--readouts",
        "entropy, prior/gradient/head",
    ]
    assert run([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["readouts"] == ["entropy", "prior/gradient/head"]
    assert [row["rank"] for row in data["rows"]] == [1, 2, 3]
    assert run([*arguments, "--csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["entropy"]) for row in table] == [
        row["values"]["entropy"] for row in data["rows"]
    ]
    assert json.loads((tmp_path / "run" / "ranking.json").read_text()) == data


def test_options_reach_the_measurement(space, tmp_path, capsys):
    options = ["--samples", "2", "--seed", "3", "--batch-size", "16", "--optimizer", "adamw"]
    options += ["--lr", "0.01", "--probe-size", "32", "--readings", "2", "--head", "3"]
    assert run(["rank", space, *QUICK, *options, "--out", "run", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2
    header, *events = map(json.loads, (tmp_path / "run" / "journal.jsonl").read_text().splitlines())
    settings = header["settings"]
    assert (settings["steps"], settings["seed"], settings["batch_size"]) == (4, 3, 16)
    assert (settings["optimizer"], settings["lr"], settings["head"]) == ("adamw", 0.01, "3")
    steps = [event["reading"]["step"] for event in events if event["event"] == "reading"]
    assert steps == [2, 4, 2, 4]
    assert run(["rank", space, *QUICK, *options, "--out", "run", "--seeds", "2"]) == 0
    assert "Continues run: 2 of 4 trainings were measured before" in capsys.readouterr().err


def test_limits_leave_out_and_a_time_budget_leaves(space, capsys):
    limits = ["--max-params", "1k", "--max-flops", "1G", "--max-latency", "1h"]
    assert run(["rank", space, *QUICK, *limits, "--time-budget", "10h", "--out", "run"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\n   -  width=16  limit: 1,\d\d\d parameters, above 1,000\n", printed)
    assert run(["rank", space, *QUICK, "--time-budget", "1ms", "--json", "--out", "more"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["rows"]) == 1
    assert data["notes"][-1].startswith("2 of 3 candidates are left, as the time budget is over: ")


def test_halving_ends_most_candidates_early(space, capsys):
    assert run(["rank", space, *QUICK, "--halving", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["status"], row["step"]) for row in rows] == [("ok", 4)] + [("halved", 1)] * 2


def test_a_ranking_of_failures_only_ends_with_1(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    broken = SPACE.replace(
        "    width = config", "    raise RuntimeError('no such layer')\n    width = config"
    )
    (tmp_path / "broken.py").write_text(broken)
    assert run(["rank", "broken.py", *QUICK]) == 1
    out = capsys.readouterr().out
    assert out.count("build: RuntimeError: no such layer") == 3


def test_rank_on_a_cluster_prints_results_only(space, ray_session, capsys):
    data = []
    for place in ("here", "ray"):
        assert run(["rank", space, "--steps", "4", "--out", place, "--json", "--on", place]) == 0
        data.append(json.loads(capsys.readouterr().out))
        for row in data[-1]["rows"]:
            del row["seconds"]
    assert data[0] == data[1]


def test_a_cluster_that_does_not_answer_is_one_line(space):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers there
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        command = [sys.executable, "-m", "prescreen", "rank", space]
        command += ["--on", f"ray,address={address}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"`address` must be that of a running Ray cluster, got {address}: " in line


BAD = {
    "rank nas_bench_202": "`space` must be .*, got 'nas_bench_202'; did you mean nas_bench_201",
    "rank nowhere.py": "`space` must be a file that exists, got 'nowhere.py'",
    "rank empty.py": "the space .*empty.py must define .*, got no sample",
    "rank damaged.py": "`space` must be importable, got .* at .*damaged.py, line 1: SyntaxError",
    "rank --log nope": "`log` must be tensorboard:FOLDER, .*, got 'nope'",
    "rank --data nope": "`data` must be .*, got 'nope'",
    "rank --readouts entropi": "`readouts` must be entropy .* got 'entropi'",
    "rank --readouts prior/gradient/feet": "got 'prior/gradient/feet': `normalization` .*, got 'feet'",
    "rank --head no.such.layer": "`head` must be .*, got 'no.such.layer', which is unknown",
    "rank --head 1": "`head` must be .*, got '1', which is ReLU",
    "rank --steps 0": "`steps` must be at least 1, got 0",
    "rank --seconds 0": "`seconds` must be above 0, or None, got 0",
    "rank --batch-size 0": "`batch_size` must be at least 1, got 0",
    "rank --lr -1": "`lr` must be above 0, or None, got -1",
    "rank --optimizer adam": "`optimizer` must be one of sgd, adamw, got 'adam'",
    "rank --amp int8": "`amp` must be one of bf16, fp16, got 'int8'",
    "rank --device abacus": "`device` must be one that torch can use here, got 'abacus': ",
    "rank --probe-size 1": "`probe_size` must be from 2 to 1796, .*, got 1",
    "rank --probe-size 1797": "`probe_size` must be from 2 to 1796, with 1797 samples .*, got 1797",
    "rank --seeds 0": "`seeds` must be at least 1, got 0",
    "rank --readings 0": "`readings` must be at least 1, got 0",
    "rank --on processes,workers=-1": "`workers` must be at least 1, got -1",
    "rank --timeout 0": "`timeout` must be above 0, or None, got 0",
    "rank --memory -1": "`memory` must be above 0, or None, got -1",
    "rank --max-params many": "`max_params` must be a number such as 2e6, 300k, .* got 'many'",
    "rank --max-flops 0": "`max_flops` must be above 0, or None, got 0",
    "rank --max-latency 5x": "`max_latency` must be a time such as 5ms or 0.1s, got '5x'",
    "rank --max-latency 1 --latency-batch 999": "`latency_batch` must be at most the probe's 256",
    "rank --time-budget -1m": "`time_budget` must be above 0, or None, got -60",
    "rank --threads 0": "`threads` must be at least 1, got 0",
    "rank --on ray,address=here": "`address` must be auto, local, HOST:PORT .* got 'here'",
    "rank --on ray,gpus=0.5": "`gpus` must be None for the device cpu, got 0.5",
    "rank --on processes,gpus=0.5": "`gpus` must be an integer, got 0.5",
    "rank --on processes,gpus=1": "`gpus` must be None for the device cpu, got 1",
    "rank --on processes,cores=1": "`on` must be processes with workers=... and gpus=..., got 'cores=1'",
    "rank --on moon": "`on` must be one of here, processes, ray, got 'moon'",
    "rank --out space.py": "`out` must be a folder .*, got 'space.py'",
    "rank --out foreign": "`out` must be an empty folder .*, got 'foreign', which holds other files",
    "rank --json --csv": "`json` must be given without `csv`, got both",
    "rank --samples -1": "--samples",
    "rank --samples many": "--samples",
    "rank --seed": "--seed",
    "rank --sed 1": "--sed",
    "order": "order",
}


@pytest.mark.parametrize("command", BAD)
def test_bad_input_is_one_line_and_exit_code_2(command, space, tmp_path, capsys):
    (tmp_path / "empty.py").touch()
    (tmp_path / "damaged.py").write_text("def")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    assert run(command.replace("rank --", f"rank {space} --on here --").split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("prescreen: ")
    assert re.search(BAD[command], line), line
    new = {path.name for path in set(tmp_path.rglob("*")) - set(before)} - {"__pycache__"}
    assert not {name for name in new if name.startswith(("journal", "ranking"))}


def test_a_damaged_journal_is_refused_and_left_as_it_is(space, tmp_path, capsys):
    assert run(["rank", space, *QUICK, "--out", "run"]) == 0
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:20] + b"\n"
    journal.write_bytes(b"".join(lines))
    capsys.readouterr()
    assert run(["rank", space, *QUICK, "--out", "run"]) == 2
    assert "`out` must hold undamaged events, got " in capsys.readouterr().err
    assert journal.read_bytes() == b"".join(lines)
    # Without the line, only its candidate is measured again, as the message says.
    journal.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert run(["rank", space, *QUICK, "--out", "run"]) == 0
    assert capsys.readouterr().err.count("candidates done") == 1


def test_readouts_are_listed(capsys):
    assert run(["readouts"]) == 0
    out = capsys.readouterr().out
    listed = [line.split()[0] for line in out.split("\n\n")[0].splitlines()[2:]]
    assert listed == [*READOUTS]
    for part in (*ANCHORS, *PROJECTIONS, *NORMALIZATIONS):
        assert part in out


def test_spaces_are_listed(capsys):
    assert run(["spaces"]) == 0
    out = capsys.readouterr().out
    assert "nas_bench_201" in out
    assert "timm_models" in out


def test_no_arguments_print_the_help(capsys):
    assert run([]) == 0
    assert "rank" in capsys.readouterr().out


def test_as_a_module():
    command = [sys.executable, "-W", "error", "-m", "prescreen", "rank", "--steps", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "prescreen: `steps` must be at least 1, got 0\n"


def test_the_missing_extra_is_named(monkeypatch, capsys):
    from prescreen.__main__ import main

    monkeypatch.setitem(sys.modules, "typer", None)
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'prescreen[cli]'" in line
