"""Candidates of a function and of a file's list, in this process and in others, and their code."""

import json
import sys
from pathlib import Path

import pytest
import torch
from toy import TRAINING, make_task, without_seconds

from prescreen.cli.app import run
from prescreen.ranking.executors import Processes
from prescreen.ranking.run import rank
from prescreen.spaces.chosen import as_candidates
from prescreen.spaces.code import Code

MODELS = """
from torch import nn
from prescreen import Candidate

def net(width, num_classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, num_classes))

def mapping():
    return {"narrow": lambda num_classes: net(2, num_classes), "wide": lambda: net(8)}

def modules():
    yield net(2)
    yield net(8)

def pairs(num_classes):
    return [("narrow", net(2, num_classes)), ("wide", lambda: net(8))]

def candidates():
    return [Candidate(f"w{w}", {"width": w}, lambda w=w: net(w)) for w in (2, 8)]

def functions():
    return [small, large]

def small():
    return net(2)

def large():
    return net(8)

def one():
    return net(2)

def nothing():
    pass

def numbers():
    return [1, 2]

def text():
    return "resnet18"

def raising():
    raise RuntimeError("no such layer")

def leaving():
    raise SystemExit(3)

def none():
    return {}

def twice():
    return [("a", net(2)), ("a", net(2))]
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text(MODELS)


GIVEN = {
    "mapping": ["narrow", "wide"],
    "modules": ["Sequential", "Sequential 2"],
    "pairs": ["narrow", "wide"],
    "candidates": ["w2", "w8"],
    "functions": ["small", "large"],
    "one": ["one"],
}
SIZES = {"num_classes": 3, "in_channels": 1, "image_size": (4, 4)}


@pytest.mark.parametrize("function", GIVEN)
def test_a_function_gives_candidates_networks_or_builders(function):
    found = as_candidates(f"models.py:{function}", sizes=SIZES)
    assert [one.name for one in found] == GIVEN[function]
    for one, width in zip(found, (2, 8), strict=False):
        first, second = (one.model(**SIZES) for _ in range(2))
        assert first is not second
        assert first[1].out_features == width
    # Weights are those of the seed, not of what was made before.
    torch.manual_seed(5)
    model = found[0].model(**SIZES)
    torch.manual_seed(5)
    assert torch.equal(model[1].weight, found[0].model(**SIZES)[1].weight)


@pytest.mark.slow
def test_they_are_measured_in_other_processes_as_here():
    here, there = (
        rank("models.py:modules", make_task(), training=TRAINING, on=on)
        for on in ("here", Processes(1))
    )
    assert here.rows[0].rank == 1
    assert without_seconds(here) == without_seconds(there)


def test_their_code_is_that_of_the_file(tmp_path):
    codes = [Code().of(one) for one in as_candidates("models.py:mapping", sizes=SIZES)]
    assert all("models.py" in code for code in codes)
    assert codes[0]["build"] != codes[1]["build"]
    rank("models.py:mapping", make_task(), training=TRAINING, out="run")
    Path("changed").mkdir()
    Path("changed", "models.py").write_text(MODELS.replace("nn.ReLU", "nn.Tanh"))
    with pytest.raises(ValueError, match="`out` must be a folder of the same code"):
        rank("changed/models.py:mapping", make_task(), training=TRAINING, out="run")


def test_a_list_of_timm_models_and_functions(tmp_path):
    pytest.importorskip("timm")
    other = tmp_path / "other"
    other.mkdir()
    (other / "models.py").write_text(MODELS)
    # Paths begin at the list, not at the working directory.
    Path("models.py").unlink()
    sizes = {"num_classes": 5, "in_channels": 1, "image_size": (16, 16)}
    entries = ["test_resnet", "resnet18", "models.py:large"]
    (other / "list.json").write_text(json.dumps(entries))
    found = as_candidates(other / "list.json", sizes=sizes)
    assert [one.name for one in found] == ["test_resnet", "resnet18", "large"]
    assert found[0].config == {"model": "test_resnet"}
    assert found[1].model(**sizes)(torch.randn(2, 1, 16, 16)).shape == (2, 5)
    (other / "list.yaml").write_text("tiny: test_vit\nbig: models.py:large\n")
    named = as_candidates(other / "list.yaml", sizes=sizes)
    assert [one.name for one in named] == ["tiny", "big"]
    assert {"timm"} <= set(Code().of(named[0]))


BAD = {
    "models.py:absent": "which has no function absent",
    "absent.py:make": "which is not found",
    "models.py:nothing": "`candidates` must be networks, .*, got nothing",
    "models.py:numbers": "`candidates` must be networks, .*, got int",
    "models.py:text": "`candidates` must be networks, .*, got str",
    "models.py:raising": "must give candidates, got RuntimeError: no such layer",
    "models.py:leaving": "must give candidates, got SystemExit: 3",
    "models.py:none": "`candidates` must be a search space, .*, got none",
    "models.py:twice": "`name` must be unique, got 'a' twice",
    "absent.json": "`candidates` must be a file that can be read, got 'absent.json'",
    "a.json:{": "`candidates` must be a file of valid JSON",
    "a.json:3": "`candidates` must list names of timm's models and FILE.py:function, got a.json",
    'a.json:["a", 3]': "`candidates` must list names of timm's models and FILE.py:function",
    'a.json:["resnet19"]': "`model` must be one that timm has, got 'resnet19'; did you mean resnet18",
    'a.json:["models.py:absent"]': "which has no function absent",
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_candidates_is_one_line(bad, capsys):
    name, colon, text = bad.partition(":")
    if name == "a.json":
        Path(name).write_text(text)
        bad = name
    with pytest.raises(ValueError, match=BAD[f"{name}{colon}{text}"]) as error:
        as_candidates(bad, sizes=SIZES)
    assert "\n" not in str(error.value)
    assert run(["rank", bad, "--on", "here"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_command_line_takes_all_of_them_and_names_the_folder(capsys):
    Path("models.py").write_text(MODELS.replace("16, width", "64, width").replace("=3", "=10"))
    command = ["rank", "models.py:mapping", "--on", "here", "--steps", "2", "--json"]
    assert run(command) == 0
    printed = capsys.readouterr()
    assert sorted(row["name"] for row in json.loads(printed.out)["rows"]) == ["narrow", "wide"]
    assert "prescreen-runs/models-digits-" in printed.err.replace("\\", "/")
    assert run([*command, "--samples", "3"]) == 2
    assert "`samples` must be None except for a search space, got 3" in capsys.readouterr().err


SMALL = (
    "timm_models: a quarter of these models need larger images than 8×8 and will fail; --image-size 32, "
    "in Python load_task(image_size=32), enlarges them"
)
CHECKED = """
from torch import nn

def sample(trial):
    return {"width": trial.suggest_int("width", 2, 64)}

def build(config):
    raise RuntimeError("built")

def check(*, image_size):
    CHECK
"""


def test_a_space_says_once_what_it_needs_before_any_candidate(capsys, caplog):
    space = Path("space.py")
    space.write_text(CHECKED.replace("CHECK", "raise ImportError('`space` needs abacus')"))
    assert run(["rank", "space.py", "--on", "here"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "prescreen: `space` needs abacus\n")
    assert not Path("prescreen-runs").exists()
    space.write_text(CHECKED.replace("CHECK", "return f'small images: {image_size}'"))
    assert run(["rank", "space.py", "--on", "here", "--samples", "3", "--steps", "1"]) == 1
    assert capsys.readouterr().err.count("space: small images: (8, 8)") == 1


def test_built_in_spaces_say_it(monkeypatch, capsys, caplog):
    pytest.importorskip("timm")
    for size, said in (((8, 8), 1), ((32, 32), 0), (None, 0)):
        caplog.clear()
        as_candidates("timm_models", 3, sizes={"image_size": size} if size else {})
        assert [*map(str, caplog.messages)].count(SMALL) == said
    monkeypatch.setitem(sys.modules, "timm", None)
    assert run(["rank", "timm_models", "--on", "here"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "prescreen: `timm_models` needs the 'timm' extra: pip install 'prescreen[timm]'"


def test_spaces_are_listed_where_what_they_need_is_not_installed(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "prescreen.search_spaces.detector", raising=False)
    assert run(["spaces"]) == 0
    assert "detector" in capsys.readouterr().out
