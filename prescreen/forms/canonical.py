"""Canonical: a graph as a text that is the same for all graphs that compute the same.

The text describes a graph wholly: of equal texts, graphs are equal but for names. The order of terms is
decided by what they are computed from and used for; two that cannot be told apart by that keep the order
in which they were computed. Then equal graphs may have unlike texts, but never unlike graphs equal ones.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from prescreen.forms.graph import COMMUTATIVE, Node, Operand

_ROUNDS = 2


def canonical(roots: Sequence[Operand], updates: Mapping[Node, Node]) -> str:
    """The text of what roots are computed from.

    Args:
        roots: results, in their order.
        updates: what becomes of buffers while the roots are computed; those count that roots need.
    """
    ordered = _postorder(roots, updates)
    colours = _colours(ordered, roots, updates)
    numbers: dict[Node, int] = {}
    lines: list[str] = []

    def choose(node: Node, left: Sequence[Node]) -> Node:
        if node.operation not in COMMUTATIVE:
            return left[0]
        first = min(colours[one] for one in left)
        tied = [one for one in left if colours[one] == first]
        # Terms of one colour are told apart by what is numbered already.
        return min(tied, key=lambda one: _key(one, numbers, colours)) if tied[1:] else tied[0]

    def write(root: Operand) -> str:
        for node in _visit(root.node, numbers, choose):
            numbers[node] = len(numbers)
            parts = [_reference(one, numbers) for one in node.operands]
            if node.operation in COMMUTATIVE:
                parts.sort()
            lines.append(f"{node.operation}({', '.join(parts)}) {node.attributes} {node.form}")
        return _reference(root, numbers)

    ends = [write(root) for root in roots]
    done: set[Node] = set()
    while waiting := [node for node in numbers if node in updates and node not in done]:
        for node in waiting:
            done.add(node)
            ends.append(f"{numbers[node]} becomes {write(Operand(updates[node]))}")
    return "\n".join([*lines, *ends])


def _key(
    root: Node, numbers: Mapping[Node, int], colours: Mapping[Node, str]
) -> list[tuple[int, str]]:
    """What a node is computed from: numbers where there are some, colours elsewhere."""
    found, stack, seen = [], [root], set()
    while stack:
        node = stack.pop()
        found.append((numbers.get(node, -1), colours[node]))
        if node not in numbers and node not in seen:
            seen.add(node)
            by_colour = sorted(
                node.operands, key=lambda o: (colours[o.node], numbers.get(o.node, -1))
            )
            operands = by_colour if node.operation in COMMUTATIVE else node.operands
            stack += [one.node for one in operands]
    return found


def _reference(one: Operand, numbers: Mapping[Node, int]) -> str:
    return f"{numbers[one.node]}{'!' * one.learns}"


def _visit(
    root: Node,
    seen: Mapping[Node, object],
    choose: Callable[[Node, Sequence[Node]], Node] = lambda node, left: left[0],
) -> Iterator[Node]:
    """What a node is computed from, then itself; without what was seen before.

    Args:
        root: the node.
        seen: is added to by the caller.
        choose: which of a node's operands comes next.
    """
    stack = [] if root in seen else [root]
    while stack:
        node = stack[-1]
        left = [one.node for one in node.operands if one.node not in seen]
        if left:
            stack.append(choose(node, left))
        else:
            yield stack.pop()


def _postorder(roots: Sequence[Operand], updates: Mapping[Node, Node]) -> list[Node]:
    """All that counts, operands before what is computed from them."""
    seen: dict[Node, None] = {}
    waiting = [root.node for root in roots]
    while waiting:
        before = len(seen)
        for node in waiting:
            for one in _visit(node, seen):
                seen[one] = None
        waiting = [updates[one] for one in [*seen][before:] if one in updates]
    return [*seen]


def _colours(
    ordered: Sequence[Node], roots: Sequence[Operand], updates: Mapping[Node, Node]
) -> dict[Node, str]:
    """What nodes are computed from and used for, refined step by step (Weisfeiler and Leman 1968)."""
    names = {node: _hash(node.operation, node.attributes, node.form) for node in ordered}
    colours: dict[Node, str] = {}
    uses = dict.fromkeys(ordered, "")
    for _ in range(_ROUNDS):
        for node in ordered:
            parts = [f"{colours[one.node]}{one.learns}" for one in node.operands]
            if node.operation in COMMUTATIVE:
                parts.sort()
            colours[node] = _hash(names[node], uses[node], *parts)
        found: defaultdict[Node, list[str]] = defaultdict(list)
        for number, root in enumerate(roots):
            found[root.node].append(f"root {number}")
        for node in ordered:
            if node in updates and updates[node] in colours:
                found[node].append(f"becomes {colours[updates[node]]}")
        for node in reversed(ordered):
            uses[node] = _hash(*sorted(found[node]))
            for position, one in enumerate(node.operands):
                at = -1 if node.operation in COMMUTATIVE else position
                found[one.node].append(f"{uses[node]} {colours[node]} {at}")
    return {node: _hash(colours[node], uses[node]) for node in ordered}


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
