"""Options that are declared by their defaults."""

import argparse
from pathlib import Path

import pytest

from benchmarks.common.options import command, folder_of, need


def test_kinds_of_options():
    options = {"data": Path, "workers": 2, "models": ["a"], "steps_share": 1.0, "only": ""}
    options |= {"report": False}
    parser = command("What it does.", do=("train", "table"), **options)
    args = parser.parse_args(["train"])
    assert args.data is None
    assert (args.do, args.workers, args.models, args.only) == ("train", 2, ["a"], "")
    assert args.report is False
    given = [
        "table",
        "--report",
        "--data",
        "x",
        "--workers",
        "3",
        "--models",
        "b",
        "c",
        "--steps-share",
        "0.5",
    ]
    args = parser.parse_args(given)
    assert (args.data, args.workers, args.models) == (Path("x"), 3, ["b", "c"])
    assert args.steps_share == 0.5
    assert args.report is True
    with pytest.raises(SystemExit):
        parser.parse_args(["trains"])


def test_what_is_needed_and_not_given_ends_the_command():
    args = argparse.Namespace(do="train", data=None, truth=None, other=None)
    with pytest.raises(SystemExit, match=r"^`train` needs --data and --truth$"):
        need(args, "data", "truth")


def test_results_of_a_trial_never_replace_the_real_ones(tmp_path):
    args = argparse.Namespace(out=tmp_path)
    assert folder_of(Path("results"), args, trial=False) == Path("results")
    assert folder_of(Path("results"), args, trial=True) == tmp_path / "trial"
