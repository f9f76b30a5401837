"""Odd command lines and hostile names: a result, or one line and exit code 2."""

import os
import shutil

import npz_files
import numpy as np
import space_files
import torch
from judge import command
from kinds import Kind
from torch import nn

NET = """
from torch import nn
def build(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
nothing = None
number = 5
def wrong(): return 5
def bad(): raise KeyError("x")
def ends(): raise SystemExit
"""
_DATA = "--data data.npz --probe-size 8"
SOUND = {
    "rank": f"rank space.py {_DATA} --steps 2 --readings 1 --on here --batch-size 8".split(),
    "select": f"select one-1.pt two-2.pt --model net.py:build {_DATA}".split(),
    "readouts": ["readouts"],
    "spaces": ["spaces"],
}
NUMBERS = (
    *("", "0", "-1", "1.5", "1e9", "nan", "inf", "-inf", "x", "0x10", "1_0", "٣", " 2", "--"),
)
WORDS = (
    *("", " ", "x", ",", ",,", "-", "--help", "\x1b[31m", "a\nb", "ü", "\udcff", "x" * 5000),
    *("../x", "entropy,entropy", "None", "=", "key=value", "*", "$(touch CANARY)", "`id`", "{0}"),
)
PATHS = (
    *("", ".", "..", "~", "-", "nowhere", "nowhere/x", "space.py/x", "/dev/null", "folder"),
    *("x" * 300, "a\nb", "\x1b[31m", "\udcff", "file:///etc/passwd", "http://localhost/x", "CON"),
    *("data.npz", "/proc/version", "space.py", "ü", "nul\\x", "*.py", "one-1.pt", "=cmd"),
)
MODULES = (
    *("os", "json", "sys", "prescreen", "prescreen.ranking", "torch.nn", "no.such", ".x", "a b"),
)
ON = ("processes,workers=0", "processes,x", "ray,address=", "here,here", "here,x=1")
MODELS = (
    *("net.py", "net.py:", ":build", "net:build", "net.py:nothing", "net.py:number"),
    *(
        "net.py:wrong",
        "net.py:bad",
        "net.py:ends",
        "nowhere.py:x",
        "data.npz:x",
        "os:system",
        "sys:exit",
    ),
    *("json:dumps", "builtins:print", "torch.nn:Linear", "torch.nn:ReLU"),
)
OPTIONS = {
    "rank": {
        **dict.fromkeys(("--samples", "--seed", "--batch-size", "--lr", "--probe-size"), NUMBERS),
        **dict.fromkeys(("--readings", "--threads", "--steps", "--seconds"), NUMBERS),
        **dict.fromkeys(("--optimizer", "--device", "--amp", "--readouts", "--head"), WORDS),
        **dict.fromkeys(("--data", "--out"), PATHS),
        "--on": (*WORDS, *ON),
    },
    "select": {
        **dict.fromkeys(("--probe-size", "--smoothing", "--image-size"), NUMBERS),
        **dict.fromkeys(("--readouts", "--head"), WORDS),
        "--data": PATHS,
        "--model": (*WORDS, *MODELS),
    },
}
FILES = ("a b", "ü", "a\nb", "=cmd", "\x1b[31m", "\udcff", "-x", "--help", "x" * 200, "a:b", "%s")


def prepare(folder):
    np.savez(folder / "data.npz", **npz_files.ARRAYS)
    (folder / "space.py").write_text(space_files.SPACE)
    (folder / "net.py").write_text(NET)
    for seed, name in enumerate(("one-1.pt", "two-2.pt")):
        torch.manual_seed(seed)
        torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).state_dict(), folder / name)
    (folder / "folder").mkdir()
    (folder / "folder" / "thesis.tex").write_text("mine")
    write(folder, SOUND["rank"])


def check(folder, _):
    arguments = os.fsdecode((folder / "arguments").read_bytes()).split("\0")
    done = command(arguments)
    assert done.out.strip(), "accepted without a result"


def write(folder, arguments):
    """Keep a command line in a file."""
    (folder / "arguments").write_bytes(os.fsencode("\0".join(arguments)))


def _arguments(make):
    return lambda dice, folder: write(folder, make(dice, folder))


def _odd_value(name):
    def make(dice, folder):
        option = dice.choice(list(OPTIONS[name]))
        return [*SOUND[name], option, dice.choice(OPTIONS[name][option])]

    return make


def _odd_argument(dice, folder):
    name = dice.choice(list(SOUND))
    arguments = list(SOUND[name])
    arguments[dice.randrange(len(arguments))] = dice.choice([*WORDS, *PATHS, *NUMBERS])
    return arguments


def _shuffled(dice, folder):
    """Two arguments change places, some are lost, and some are new."""
    arguments = [*SOUND[dice.choice(list(SOUND))], "--json"]
    i, j = dice.choices(range(len(arguments)), k=2)
    arguments[i], arguments[j] = arguments[j], arguments[i]
    lost = dice.randrange(len(arguments))
    del arguments[lost : lost + dice.randint(0, 2)]
    return [*arguments, *dice.choices(WORDS, k=dice.randint(0, 2))]


def _hostile_name(dice, folder):
    """A sound file under a hostile name."""
    name = dice.choice(["rank", "select"])
    arguments = list(SOUND[name])
    files = [i for i, one in enumerate(arguments) if (folder / one.partition(":")[0]).is_file()]
    place = dice.choice(files)
    file, colon, function = arguments[place].partition(":")
    hostile = dice.choice(FILES) + os.path.splitext(file)[1]
    shutil.move(folder / file, folder / hostile)
    arguments[place] = f"{dice.choice(['', './'])}{hostile}{colon}{function}"
    return arguments


def _module(dice, folder):
    return ["rank", dice.choice([*MODULES, *PATHS]), *SOUND["rank"][2:]]


KIND = Kind(
    prepare,
    {
        **{f"odd value: {name}": _arguments(_odd_value(name)) for name in OPTIONS},
        "odd argument": _arguments(_odd_argument),
        "shuffled": _arguments(_shuffled),
        "hostile name": _arguments(_hostile_name),
        "another space": _arguments(_module),
    },
    check,
    cases=240,
)
