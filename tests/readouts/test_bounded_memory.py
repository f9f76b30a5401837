"""A head of 25,000 classes is read without a second matrix of its predictions."""

from __future__ import annotations

import oracle
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import prescreen.predictions
from prescreen.captured import Capture
from prescreen.readouts import READOUTS, get_readout


class Allocations(TorchDispatchMode):
    """Records the largest tensor that a block of code creates, and the most bytes alive at once."""

    def __init__(self, *known):
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._alive = {}
        self.largest = self.peak_bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._known:
                    self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
                    self.largest = max(self.largest, storage.nbytes() // tensor.element_size())
        self._alive = {key: s for key, s in self._alive.items() if not s[0].expired()}
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._alive.values()))
        return result


BLOCK = 1 << 17
N, D, K = 64, 32, 25_000
FLOAT, HALF = torch.float32, torch.bfloat16


@pytest.fixture(scope="module")
def wide_tensors():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(N, D, generator=generator)
    w = torch.randn(K, D, generator=generator) / 8
    return {dtype: [t.to(dtype) for t in (z, z @ w.T, w)] for dtype in (FLOAT, HALF)}


# An eigenvector of the curvature has the size of the weight.
OF_WEIGHT = ("curvature_largest", "sharpness_second_order")
HEAD = [name for name, readout in READOUTS.items() if readout.needs[0] == "head"]
HEAD = [name for name in HEAD if name not in OF_WEIGHT]
POINTS = [p for p in oracle.points("softmax", ["none"]) if p.split("/")[1] not in OF_WEIGHT]
CASES = [(name, FLOAT) for name in [*HEAD, *POINTS]]
CASES += [(name, HALF) for name in HEAD]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_large_vocabulary_costs_no_second_matrix(wide_tensors, monkeypatch, name, dtype):
    monkeypatch.setattr(prescreen.predictions, "BLOCK_ELEMENTS", BLOCK)
    assert N * K > 12 * BLOCK
    tensors = wide_tensors[dtype]
    readout, capture = get_readout(name), Capture(*tensors)
    others = [Capture(*tensors) for _ in readout.needs[1:]]
    with Allocations(*tensors) as allocations:
        readout(capture, *others)
        if "/" in name and name.split("/")[1] in oracle.MEANS:
            readout.per_sample(capture)
    assert allocations.largest <= BLOCK
    # Float64 copies and temporaries of one expression: a few blocks, not the matrix.
    assert allocations.peak_bytes <= 8 * BLOCK * 4


@pytest.mark.parametrize("name", OF_WEIGHT)
def test_the_largest_curvature_costs_a_few_matrices_of_the_size_of_the_weight(
    wide_tensors, monkeypatch, name
):
    monkeypatch.setattr(prescreen.predictions, "BLOCK_ELEMENTS", BLOCK)
    monkeypatch.setattr("prescreen.readouts.linear_algebra._MAX_STEPS", 5)
    tensors = wide_tensors[FLOAT]
    with Allocations(*tensors) as allocations:
        get_readout(name)(Capture(*tensors))
    assert allocations.largest <= K * D
    assert allocations.peak_bytes <= (5 * K * D + 8 * BLOCK) * 4


def test_allocations_are_seen():
    x = torch.zeros(1000)
    with Allocations(x) as allocations:
        y = x + 1
        z = y * 2
        del y
        (z[:10].double() + 1).sum()
    assert allocations.largest == 1000
    assert 8000 <= allocations.peak_bytes < 8400
