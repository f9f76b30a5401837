"""What tensors held is kept and written back, together or one by one."""

import pytest
import torch
from torch import nn

from prescreen.heads.values import Values

KINDS = {
    "floats": [torch.arange(3.0), torch.ones(2, 2), torch.zeros(())],
    "one": [torch.arange(4.0)],
    "of several kinds": [
        torch.arange(3),
        torch.ones(3),
        torch.ones(2).bool(),
        torch.tensor(1 + 2j),
    ],
    "not contiguous": [torch.arange(6.0).view(2, 3).T, torch.arange(4.0)[::2]],
    "not a number": [torch.tensor([torch.nan, torch.inf]), torch.zeros(2)],
    "large": [torch.zeros(1 << 17), torch.ones(3)],
    "empty": [torch.zeros(0), torch.ones(2)],
    "parameters": [nn.Parameter(torch.ones(3)), torch.ones(2)],
}


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_restored(kind):
    tensors = [one.clone() for one in KINDS[kind]]
    if kind == "parameters":
        tensors[0] = nn.Parameter(tensors[0])
    values = Values([*tensors, tensors[0]])
    for number, one in enumerate(tensors):
        if number != 1:
            one.zero_()
    values.restore()
    for one, before in zip(tensors, KINDS[kind], strict=True):
        assert torch.equal(one.nan_to_num(7), before.nan_to_num(7))


@torch.no_grad()
def test_what_did_not_change_is_not_written():
    changed, same, *_ = tensors = [torch.zeros(2), torch.ones(3), torch.ones(())]
    values = Values(tensors)
    versions = [one._version for one in tensors]
    values.restore()
    assert [one._version for one in tensors] == versions
    changed.data.fill_(5)  # which torch does not count
    values.restore()
    assert same._version == versions[1]
    assert changed.tolist() == [0, 0]
