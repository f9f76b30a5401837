"""NAS-Bench-201: all 15,625 cells of six edges and five operations.

Reference: Dong & Yang 2020, arXiv 2001.00326.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# Operation -> its short name in tables.
OPERATIONS = {
    "none": "none",
    "skip_connect": "skip",
    "nor_conv_1x1": "1x1",
    "nor_conv_3x3": "3x3",
    "avg_pool_3x3": "pool",
}

# Node 0 is the cell's input, node 3 its output; an edge is (to node, from node).
OUTPUT = 3
EDGES = tuple((to, source) for to in range(1, OUTPUT + 1) for source in range(to))


def sample(trial: Any) -> dict[str, str]:
    """Draw the operation of each of the six edges."""
    return {_key(edge): trial.suggest_categorical(_key(edge), list(OPERATIONS)) for edge in EDGES}


def grid() -> Iterable[dict[str, str]]:
    """All 15,625 configs, the last edge varying fastest."""
    for operations in itertools.product(OPERATIONS, repeat=len(EDGES)):
        yield {_key(edge): operation for edge, operation in zip(EDGES, operations, strict=True)}


def name(config: Mapping[str, str]) -> str:
    """The edges into node 1 | node 2 | node 3, such as ``3x3|1x1,skip|none,pool,3x3``."""
    operations = _operations(config)
    return "|".join(
        ",".join(OPERATIONS[operations[to, source]] for source in range(to))
        for to in range(1, OUTPUT + 1)
    )


def to_arch(config: Mapping[str, str]) -> str:
    """The benchmark's notation, such as ``|none~0|+|none~0|none~1|+|none~0|none~1|none~2|``."""
    operations = _operations(config)
    return "+".join(
        "|" + "".join(f"{operations[to, source]}~{source}|" for source in range(to))
        for to in range(1, OUTPUT + 1)
    )


def from_arch(arch: str) -> dict[str, str]:
    """The config of a string in the benchmark's notation.

    Raises:
        ValueError: the nodes, edges or operations are not those of a cell.
    """
    nodes = r"\+".join(
        r"\|" + "".join(rf"(\w+)~{source}\|" for source in range(to)) for to in range(1, OUTPUT + 1)
    )
    match = re.fullmatch(nodes, arch)
    if match is None:
        raise ValueError(f"`arch` must be like |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, got {arch!r}")
    unknown = [operation for operation in match.groups() if operation not in OPERATIONS]
    if unknown:
        allowed = ", ".join(OPERATIONS)
        raise ValueError(f"`arch` must have operations of {allowed}, got {unknown[0]!r}")
    return {_key(edge): operation for edge, operation in zip(EDGES, match.groups(), strict=True)}


def build(
    config: Mapping[str, str],
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int | tuple[int, int] | None = None,
    channels: int = 8,
    cells_per_stage: int = 1,
) -> nn.Module:
    """A network of three stages of equal cells, for images of any size.

    The defaults make a small network for brief training; the published networks have
    ``channels=16, cells_per_stage=5``.

    Args:
        config: the six edges as `sample` returns them, or ``{"arch": "|nor_conv_3x3~0|+..."}``.
        num_classes: K.
        in_channels: channels of the images.
        image_size: ignored: the network takes every size.
        channels: channels of the first stage; the second has twice, the third four times as many.
        cells_per_stage: cells in each of the three stages.

    Raises:
        ValueError: an edge is missing or its operation is unknown, or a size is below 1.
    """
    operations = _operations(config)
    for argument, size in (("channels", channels), ("cells_per_stage", cells_per_stage)):
        if size < 1:
            raise ValueError(f"`{argument}` must be at least 1, got {size}")
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    ]
    for stage in range(3):
        width = channels << stage
        if stage > 0:
            layers.append(ReductionBlock(width // 2, width))
        layers.extend(Cell(operations, width) for _ in range(cells_per_stage))
    pool = [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, *pool, nn.Linear(width, num_classes))
    # With few channels this makes a training step on a CPU 1.3 to 2.5 times as fast. Only weights need
    # the layout: activations follow it.
    return network.to(memory_format=torch.channels_last)


def build_untrained(
    config: Mapping[str, str], *, num_classes: int = 10, in_channels: int = 3
) -> nn.Module:
    """The network that is measured without training: as wide as the published one, one cell per stage.

    Measures of untrained networks order cells better when the networks are wider.
    """
    return build(config, num_classes=num_classes, in_channels=in_channels, channels=16)


class Cell(nn.Module):
    """Four nodes, each the sum of its incoming edges; the last one is the output.

    Every edge has its parameters, but edges that cannot reach the output are not executed.
    """

    def __init__(self, operations: Mapping[tuple[int, int], str], channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(
            {
                _key(edge): _operation(operation, channels)
                for edge, operation in operations.items()
                if operation != "none"
            }
        )
        self.live = _live_edges(operations)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        nodes = {0: x}
        for to, source in self.live:
            # A node without incoming edges is zero. It must still be passed on: the batch
            # normalisation of a convolution adds a bias to it.
            entering = nodes[source] if source in nodes else torch.zeros_like(x)
            edge = self.edges[_key((to, source))](entering)
            nodes[to] = nodes[to] + edge if to in nodes else edge
        return nodes[OUTPUT] if OUTPUT in nodes else torch.zeros_like(x)


class ReductionBlock(nn.Module):
    """The residual block between stages: half the resolution, another number of channels."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _relu_conv_bn(in_channels, channels, 3, stride=2), _relu_conv_bn(channels, channels, 3)
        )
        # ceil_mode rounds odd sizes as the strided convolution does; even sizes are unaffected.
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(in_channels, channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H/2, W/2)."""
        out: Tensor = self.shortcut(x) + self.body(x)
        return out


def _key(edge: tuple[int, int]) -> str:
    return f"edge_{edge[0]}_{edge[1]}"


def _operations(config: Mapping[str, str]) -> dict[tuple[int, int], str]:
    """The operation of every edge; checks the config."""
    if set(config) == {"arch"}:
        config = from_arch(config["arch"])
    keys = [_key(edge) for edge in EDGES]
    if set(config) != set(keys):
        raise ValueError(f"`config` must have the keys {', '.join(keys)} or arch, got {[*config]}")
    for key in keys:
        if config[key] not in OPERATIONS:
            allowed = ", ".join(OPERATIONS)
            raise ValueError(f"`{key}` must be one of {allowed}, got {config[key]!r}")
    return {edge: config[_key(edge)] for edge in EDGES}


def _live_edges(operations: Mapping[tuple[int, int], str]) -> list[tuple[int, int]]:
    """The edges on a path to the output, in the order in which they can be computed."""
    live_nodes = {OUTPUT}
    for to, source in reversed(EDGES):
        if to in live_nodes and operations[to, source] != "none":
            live_nodes.add(source)
    return [edge for edge in EDGES if edge[0] in live_nodes and operations[edge] != "none"]


def _operation(operation: str, channels: int) -> nn.Module:
    if operation == "skip_connect":
        return nn.Identity()
    if operation == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return _relu_conv_bn(channels, channels, 3 if operation == "nor_conv_3x3" else 1)


def _relu_conv_bn(in_channels: int, channels: int, kernel: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
    )
