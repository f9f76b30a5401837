"""How many cells of NAS-Bench-201 are distinct, by canonical forms of their traced graphs.

    python -m benchmarks.equal.cells                      # all 15,625 cells, about 12 minutes
    python -m benchmarks.equal.cells --candidates 500     # a sample

Each cell is traced with four channels, in training and in use. Its form is compared with the string by
which the benchmark counts 6,466 distinct cells, and with an expression that names every edge's weights.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common.options import command
from benchmarks.equal.described import Cell, exact, published
from prescreen.forms.network import described
from prescreen.text import plain_table
from search_spaces import nas_bench_201

CHANNELS = 4


def main() -> None:
    """Trace the cells and print the table."""
    args = command(__doc__, candidates=15625, seed=0).parse_args()
    cells = [*all_cells()]
    if args.candidates < len(cells):
        cells = random.Random(args.seed).sample(cells, args.candidates)
    data = torch.zeros(2, CHANNELS, 4, 4), torch.zeros(2, dtype=torch.long)
    begin = time.process_time()
    forms = [hash(traced(partial(nas_bench_201.Cell, cell, CHANNELS), *data)) for cell in cells]
    spent = time.process_time() - begin
    strings, expressions = [*map(published, cells)], [*map(exact, cells)]
    print(f"{len(cells)} cells, {1000 * spent / len(cells):.0f} ms of CPU time each")
    rows = [
        ["by strings of the benchmark", str(len({*strings}))],
        ["by expressions", str(len({*expressions}))],
        ["by forms", str(len({*forms}))],
        ["by forms and expressions", str(len({*zip(forms, expressions, strict=True)}))],
        ["strings of several forms", str(_split(strings, forms))],
        ["forms of several strings", str(_split(forms, strings))],
    ]
    print(plain_table(["distinct", "number"], rows))


def all_cells() -> Iterator[Cell]:
    """All 15,625."""
    for operations in itertools.product(nas_bench_201.OPERATIONS, repeat=len(nas_bench_201.EDGES)):
        yield dict(zip(nas_bench_201.EDGES, operations, strict=True))


def traced(cell: Callable[[], nn.Module], inputs: Tensor, targets: Tensor) -> str:
    """What a network of one cell computes."""

    def build() -> nn.Module:
        return nn.Sequential(cell(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 2))

    def use(model: nn.Module, inputs: Tensor) -> Tensor:
        outputs: Tensor = model(inputs)
        return outputs

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1])

    return described(build, use, inputs, loss, (inputs, targets)).text


def _split(groups: Sequence[Hashable], kinds: Sequence[Hashable]) -> int:
    """How many groups hold several kinds."""
    found: defaultdict[Hashable, set[Hashable]] = defaultdict(set)
    for group, kind in zip(groups, kinds, strict=True):
        found[group].add(kind)
    return sum(len(one) > 1 for one in found.values())


if __name__ == "__main__":
    main()
