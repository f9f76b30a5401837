"""Trees of tensors: moved, mapped and walked."""

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn

from prescreen.trees import map_tensors, modules_of, tensors_in, to_device


class Pair(NamedTuple):
    one: Tensor
    other: Tensor


class Movable:
    device = "cpu"

    def to(self, device):
        moved = Movable()
        moved.device = device.type
        return moved


def test_trees_are_moved_whole():
    one = torch.ones(2)
    tree = {"a": [one, (one, "text", None)], "b": Pair(one, one), "c": Movable(), "d": {"e": 3}}
    moved = to_device(OrderedDict(tree), "meta")
    assert {tensor.device.type for tensor in tensors_in(moved)} == {"meta"}
    assert len([*tensors_in(moved)]) == 4
    assert isinstance(moved["b"], Pair)
    assert isinstance(moved["a"][1], tuple)
    assert moved["a"][1][1:] == ("text", None)
    assert moved["c"].device == "meta"
    assert moved["d"] == {"e": 3}
    assert one.device.type == "cpu"


def test_what_is_on_the_device_is_not_copied():
    one = torch.ones(2)
    assert to_device({"a": (one,)}, "cpu")["a"][0] is one


def test_mapping_keeps_the_tree():
    tree = {"a": [torch.ones(2), "text"], "b": (torch.zeros(1), None)}
    mapped = map_tensors(tree, lambda tensor: tensor.shape)
    assert mapped == {"a": [torch.Size([2]), "text"], "b": (torch.Size([1]), None)}


def test_modules_are_in_the_order_of_torch():
    shared = nn.Linear(2, 2)
    inner = nn.Sequential(shared, nn.ReLU(), nn.Sequential(nn.Linear(2, 2), shared))
    model = nn.ModuleDict({"a": inner, "b": nn.ModuleList([shared, inner, nn.Tanh()])})
    model.register_module("nothing", None)
    model["b"].append(model["a"][2])
    assert [*map(id, modules_of(model))] == [*map(id, model.modules())]
