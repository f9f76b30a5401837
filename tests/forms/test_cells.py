"""Cells of NAS-Bench-201 and -101: which are equal, against canonical forms of their descriptions."""

import itertools
import random

import pytest
import torch
from lowest import later_than

import search_spaces.nas_bench_101 as nb101
import search_spaces.nas_bench_201 as nb201
from benchmarks.equal.cells import all_cells, traced
from benchmarks.equal.described import exact, graph_hash, published


@pytest.fixture(scope="module")
def data():
    return torch.zeros(2, 4, 4, 4), torch.zeros(2, dtype=torch.long)


def test_cells_are_equal_where_they_compute_the_same(data):
    drawn = random.Random(0).sample([*all_cells()], 300)
    # Those of which another was drawn, and those that only the published strings take for another.
    exactly, strings = [*map(exact, drawn)], [*map(published, drawn)]
    chosen = [
        at
        for at in range(len(drawn))
        if exactly.count(exactly[at]) > 1 or strings.count(strings[at]) > 1
    ]
    texts = {at: traced(lambda at=at: nb201.Cell(drawn[at], 4), *data) for at in chosen}
    pairs = [*itertools.combinations(chosen, 2)]
    same = [pair for pair in pairs if exactly[pair[0]] == exactly[pair[1]]]
    assert len(same) >= 20
    assert any(strings[a] == strings[b] for a, b in pairs if (a, b) not in same)
    for a, b in pairs:
        assert (texts[a] == texts[b]) == (exactly[a] == exactly[b]), (drawn[a], drawn[b])


def relabelled(matrix, operations, generator):
    """The same graph with its inner vertices in another order."""
    count = len(matrix)
    order, left = [0], [*range(1, count - 1)]
    while left:
        able = [v for v in left if not any(matrix[w][v] for w in left)]
        order.append(generator.choice(able))
        left.remove(order[-1])
    order.append(count - 1)
    return [[matrix[a][b] for b in order] for a in order], [operations[v] for v in order]


class Trial:
    def __init__(self, generator):
        self.generator = generator

    def suggest_float(self, name, low, high):
        return self.generator.uniform(low, high)

    def suggest_int(self, name, low, high):
        return 9

    def suggest_categorical(self, name, choices):
        return self.generator.choice(choices)


@later_than("torch", "2.6", "records slices of nothing, whose order is kept")
def test_graphs_in_another_order_are_equal(data):
    """Where one vertex leads to the output; else channels come in another order, and are unlike."""
    generator = random.Random(0)
    found, hashes, merged = [], [], 0
    while merged < 5:
        cell = nb101._parse(nb101.sample(Trial(generator)))
        other = relabelled(*cell, generator)
        ends = sum(row[-1] for row in cell[0][1:-1])
        if other == cell or ends != 1:
            continue
        merged += 1
        texts = [traced(lambda one=one: nb101.Cell(*one, 4, 4), *data) for one in (cell, other)]
        assert graph_hash(*cell) == graph_hash(*other)
        assert texts[0] == texts[1]
        found.append(texts[0])
        hashes.append(graph_hash(*cell))
    for a, b in itertools.combinations(range(len(found)), 2):
        assert (found[a] == found[b]) <= (hashes[a] == hashes[b])


@pytest.mark.slow
def test_the_published_strings_are_those_that_count_6466_cells():
    cells = [*all_cells()]
    assert len({published(one) for one in cells}) == 6466
    assert len({exact(one) for one in cells}) == 5485
