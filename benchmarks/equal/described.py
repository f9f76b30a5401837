"""Described: canonical forms of cells from their descriptions alone, without building them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

# From an edge (to node, from node) of NAS-Bench-201 to its operation.
Cell: TypeAlias = Mapping[tuple[int, int], str]
# Terms of a sum: "x", ("pool", terms), or (operation, weights, terms).
Terms: TypeAlias = tuple[Any, ...]

CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")


def value(cell: Cell, names: Mapping[tuple[int, int], int]) -> Terms:
    """What a cell computes: a sorted sum of terms; a convolution has the name of its weights."""
    nodes: dict[int, Terms] = {0: ("x",)}
    for to in range(1, 4):
        terms: list[Any] = []
        for source in range(to):
            operation, entering = cell[to, source], nodes[source]
            if operation == "skip_connect":
                terms += entering
            elif operation == "avg_pool_3x3" and entering:
                terms.append(("pool", entering))
            elif operation in CONVOLUTIONS:
                # Of zeros, only the bias of the normalisation is left.
                kind = operation if entering else "bias"
                terms.append((kind, names[to, source], entering))
        nodes[to] = tuple(sorted(terms, key=repr))
    return nodes[3]


def used(terms: Terms) -> Iterator[int]:
    """Names of weights in the order in which they are met."""
    for term in terms:
        if term[0] in (*CONVOLUTIONS, "bias"):
            yield term[1]
        if term != "x":
            yield from used(term[-1])


def renamed(terms: Terms, names: Mapping[int, int]) -> Terms:
    """The same terms with other names of weights."""
    return tuple(
        term
        if term == "x"
        else (*term[:1], *(names[one] for one in term[1:-1]), renamed(term[-1], names))
        for term in terms
    )


def exact(cell: Cell) -> str:
    """What a cell computes, the same for all ways to name its weights."""
    edges = [edge for edge, operation in cell.items() if operation in CONVOLUTIONS]
    found = set()
    for order in itertools.permutations(range(len(edges))):
        terms = value(cell, dict(zip(edges, order, strict=True)))
        names = {name: number for number, name in enumerate(sorted({*used(terms)}))}
        found.add(repr(renamed(terms, names)))
    return min(found)


def published(cell: Cell) -> str:
    """The string by which NAS-Bench-201 counts 6,466 distinct cells (``to_unique_str``)."""
    nodes = {0: "0"}
    for to in range(1, 4):
        terms = []
        for source in range(to):
            operation, entering = cell[to, source], nodes[source]
            if operation == "none" or entering == "#":
                terms.append("#")
            else:
                is_skip = operation == "skip_connect"
                terms.append(entering if is_skip else f"({entering})@{operation}")
        nodes[to] = "+".join(sorted(terms))
    return nodes[3]


def graph_hash(matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> str:
    """The hash by which NAS-Bench-101 knows equal graphs (``graph_util.hash_module``)."""

    def md5(content: str) -> str:
        return hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()

    count = len(matrix)
    into = [[w for w in range(count) if matrix[w][v]] for v in range(count)]
    outof = [[w for w in range(count) if matrix[v][w]] for v in range(count)]
    hashes = [md5(str((len(outof[v]), len(into[v]), operations[v]))) for v in range(count)]
    for _ in range(count):
        hashes = [
            md5(
                "".join(sorted(hashes[w] for w in into[v]))
                + "|"
                + "".join(sorted(hashes[w] for w in outof[v]))
                + f"|{hashes[v]}"
            )
            for v in range(count)
        ]
    return md5(str(sorted(hashes)))
