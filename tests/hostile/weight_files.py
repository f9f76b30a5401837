"""Checkpoint files to select from: what is read are the weights in the file, or it is refused."""

import argparse
import json
import math
import os
import pickle
import shutil
import struct

import numpy as np
import torch
import toy
from judge import refusing
from kinds import Kind, in_file
from mutators import BYTES, JSON, ZIP

from prescreen import Monitor, select_checkpoint
from prescreen.files import load_state

READOUT = ["confidence"]  # needs no other file than its own
CANARY = "../../CANARY"


def model(step):
    torch.manual_seed(step)
    return toy.mlp(4)


def build():
    return toy.mlp(4)


def value_of(network):
    return Monitor(toy.make_task().probe, readouts=READOUT).read(network, 0).values[READOUT[0]]


def prepare(folder):
    from safetensors.torch import save_file

    for step in (1, 2):
        save_file(model(step).state_dict(), folder / f"step-{step}.safetensors")
    torch.save(model(3).state_dict(), folder / "step-3.pt")
    whole = {"epoch": 4, "state_dict": model(4).state_dict(), "lr": 0.1}
    torch.save(whole, folder / "step-4.pt")
    return {path.name: value_of(model(int(path.stem[5:]))) for path in folder.iterdir()}


def check(folder, right):
    files = sorted(folder.glob("step-*"))
    with refusing():
        ranking = select_checkpoint(files, build, toy.make_task(), readouts=READOUT)
    for file, reading in zip(ranking.files, ranking.readings, strict=True):
        value = reading.values[READOUT[0]]
        assert same(value, right[file.name]) or same(value, in_the_file(file)), (
            f"{file.name} read as {value}"
        )


def same(a, b):
    return a == b or math.isclose(a, b, rel_tol=1e-5) or (math.isnan(a) and math.isnan(b))


def in_the_file(file):
    """The reading of the weights in a file: of all tensors whose names end as the model's do."""
    content = load_state(file)
    for entry in ("state_dict", "model"):
        content = content.get(entry, content)
    network = build()
    own = {
        name: next(value for key, value in content.items() if key.endswith(name))
        for name in network.state_dict()
    }
    network.load_state_dict(own)
    return value_of(network)


class Code:
    """Pickled code: whoever unpickles it writes the canary."""

    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


ATTACKS = (
    (os.system, (f"touch {CANARY}",)),
    (exec, (f"open({CANARY!r}, 'w')",)),
    (open, (CANARY, "w")),
    (shutil.copy, ("step-1.safetensors", CANARY)),
)


def _attack(dice, folder):
    content = {**model(3).state_dict(), "extra": Code(dice.choice(ATTACKS))}
    if dice.random() < 0.5:
        torch.save(content, folder / "step-3.pt")
    else:
        (folder / dice.choice(["step-3.pt", "step-1.safetensors"])).write_bytes(
            pickle.dumps(content)
        )


def _saved(change):
    """Another content of a file of torch.save."""

    def write(dice, folder):
        torch.save(change(dice, dict(model(3).state_dict())), folder / "step-3.pt")

    return write


def _prefixed(dice, weights):
    prefixes = ("module.", "_orig_mod.", "model.", "net.", "backbone.")
    prefix = "".join(dice.choices(prefixes, k=dice.randint(1, 3)))
    extra = {"criterion.weight": torch.ones(3), "n_averaged": torch.tensor(2)}
    return {f"{prefix}{key}": value for key, value in weights.items()} | extra


def _beside(dice, weights):
    odd = (argparse.Namespace(lr=0.1), np.float64(0.5), np.arange(3), {1, 2}, torch.float16, 1j)
    return {"state_dict": weights, "args": dice.choice(odd)}


def _one_tensor(change):
    def changed(dice, weights):
        key = dice.choice(list(weights))
        return {**weights, key: change(weights[key])}

    return _saved(changed)


CONTENTS = {
    "code": _attack,
    "prefixes": _saved(_prefixed),
    "objects beside": _saved(_beside),
    "missing key": _saved(lambda dice, weights: dict(list(weights.items())[1:])),
    "extra key": _saved(lambda dice, weights: {**weights, "9.weight": torch.ones(2)}),
    "nested deep": _saved(lambda dice, weights: {"a": {"b": {"state_dict": weights}}}),
    "not a dict": _saved(
        lambda dice, _: dice.choice([None, 1, [], "x", torch.ones(3), {}, {1: 2}])
    ),
    "double": _one_tensor(lambda value: value.double()),
    "integers": _one_tensor(lambda value: (100 * value).int()),
    "complex": _one_tensor(lambda value: value + 1j),
    "sparse": _one_tensor(lambda value: value.to_sparse()),
    "another shape": _one_tensor(lambda value: value[..., :1]),
    "transposed": _one_tensor(lambda value: value.T if value.ndim == 2 else value[None]),
    "not a tensor": _one_tensor(lambda value: value.tolist()),
    "NaN": _one_tensor(lambda value: value * math.nan),
    "huge": _one_tensor(lambda value: value * 1e38),
}


def _header(change):
    """A change of the JSON header of a safetensors file, whose length is put right."""

    def changed(dice, data):
        (length,) = struct.unpack("<Q", data[:8])
        header = change(dice, data[8 : 8 + length])
        return struct.pack("<Q", len(header)) + header + data[8 + length :]

    return changed


def _long_header(dice, data):
    return struct.pack("<Q", dice.choice([0, 2**63, 2**64 - 1, len(data)])) + data[8:]


def _offsets(dice, header):
    content = json.loads(header)
    entry = content[dice.choice([key for key in content if key != "__metadata__"])]
    entry["data_offsets"] = [dice.choice([-8, 0, 4, 8, 2**62]), dice.choice([0, 8, 16, 2**62])]
    return json.dumps(content).encode()


HEADERS = {"header length": _long_header, "offsets": _header(_offsets)} | {
    f"header: {name}": _header(mutator) for name, mutator in JSON.items()
}
KIND = Kind(
    prepare,
    {
        **CONTENTS,
        **in_file("*.safetensors", HEADERS),
        **in_file("*.pt", ZIP),
        **in_file("step-*", BYTES),
    },
    check,
    cases=170,
)
