"""The weights of a model in files of any origin: entries, prefixes, extra names, foreign objects."""

import argparse
import collections
import contextlib
import dataclasses
import datetime
import enum
import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch
from lowest import later_than
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from prescreen import read, select_checkpoint
from prescreen.tasks import ImageTask

PROBE = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
TASK = ImageTask("noise", PROBE, 3, 1, (4, 4), lambda size, seed: iter(()))


class Net(nn.Module):
    def __init__(self, blocks=1):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU())
        for _ in range(blocks - 1):
            self.body.append(nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, inputs):
        return self.head(self.body(inputs))


def network(seed=0, blocks=1):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return Net(blocks)


WANTED, OTHER = network(1), network(2)
STATE, OTHERS = WANTED.state_dict(), OTHER.state_dict()
VALUE = read(WANTED, PROBE, ["confidence"], batch_statistics=False)


def chosen(file, build=network):
    return select_checkpoint([file], build, TASK, readouts=["confidence"])


def assert_wanted(file, build=network):
    found = chosen(file, build)
    assert found.readings[0].values == VALUE, file
    return found


def refusal(file, build=network):
    with pytest.raises(ValueError, match=r"^checkpoint must ") as caught:
        chosen(file, build)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    assert str(file) in line
    return line


def prefixed(prefix, state=STATE):
    return {prefix + name: value for name, value in state.items()}


PREFIXES = [
    *("", "module.", "_orig_mod.", "model.", "net.", "backbone.", "network.", "classifier."),
    *(
        "model._orig_mod.",
        "_orig_mod.module.",
        "module._orig_mod.",
        "model.model.",
        "module.module.",
    ),
    *("_orig_mod.module.model.", "model.net._orig_mod.", "_fsdp_wrapped_module.", "lit.body_net."),
]
ENTRIES = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": []}},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": 0.3},
    "nested": lambda state: {"model": {"state_dict": state}, "args": argparse.Namespace(lr=0.1)},
    "weights": lambda state: {"weights": state, "metric": np.float64(0.3)},
    "unusual": lambda state: {"generator": {"params": state}, "step": 3},
    "ema": lambda state: {"state_dict": OTHERS, "state_dict_ema": state},
    "model_ema": lambda state: {
        "model": OTHERS,
        "model_ema": {"n_averaged": torch.tensor(2), **state},
    },
    "ema.module": lambda state: {"ema": {"module": state, "decay": 0.9}, "state_dict": OTHERS},
    "loss": lambda state: {"state_dict": {**state, "criterion.weight": torch.ones(3)}},
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_weights_are_found_in_every_entry_behind_every_prefix(tmp_path, entry):
    files = []
    for prefix, new in itertools.product(PREFIXES, (True, False)):
        files.append(tmp_path / f"{new}-{prefix}pt")
        content = ENTRIES[entry](prefixed(prefix))
        torch.save(content, files[-1], _use_new_zipfile_serialization=new)
    if entry == "bare":
        for prefix in PREFIXES:
            files.append(tmp_path / f"{prefix}x.safetensors")
            save_file(prefixed(prefix), files[-1])
    found = select_checkpoint(files, network, TASK, readouts=["confidence"])
    assert len(found.files) == 1  # all hold equal weights
    assert found.readings[0].values == VALUE


def test_names_that_wrappers_add_inside_a_model_are_looked_through(tmp_path):
    for added in ("_orig_mod", "_checkpoint_wrapped_module", "module"):
        inner = {name.replace("body.", f"body.{added}."): value for name, value in STATE.items()}
        torch.save({"state_dict": prefixed("model.", inner)}, tmp_path / "a.pt")
        assert_wanted(tmp_path / "a.pt")


def test_wrapped_models_take_bare_weights_and_the_reverse(tmp_path):
    torch.save(AveragedModel(WANTED).state_dict(), tmp_path / "averaged.pt")
    assert_wanted(tmp_path / "averaged.pt")
    torch.save(nn.DataParallel(WANTED).state_dict(), tmp_path / "parallel.pt")
    assert_wanted(tmp_path / "parallel.pt")


def test_names_of_the_model_that_look_like_prefixes_stay(tmp_path):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.module = network(), nn.Identity()

        def forward(self, inputs):
            return self.module(self.model(inputs))

    for prefix in ("model.", "model.model.", "module.model."):
        torch.save(prefixed(prefix), tmp_path / "a.pt")
        assert_wanted(tmp_path / "a.pt", Outer)


def test_tied_weights_are_stored_once(tmp_path):
    def tied():
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        model[3].weight = model[1].weight
        return model

    model = tied()
    state = {name: value for name, value in model.state_dict().items() if name != "3.weight"}
    save_file(state, tmp_path / "a.safetensors")
    found = chosen(tmp_path / "a.safetensors", tied)
    assert found.readings[0].values == read(model, PROBE, ["confidence"], batch_statistics=False)


# -- which of several weights, and what is said


def test_averaged_weights_are_read_and_that_is_said(tmp_path):
    torch.save({"model": OTHERS, "model_ema": prefixed("module.")}, tmp_path / "a.pt")
    (note,) = assert_wanted(tmp_path / "a.pt").notes
    assert note == (
        "The averaged weights (model_ema.module) were read, not those of model "
        f"({tmp_path / 'a.pt'})."
    )
    few = {"head.weight": OTHERS["head.weight"]}
    torch.save({"model": STATE, "model_ema": {**OTHERS, "head.weight": None}}, tmp_path / "b.pt")
    torch.save({"model": STATE, "model_ema": few}, tmp_path / "c.pt")
    assert "(model_ema) are not complete" in " ".join(assert_wanted(tmp_path / "b.pt").notes)
    assert_wanted(tmp_path / "c.pt")


def test_two_models_with_an_equal_claim_are_refused(tmp_path):
    torch.save({"teacher": STATE, "student": OTHERS}, tmp_path / "a.pt")
    assert "one set of weights of the model, got student and teacher in" in refusal(
        tmp_path / "a.pt"
    )
    torch.save({"teacher": STATE, "student": STATE}, tmp_path / "b.pt")
    assert_wanted(tmp_path / "b.pt")
    decays = {"ema_0.99": STATE, "ema_0.999": OTHERS, "model": OTHERS}
    torch.save(decays, tmp_path / "c.pt")
    assert "got ema_0.99 and ema_0.999 in" in refusal(tmp_path / "c.pt")


def test_extra_names_are_ignored_and_counted(tmp_path):
    extra = {f"criterion.{i}": torch.ones(2) for i in range(1200)}
    for number in range(2):
        torch.save({**STATE, **extra}, tmp_path / f"{number}.pt")
    found = select_checkpoint(
        [tmp_path / "0.pt", tmp_path / "1.pt"], network, TASK, readouts=["confidence"]
    )
    assert found.notes == (
        "Entries that are not of the model were ignored: criterion.0, criterion.1, criterion.2 and "
        f"1,197 more ({tmp_path / '0.pt'} and 1 more).",
    )


def test_a_checkpoint_of_a_deeper_network_is_not_cut(tmp_path):
    torch.save(network(blocks=3).state_dict(), tmp_path / "a.pt")
    assert "the model lacks body.4.weight, body.4.bias, body.5.weight and 1 more" in refusal(
        tmp_path / "a.pt"
    )
    deep = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.Linear(16, 16))
    torch.save(deep.state_dict(), tmp_path / "b.pt")
    assert "the model lacks 2.weight, 2.bias" in refusal(tmp_path / "b.pt", lambda: deep[:2])
    biased = {**STATE, "body.1.scale": torch.ones(8)}
    torch.save(biased, tmp_path / "c.pt")
    assert "the model lacks body.1.scale" in refusal(tmp_path / "c.pt")


def test_counters_and_buffers_that_the_model_makes_itself_may_be_in_the_file(tmp_path):
    def masked():
        model = network()
        model.head.register_buffer("mask", torch.ones(3), persistent=False)
        return model

    more = {"head.mask": torch.ones(3), "body.1.index": torch.ones(3, dtype=torch.long)}
    torch.save({**STATE, **more}, tmp_path / "a.pt")
    assert_wanted(tmp_path / "a.pt", masked)
    assert "the model lacks head.mask" in refusal(tmp_path / "a.pt")


def test_what_is_missing_or_unlike_is_named_in_one_line(tmp_path):
    torch.save(
        {f"layer{i}.{name}": v + i for i in range(9) for name, v in STATE.items()}, tmp_path / "a"
    )
    assert "one set of weights of the model, got layer0 and layer1 in" in refusal(tmp_path / "a")
    torch.save({"head.weight": STATE["head.weight"]}, tmp_path / "b")
    assert "it lacks body.1.weight, body.1.bias, body.2.weight and 4 more" in refusal(
        tmp_path / "b"
    )
    torch.save({**STATE, "head.weight": torch.ones(9, 8)}, tmp_path / "c")
    assert "head.weight is (9, 8) where the model has (3, 8)" in refusal(tmp_path / "c")
    torch.save({"other": torch.ones(2)}, tmp_path / "d")
    assert "it lacks body.1.weight" in refusal(tmp_path / "d")
    torch.save({f"{i}.x": torch.ones(1) for i in range(20_000)}, tmp_path / "e")
    refusal(tmp_path / "e")


# -- objects beside the weights


class Color(enum.Enum):
    RED = 1


class Flagged(enum.IntFlag):
    A = 1


class Attributes(dict):
    pass


class History(list):
    pass


@dataclasses.dataclass
class Config:
    width: int = 3


class Slots:
    __slots__ = ("value",)

    def __init__(self):
        self.value = 1


FOREIGN = {
    "namespace": argparse.Namespace(lr=0.1, out=Path("x"), model=np.int64(3)),
    "numpy": [np.float32(3), np.int64(3), np.bool_(True), np.arange(3), np.array(["a", None])],
    "paths": [Path("a/b"), PurePosixPath("a"), PureWindowsPath("a")],
    "enums": [Color.RED, Flagged.A],
    "mapping": Attributes(a=Attributes(b=1)),
    "default": collections.defaultdict(list, {1: [2]}),
    "list": [History([1, 2]), collections.deque([1], maxlen=3)],
    "config": [Config(), Slots()],
    "time": [datetime.datetime(2020, 1, 1), datetime.timedelta(1)],
    "optimizer": functools.partial(torch.optim.Adam, lr=0.1),
    "model": nn.Linear(2, 2),
    "plain": [{1, 2}, frozenset({1}), slice(1), range(3), 1j, b"x", bytearray(b"x")],
    "random": [np.random.get_state(), torch.get_rng_state()],
    "counter": collections.OrderedDict(a=collections.Counter("aab")),
    "types": [int, torch.float32, torch.device("cpu"), torch.Size([1])],
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind, marks=[later_than("torch", "2.6", "builds no lists")] if kind == "list" else []
        )
        for kind in FOREIGN
    ],
)
def test_foreign_objects_beside_the_weights_do_not_matter(tmp_path, kind):
    content = {"args": FOREIGN[kind], "state_dict": STATE, "epoch": 3}
    torch.save(content, tmp_path / "a.pt")
    assert_wanted(tmp_path / "a.pt")


def test_nothing_stays_allowed_after_a_file_was_read(tmp_path):
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([argparse.Namespace])
    try:
        torch.save({"model": STATE, "args": FOREIGN["namespace"]}, tmp_path / "a.pt")
        assert_wanted(tmp_path / "a.pt")
        assert {*torch.serialization.get_safe_globals()} == {*allowed, argparse.Namespace}
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(allowed)


class Harm:
    """Runs a function with arguments when it is unpickled."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments, *([state] if state else []))

    def __reduce__(self):
        return self.call


HARM = "open('harm', 'w').close()"
HARMFUL = {
    "os.system": Harm(os.system, "touch harm"),
    "eval": Harm(eval, HARM),
    "exec": Harm(exec, HARM),
    "subprocess": Harm(subprocess.Popen, ["touch", "harm"]),
    "method of an allowed type": Harm(Path.touch, Path("harm")),
    "getattr": Harm(getattr, Path("harm"), "touch"),
    "namespace that calls": Harm(argparse.Namespace, state={"__setstate__": Harm(eval, HARM)}),
    "partial": Harm(functools.partial, eval, HARM),
    "numpy": Harm(np.array(0).__reduce__()[0], np.ndarray, (0,), Harm(eval, HARM)),
    "default": collections.defaultdict(functools.partial(eval, HARM)),
    "import": Harm(__import__, "harmful_module"),
    "other package": Harm(torch.utils.cpp_extension.load, "harm")
    if "torch.utils.cpp_extension" in sys.modules
    else Harm(torch.hub.load, "a/b", "harm"),
}


@pytest.mark.parametrize("kind", HARMFUL)
def test_no_file_runs_code(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harmful_module.py").write_text(HARM)
    monkeypatch.syspath_prepend(tmp_path)
    for new in (True, False):
        content = {"state_dict": STATE, "args": HARMFUL[kind]}
        torch.save(content, "a.pt", _use_new_zipfile_serialization=new)
        with contextlib.suppress(ValueError):
            assert_wanted(Path("a.pt"))
    assert not (tmp_path / "harm").exists()
    torch.save(HARMFUL[kind], "b.pt")
    refusal(Path("b.pt"))
    assert not (tmp_path / "harm").exists()


def test_functions_of_python_in_a_file_are_named(tmp_path):
    torch.save({"state_dict": STATE, "x": HARMFUL["eval"]}, tmp_path / "a.pt")
    assert refusal(tmp_path / "a.pt").endswith("a.pt, which asks for builtins.eval")


def test_whole_models_damaged_files_and_what_is_no_file_are_one_line(tmp_path):
    torch.save(WANTED, tmp_path / "model.pt")
    assert "must hold a state dict, got an object of test_weights.Net in" in refusal(
        tmp_path / "model.pt"
    )
    torch.save(STATE, tmp_path / "whole.pt")
    encoded = (tmp_path / "whole.pt").read_bytes()
    for name, content in {
        "empty.pt": b"",
        "empty.safetensors": b"",
        "text.pt": b"hello there",
        "half.pt": encoded[: len(encoded) // 2],
        "half.safetensors": encoded[: len(encoded) // 2],
    }.items():
        (tmp_path / name).write_bytes(content)
        refusal(tmp_path / name)
    (tmp_path / "folder.pt").mkdir()
    assert refusal(tmp_path / "folder.pt").endswith("folder.pt, which is no file")
    os.mkfifo(tmp_path / "pipe.pt")
    assert refusal(tmp_path / "pipe.pt").endswith("pipe.pt, which is no file")
    refusal(tmp_path / "absent.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    assert "got an object of list in" in refusal(tmp_path / "list.pt")


def test_entries_that_hold_one_another_are_looked_at_once(tmp_path):
    content = {"model": STATE}
    content |= {f"entry{i}": content for i in range(200)}
    torch.save(content, tmp_path / "a.pt")
    assert_wanted(tmp_path / "a.pt")


def test_a_function_that_builds_no_network_is_one_line(tmp_path):
    torch.save(STATE, tmp_path / "a.pt")

    def needs(width):
        return network()

    with pytest.raises(
        ValueError, match=r"^`models` must build a network from .*, got needs, .* TypeError: "
    ):
        chosen(tmp_path / "a.pt", needs)
