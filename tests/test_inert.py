"""What is written is read back as it was, or refused by name; nothing that is read is executed."""

import datetime
import random
import warnings
from argparse import Namespace
from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from prescreen import CheckpointSelector, Reading

# torch warns of kinds that are new or will go when they are made, and when they are read.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Colour(Enum):
    RED = 1


class Level(IntEnum):
    LOW = 1


class Own(torch.Tensor):
    pass


Point = namedtuple("Point", "x y")


@dataclass
class Settings:
    rate: float = 0.1


WHOLE = torch.arange(12.0).reshape(3, 4)
COMPLEX = torch.tensor([1 + 2j, 3 - 1j])
KINDS = {one for one in vars(torch).values() if isinstance(one, torch.dtype)}
PART_BYTES = {one for one in KINDS if str(one)[6:].strip("uint").isdigit() and one.itemsize == 1}
PART_BYTES -= {torch.int8, torch.uint8}
QUANTISED = {one for one in KINDS if str(one).startswith("torch.q")}


def of_kind(kind):
    return torch.arange(48, dtype=torch.uint8)[: 3 * kind.itemsize].view(kind)


def noisy(optimizer):
    layer = nn.Linear(3, 2)
    one = optimizer(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 3)).sum().backward()
    one.step()
    return one.state_dict()


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    RARE = {
        "quantised": torch.quantize_per_tensor(WHOLE, 0.1, 0, torch.qint8),
        "quantised by channel": torch.quantize_per_channel(
            WHOLE, torch.ones(3), torch.zeros(3), 0, torch.quint8
        ),
        "COO": WHOLE.to_sparse(),
        "CSR": WHOLE.to_sparse_csr(),
        "CSC": WHOLE.to_sparse_csc(),
        "BSR": torch.eye(4).to_sparse_bsr((2, 2)),
    }
    NESTED = {
        "nested": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
        "NestedTensor": torch.nested.nested_tensor([torch.ones(1)], layout=torch.jagged),
        "matrix": np.asmatrix([1.0]),
    }
TENSORS = {
    **RARE,
    **{
        str(kind): of_kind(kind)
        for kind in sorted(KINDS - PART_BYTES - QUANTISED - {torch.bool}, key=str)
    },
    "bool": torch.tensor([True, False]),
    "transposed": WHOLE.t(),
    "strided": WHOLE[::2, 1::2],
    "expanded": torch.ones(1).expand(5),
    "conjugated": COMPLEX.conj(),
    "negated": COMPLEX.conj().imag,
    "without dimensions": torch.tensor(3),
    "empty": torch.zeros(0, 3),
    "channels last": torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
    "with gradient": torch.ones(2, requires_grad=True),
    "parameter": nn.Parameter(torch.ones(2)),
}
PLAIN = {
    "None": None,
    "numbers": [True, 3, 2**80, -1.5, float("inf"), 1 + 2j],
    "text": ["", "é", "\ud800", b"", b"\0x", bytearray(b"y")],
    "tuples": ((), (1,), (1, (2, [3]))),
    "sets": [set(), {1, "a"}, frozenset(), frozenset({(1, 2)})],
    "integer keys": {0: "a", -5: {2**70: "b"}, (1, "x"): None, 1.5: 2, None: 3, True: 4},
    "ordered": OrderedDict(b=1, a=2),
    "counter": Counter("aab"),
    "namespace": Namespace(a=1, b=[Namespace(c=(2,))]),
    "torch": [torch.Size([1, 2]), torch.float16, torch.device("cuda", 1), torch.strided],
    "times": [
        datetime.date(2026, 1, 2),
        datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
        datetime.time(3),
        datetime.timedelta(1),
    ],
    "others": [Decimal("1.10"), Path("a/b")],
    "NumPy numbers": [np.float64(0.1), np.float32(3), np.int64(2), np.uint8(7), np.bool_(True)],
    "more NumPy": [np.str_("a"), np.bytes_(b"b"), np.datetime64("2026-01-02"), np.complex64(1j)],
    "random.getstate": random.getstate(),
    "numpy.random.get_state": np.random.RandomState(0).get_state(),
    "numpy.random.default_rng": np.random.default_rng(0).bit_generator.state,
    "torch.get_rng_state": torch.get_rng_state(),
    "SGD": noisy(torch.optim.SGD),
    "Adam": noisy(torch.optim.Adam),
}
ARRAYS = {
    **{char: np.zeros((2, 3), char) for char in "?bhiqBHIQefdFDSUMm"},
    "Fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "other bytes": np.arange(3, dtype=">i4"),
    "no rows": np.ones((0, 3)),
    "no dimensions": np.array(4),
}
UNKEPT = {
    "Colour": Colour.RED,
    "Level": Level.LOW,
    "Point": Point(1, 2),
    "Settings": Settings(),
    "function": lambda: None,
    "type": dict,
    "defaultdict": defaultdict(list),
    "deque": deque([1]),
    "Fraction": Fraction(1, 2),
    "UserDict": UserDict(),
    "range": range(3),
    "Generator": torch.Generator(),
    "storage": WHOLE.untyped_storage(),
    "memory_format": torch.channels_last,
    "object": np.array([None]),
    "MaskedArray": np.ma.masked_array([1.0]),
    "'a'": np.zeros(2, [("a", "i4")]),
    "meta": torch.empty(2, device="meta"),
    "Own": WHOLE.as_subclass(Own),
    **NESTED,
    "UninitializedParameter": nn.LazyLinear(2).weight,
    **{
        str(kind): torch.empty(2, dtype=torch.uint8).view(kind)
        for kind in sorted(PART_BYTES, key=str)
    },
}


def equal(left, right):
    if type(left) is not type(right):
        return False
    if isinstance(left, torch.Tensor):
        alike = left.dtype == right.dtype and left.layout == right.layout
        alike &= left.shape == right.shape and left.requires_grad == right.requires_grad
        if left.is_quantized:
            return alike and torch.equal(left, right)
        if left.layout is not torch.strided:
            return alike and torch.equal(left.to_dense(), right.to_dense())
        return alike and memory(left) == memory(right)
    if isinstance(left, np.ndarray):
        return left.dtype.kind == right.dtype.kind and np.array_equal(left, right)
    if isinstance(left, dict):
        return [*left] == [*right] and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Namespace):
        return equal(vars(left), vars(right))
    return left == right


def memory(tensor):
    """The bytes of its elements, in their order."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).tolist()


def written_and_read(folder, state):
    with CheckpointSelector(folder) as selector:
        selector.update(Reading(1, {"stable_information": 1.0}), state)
    return CheckpointSelector(folder).load()


@pytest.mark.parametrize("name", TENSORS)
def test_every_tensor_is_read_back(tmp_path, name):
    state = {"weight": WHOLE, "other": TENSORS[name]}
    assert equal(written_and_read(tmp_path / "a", state), state)
    deep = {"optimizer": {"state": {0: [TENSORS[name]]}}, "name": name}
    assert equal(written_and_read(tmp_path / "b", deep), deep)


@pytest.mark.parametrize("name", [*PLAIN, *ARRAYS])
def test_every_plain_value_is_read_back(tmp_path, name):
    state = {"weight": WHOLE, "more": {**PLAIN, **ARRAYS}[name]}
    assert equal(written_and_read(tmp_path, state), state)


@pytest.mark.parametrize("name", UNKEPT)
@pytest.mark.parametrize("place", ["[3]['a'][0]", "[3].keys()[0]"])
def test_what_cannot_be_kept_is_refused_before_anything_is_replaced(tmp_path, name, place):
    value = UNKEPT[name]
    try:
        tree = {3: {"a": [value]} if place.endswith("[0]") and "'a'" in place else {value: 1}}
    except TypeError:
        return  # no key
    with CheckpointSelector(tmp_path) as selector:
        selector.update(Reading(1, {"stable_information": 1.0}), {"weight": WHOLE})
        with pytest.raises(ValueError, match=r"^`state` must hold tensors and plain ") as caught:
            selector.update(Reading(2, {"stable_information": 2.0}), tree)
        assert name in str(caught.value)
        assert str(caught.value).endswith(f" at state{place}")
        assert selector.best.step == 1
    assert equal(CheckpointSelector(tmp_path).load(), {"weight": WHOLE})
    assert not [*tmp_path.glob("step-00000002*"), *tmp_path.glob(".step*")]


def test_shared_memory_stays_shared_and_trees_may_contain_themselves(tmp_path):
    tree = {"a": WHOLE, "b": WHOLE[0], "c": WHOLE}
    tree["tree"] = tree
    read = written_and_read(tmp_path, tree)
    assert read["tree"]["tree"] is read["tree"]
    read["a"][0, 0] = 7
    assert read["b"][0] == read["c"][0, 0] == 7
    deep = []
    for _ in range(5000):
        deep = [deep]
    with CheckpointSelector(tmp_path / "deep") as selector, pytest.raises(ValueError, match="deep"):
        selector.update(Reading(1, {"stable_information": 1.0}), {"deep": deep})


class Versioned(nn.Module):
    _version = 7

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.found = None

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        self.found = local_metadata.get("version")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


@pytest.mark.parametrize("tied", [False, True])
def test_the_order_of_names_and_the_versions_of_modules_are_read_back(tmp_path, tied):
    model = nn.ModuleDict({"z": Versioned(), "a": nn.BatchNorm1d(2), "m": nn.Linear(2, 2)})
    if tied:
        model["t"] = model["m"]
    with CheckpointSelector(tmp_path) as selector:
        selector.update(Reading(1, {"stable_information": 1.0}), model)
        assert (selector.path().suffix == ".pt") == tied
        state = selector.load()
    assert [*state] == [*model.state_dict()]
    model.load_state_dict(state)
    assert model["z"].found == 7


def test_names_that_safetensors_cannot_hold_are_kept(tmp_path):
    for place, state in enumerate([{}, {"__metadata__": WHOLE}, {"é": WHOLE}, {"": WHOLE}]):
        assert equal(written_and_read(tmp_path / str(place), state), state)
