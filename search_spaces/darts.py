"""DARTS: a normal and a reduction cell of four nodes, two of seven operations into each.

Batch normalisations inside of operations have no weight and bias, as during DARTS' own search and in
the networks whose sizes are published; those of the stem and at the entry of cells have. With affine
ones throughout, networks of 32 channels and 8 cells have 3,200 to 15,232 parameters (median 8,960) more
than the published sizes.

References: Liu et al. 2019, arXiv 1806.09055; with published accuracies, predicted by a surrogate:
NAS-Bench-301, Zela et al. 2022, arXiv 2008.09777.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

# Operation -> its short name in tables.
OPERATIONS = {
    "max_pool_3x3": "max",
    "avg_pool_3x3": "avg",
    "skip_connect": "skip",
    "sep_conv_3x3": "sep3",
    "sep_conv_5x5": "sep5",
    "dil_conv_3x3": "dil3",
    "dil_conv_5x5": "dil5",
}
CELLS = ("normal", "reduce")

# Nodes 0 and 1 are the outputs of the two cells before; all others are concatenated.
NODES = range(2, 6)


def sample(trial: Any) -> dict[str, str]:
    """Draw both cells: for every node two earlier ones, and the operation on each."""
    config = {}
    for cell in CELLS:
        edges = []
        for node in NODES:
            pairs = [f"{a},{b}" for a, b in itertools.combinations(range(node), 2)]
            sources = trial.suggest_categorical(f"{cell}_{node}_inputs", pairs).split(",")
            for place, source in zip(("first", "second"), sources, strict=True):
                key = f"{cell}_{node}_{place}"
                edges.append(f"{trial.suggest_categorical(key, list(OPERATIONS))}~{source}")
        config[cell] = "|".join(edges)
    return config


def name(config: Mapping[str, str]) -> str:
    """What enters the nodes of both cells, such as ``sep3~0,skip~1|max~0,sep5~2|... ...``."""
    genotype = _parse(config)
    return " ".join(
        "|".join(
            ",".join(f"{OPERATIONS[operation]}~{source}" for operation, source in pair)
            for pair in zip(genotype[cell][::2], genotype[cell][1::2], strict=True)
        )
        for cell in CELLS
    )


def build(
    config: Mapping[str, str],
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int | tuple[int, int] | None = None,
    channels: int = 8,
    cells: int = 5,
) -> nn.Module:
    """A network of normal cells with a reduction cell at one and at two thirds of its depth.

    The defaults make a small network for brief training. The networks whose sizes are published have
    ``channels=32, cells=8``.

    Args:
        config: ``normal`` and ``reduce``, each the eight edges ``operation~source`` joined by ``|``,
            two a node. Other entries, such as the draws that Ray Tune's OptunaSearch adds, are
            ignored.
        num_classes: K.
        in_channels: channels of the images.
        image_size: ignored: the network takes every size.
        channels: channels of the first cells' nodes; doubled by every reduction.
        cells: cells of both kinds.

    Raises:
        ValueError: the config is not a genotype, or there are fewer than 2 channels or 3 cells.
    """
    for argument, size, least in (("channels", channels, 2), ("cells", cells, 3)):
        if size < least:
            raise ValueError(f"`{argument}` must be at least {least}, got {size}")
    return Network(_parse(config), num_classes, in_channels, channels, cells).to(
        memory_format=torch.channels_last
    )


class Network(nn.Module):
    """Stem, cells that each take the outputs of the two before, and a linear head."""

    def __init__(
        self,
        genotype: Mapping[str, list[tuple[str, int]]],
        num_classes: int,
        in_channels: int,
        channels: int,
        cells: int,
    ) -> None:
        super().__init__()
        before = last = 3 * channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, last, 3, padding=1, bias=False), nn.BatchNorm2d(last)
        )
        self.cells = nn.ModuleList()
        halved = False
        for number in range(cells):
            reduction = number in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduction else 1
            edges = genotype["reduce" if reduction else "normal"]
            self.cells.append(Cell(edges, before, last, channels, reduction, halved))
            before, last, halved = last, len(NODES) * channels, reduction
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to logits (N, K)."""
        before = last = self.stem(x)
        for cell in self.cells:
            before, last = last, cell(before, last)
        logits: Tensor = self.classifier(self.pool(last))
        return logits


class Cell(nn.Module):
    """Four nodes, each the sum of two operations; their concatenation is the output.

    Args:
        edges: operation and source, two a node.
        before: channels of the output of the cell before the last.
        last: channels of the output of the last cell.
        channels: of every node.
        reduction: halve the resolution.
        halved: the last cell did, so the output of the one before it is halved on entering.
    """

    def __init__(
        self,
        edges: list[tuple[str, int]],
        before: int,
        last: int,
        channels: int,
        reduction: bool,
        halved: bool,
    ) -> None:
        super().__init__()
        enter = FactorizedReduce if halved else _relu_conv_bn
        self.entries = nn.ModuleList([enter(before, channels), _relu_conv_bn(last, channels)])
        self.sources = [source for _, source in edges]
        self.operations = nn.ModuleList(
            _operation(operation, channels, 2 if reduction and source < 2 else 1)
            for operation, source in edges
        )

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        """Map the outputs of two cells to one with four times the channels of a node."""
        values = [entry(x) for entry, x in zip(self.entries, (before, last), strict=True)]
        entering = zip(self.operations, self.sources, strict=True)
        for _ in NODES:
            (first, a), (second, b) = next(entering), next(entering)
            values.append(first(values[a]) + second(values[b]))
        return torch.cat(values[2:], 1)


class FactorizedReduce(nn.Module):
    """Half the resolution by two 1×1 convolutions, the second one pixel aside; ReLU first."""

    def __init__(self, in_channels: int, channels: int, affine: bool = True) -> None:
        super().__init__()
        halves = channels // 2, channels - channels // 2
        self.convolutions = nn.ModuleList(
            nn.Conv2d(in_channels, half, 1, stride=2, bias=False) for half in halves
        )
        self.normalization = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', ⌈H/2⌉, ⌈W/2⌉)."""
        x = torch.relu(x)
        # An odd side has no last pixel aside: it is zero.
        aside = nn.functional.pad(x[:, :, 1:, 1:], (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        shifted = zip(self.convolutions, (x, aside), strict=True)
        out: Tensor = self.normalization(torch.cat([conv(part) for conv, part in shifted], 1))
        return out


def _parse(config: Mapping[str, str]) -> dict[str, list[tuple[str, int]]]:
    """Both cells as lists of (operation, source); checks the config."""
    if not config.keys() >= set(CELLS):
        raise ValueError(f"`config` must have the keys normal and reduce, got {[*config]}")
    return {cell: _parse_cell(cell, config[cell]) for cell in CELLS}


def _parse_cell(cell: str, text: str) -> list[tuple[str, int]]:
    edges = [tuple(edge.split("~")) for edge in text.split("|")]
    nodes = [node for node in NODES for _ in range(2)]
    fits = len(edges) == len(nodes) and all(
        len(edge) == 2 and edge[0] in OPERATIONS and edge[1] in map(str, range(node))
        for edge, node in zip(edges, nodes, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`{cell}` must be 8 edges operation~source joined by |, two a node, each of an earlier "
            f"node and one of {', '.join(OPERATIONS)}, got {text!r}"
        )
    return [(operation, int(source)) for operation, source in edges]


def _operation(operation: str, channels: int, stride: int) -> nn.Module:
    if operation == "skip_connect":
        halve = FactorizedReduce(channels, channels, affine=False)
        return nn.Identity() if stride == 1 else halve
    kernel = int(operation[-1])
    if operation == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, padding=1)
    if operation == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    if operation.startswith("dil"):
        return _depthwise(channels, kernel, stride, dilation=2)
    return nn.Sequential(_depthwise(channels, kernel, stride), _depthwise(channels, kernel, 1))


def _depthwise(channels: int, kernel: int, stride: int, dilation: int = 1) -> nn.Module:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(
            *(channels, channels, kernel, stride, padding, dilation),
            groups=channels,
            bias=False,
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=False),
    )


def _relu_conv_bn(in_channels: int, channels: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
    )
