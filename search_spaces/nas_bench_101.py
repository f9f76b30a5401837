"""NAS-Bench-101: cells that are graphs of up to seven vertices, nine edges and three operations.

Graphs that differ only in the order of their vertices compute the same, but count as different.

Reference: Ying et al. 2019, arXiv 1902.09635.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

# Operation -> its short name.
OPERATIONS = {"conv3x3-bn-relu": "3x3", "conv1x1-bn-relu": "1x1", "maxpool3x3": "pool"}
VERTICES, EDGES = 7, 9

# Row v lists, for every vertex, whether an edge leads there from v. The first vertex is the cell's
# input, the last one its output.
Matrix: TypeAlias = Sequence[Sequence[int]]


def sample(trial: Any) -> dict[str, str]:
    """Draw up to nine edges, the heaviest of all, and the operation of every inner vertex.

    Every draw is a cell: where no path leads from the input to the output, an edge between the two is
    added. Vertices and edges on no such path are not part of the config.
    """
    weights = {
        (a, b): trial.suggest_float(f"weight_{a}_{b}", 0, 1)
        for a, b in itertools.combinations(range(VERTICES), 2)
    }
    count = trial.suggest_int("edges", 1, EDGES)
    heaviest = sorted(weights, key=lambda edge: -weights[edge])[:count]
    inner = [
        trial.suggest_categorical(f"operation_{vertex}", list(OPERATIONS))
        for vertex in range(1, VERTICES - 1)
    ]
    matrix = [[int((a, b) in heaviest) for b in range(VERTICES)] for a in range(VERTICES)]
    if not _reached(matrix)[-1]:
        matrix[0][-1] = 1
    return _config(*_pruned(matrix, ["input", *inner, "output"]))


def name(config: Mapping[str, str]) -> str:
    """The operations, and after each vertex's number those that lead there.

    Such as ``3x3 1x1: 1<0 2<0,1 3<2``.
    """
    matrix, operations = _parse(config)
    inner = " ".join(OPERATIONS[operation] for operation in operations[1:-1])
    edges = (f"{b}<{','.join(map(str, _sources(matrix, b)))}" for b in range(1, len(matrix)))
    return f"{inner or 'input'}: {' '.join(edges)}"


def build(
    config: Mapping[str, str],
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int | tuple[int, int] | None = None,
    channels: int = 16,
    modules_per_stack: int = 1,
) -> nn.Module:
    """A network of three stacks of equal cells, for images of any size.

    The defaults make a small network for brief training; the published networks have
    ``channels=128, modules_per_stack=3``.

    Args:
        config: ``matrix``, the rows of zeros and ones joined by ``/``, and ``ops``, the vertices'
            operations joined by ``|``. Other entries, such as the draws that Ray Tune's OptunaSearch
            adds, are ignored.
        num_classes: K.
        in_channels: channels of the images.
        image_size: ignored: the network takes every size.
        channels: channels of the first stack; the second has twice, the third four times as many.
        modules_per_stack: cells in each of the three stacks.

    Raises:
        ValueError: the config is not a cell, or a size is below 1 or too small for the cell.
    """
    matrix, operations = _parse(config)
    for argument, size in (("channels", channels), ("modules_per_stack", modules_per_stack)):
        if size < 1:
            raise ValueError(f"`{argument}` must be at least 1, got {size}")
    layers: list[nn.Module] = [_conv_bn_relu(in_channels, channels, 3)]
    entering = channels
    for stack in range(3):
        width = channels << stack
        if stack > 0:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        for _ in range(modules_per_stack):
            layers.append(Cell(matrix, operations, entering, width))
            entering = width
    network = nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(entering, num_classes)
    )
    return network.to(memory_format=torch.channels_last)


class Cell(nn.Module):
    """A graph of operations; vertices that lead to the output are concatenated there.

    Edges from the input are projected to the width of where they lead. Inner edges drop channels that
    are too many. An edge from the input to the output is added after the concatenation.
    """

    def __init__(
        self, matrix: Matrix, operations: Sequence[str], in_channels: int, channels: int
    ) -> None:
        super().__init__()
        self.matrix = matrix
        self.widths = vertex_channels(matrix, in_channels, channels)
        inner = range(1, len(matrix) - 1)
        self.operations = nn.ModuleDict(
            {str(v): _operation(operations[v], self.widths[v]) for v in inner}
        )
        self.projections = nn.ModuleDict(
            {
                str(v): _conv_bn_relu(in_channels, self.widths[v], 1)
                for v in range(1, len(matrix))
                if matrix[0][v]
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H, W)."""
        last = len(self.matrix) - 1
        values = {0: x}
        for vertex in range(1, last):
            entering = [
                values[source][:, : self.widths[vertex]]
                for source in _sources(self.matrix, vertex)
                if source > 0
            ]
            if self.matrix[0][vertex]:
                entering.append(self.projections[str(vertex)](x))
            values[vertex] = self.operations[str(vertex)](_sum(entering))
        inner = [values[source] for source in _sources(self.matrix, last) if source > 0]
        direct = [self.projections[str(last)](x)] if self.matrix[0][last] else []
        return _sum([torch.cat(inner, 1), *direct]) if inner else direct[0]


def vertex_channels(matrix: Matrix, in_channels: int, channels: int) -> list[int]:
    """How many channels every vertex has: those before the output share its channels evenly.

    All others have as many as the widest vertex that they lead to.

    Raises:
        ValueError: the output has fewer channels than vertices that it concatenates.
    """
    last = len(matrix) - 1
    before = [v for v in range(1, last) if matrix[v][last]]
    if len(before) > channels:
        raise ValueError(f"`channels` must be at least {len(before)} for this cell, got {channels}")
    widths = [in_channels, *[0] * (last - 1), channels]
    for number, vertex in enumerate(before):
        widths[vertex] = channels // len(before) + (number < channels % len(before))
    for vertex in reversed(range(1, last)):
        if not matrix[vertex][last]:
            widths[vertex] = max(widths[b] for b in range(vertex + 1, last) if matrix[vertex][b])
    return widths


def _parse(config: Mapping[str, str]) -> tuple[Matrix, list[str]]:
    """The graph of a config, without vertices on no path to the output; checks the config."""
    if not config.keys() >= {"matrix", "ops"}:
        raise ValueError(f"`config` must have the keys matrix and ops, got {[*config]}")
    rows, operations = config["matrix"].split("/"), config["ops"].split("|")
    if not 2 <= len(rows) <= VERTICES or {len(row) for row in rows} != {len(rows)}:
        raise ValueError(f"`matrix` must be square, of 2 to 7 rows, got {config['matrix']!r}")
    matrix: Matrix = [[int(digit == "1") for digit in row] for row in rows]
    if set(config["matrix"]) - {*"01/"} or any(
        matrix[a][b] for a in range(len(rows)) for b in range(a + 1)
    ):
        raise ValueError(f"`matrix` must be upper triangular of 0 and 1, got {config['matrix']!r}")
    if (
        len(operations) != len(rows)
        or (operations[0], operations[-1]) != ("input", "output")
        or not OPERATIONS.keys() >= {*operations[1:-1]}
    ):
        allowed = ", ".join(OPERATIONS)
        raise ValueError(
            f"`ops` must be input, {len(rows) - 2} of {allowed}, and output, got {config['ops']!r}"
        )
    if not _reached(matrix)[-1]:
        raise ValueError(f"`matrix` must lead from input to output, got {config['matrix']!r}")
    matrix, operations = _pruned(matrix, operations)
    if (count := sum(map(sum, matrix))) > EDGES:
        raise ValueError(
            f"`matrix` must have at most {EDGES} edges on paths from input to output, got {count} in "
            f"{config['matrix']!r}"
        )
    return matrix, operations


def _config(matrix: Matrix, operations: Sequence[str]) -> dict[str, str]:
    rows = ["".join(map(str, row)) for row in matrix]
    return {"matrix": "/".join(rows), "ops": "|".join(operations)}


def _sources(matrix: Matrix, vertex: int) -> list[int]:
    return [source for source in range(vertex) if matrix[source][vertex]]


def _reached(matrix: Matrix) -> list[bool]:
    """Which vertices a path leads to from the input."""
    reached = [True]
    for vertex in range(1, len(matrix)):
        reached.append(any(reached[source] for source in _sources(matrix, vertex)))
    return reached


def _pruned(matrix: Matrix, operations: Sequence[str]) -> tuple[Matrix, list[str]]:
    """The same cell without vertices that are on no path from the input to the output."""
    backwards = [[matrix[b][a] for b in reversed(range(len(matrix)))] for a in range(len(matrix))]
    leading = _reached(backwards[::-1])[::-1]
    kept = [v for v, good in enumerate(_reached(matrix)) if good and leading[v]]
    return [[matrix[a][b] for b in kept] for a in kept], [operations[v] for v in kept]


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


def _operation(operation: str, channels: int) -> nn.Module:
    if operation == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    return _conv_bn_relu(channels, channels, 3 if operation == "conv3x3-bn-relu" else 1)


def _conv_bn_relu(in_channels: int, channels: int, kernel: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
