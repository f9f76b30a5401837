"""Graph: the operations of a network as nodes; equal ones are one node, and what does nothing is none.

A node stands for a value. Operations on equal values are the same node, unless they draw at random.
Parameters, buffers and draws are *atoms*: each is a node of its own, however alike two of them are.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# Operations whose operands may come in any order; a "sum" may have more than two.
COMMUTATIVE = ("sum", "aten.mul.Tensor", "aten.maximum.default", "aten.minimum.default")
ZERO = "zero"
# Give zeros if they are given zeros.
_KEEP_ZEROS = (
    *("relu", "gelu", "silu", "tanh", "neg", "mean", "sum", "view", "_unsafe_view", "permute"),
    *("transpose", "t", "expand", "slice", "select", "avg_pool2d", "_adaptive_avg_pool2d"),
    *("leaky_relu", "unsqueeze", "squeeze"),
)
_ZEROS = ("zeros", "zeros_like", "new_zeros", "zero")
_SAME = ("alias", "detach", "clone", "lift_fresh", "lift_fresh_copy", "copy")


class Operand(NamedTuple):
    """A value that goes into an operation.

    Args:
        node: of the value.
        learns: whether a gradient flows back along here.
    """

    node: Node
    learns: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """A value: what computes it, and from what.

    Args:
        operation: its name.
        operands: in their order; that of sums and products does not count.
        attributes: its other arguments.
        form: shape and type of the value.
        random: whether it is drawn, or computed from what is.
        number: counts the nodes of a graph.
    """

    operation: str
    operands: tuple[Operand, ...] = ()
    attributes: str = ""
    form: str = ""
    random: bool = False
    number: int = 0


class Graph:
    """Makes nodes, of which equal ones are made once."""

    def __init__(self) -> None:
        self._nodes: dict[object, Node] = {}
        self._numbers = itertools.count()

    def atom(
        self,
        operation: str,
        operands: Sequence[Operand] = (),
        attributes: str = "",
        form: str = "",
        *,
        random: bool = False,
    ) -> Node:
        """A new node, though there may be others like it."""
        random = random or any(one.node.random for one in operands)
        number = next(self._numbers)
        return Node(operation, tuple(operands), attributes, form, random, number)

    def node(
        self, operation: str, operands: Sequence[Operand] = (), attributes: str = "", form: str = ""
    ) -> Node:
        """The node of an operation without draws."""
        if operation in COMMUTATIVE:  # the order of equal nodes is that in which they were made
            operands = sorted(operands, key=lambda one: (one.node.number, one.learns))
        key = (operation, tuple((o.node.number, o.learns) for o in operands), attributes, form)
        if key not in self._nodes:
            self._nodes[key] = self.atom(operation, operands, attributes, form)
        return self._nodes[key]

    def zero(self, form: str) -> Node:
        """Zeros of a shape and type."""
        return self.node(ZERO, form=form)

    def applied(
        self,
        name: str,
        overload: str,
        operands: Sequence[Operand],
        scalars: Mapping[str, object],
        attributes: str,
        form: str,
    ) -> Node:
        """The value of an operation of torch, without what does nothing.

        Args:
            name: such as ``"add"``, also of what torch calls ``add_``.
            overload: such as ``"Tensor"``.
            operands: the tensors among its arguments.
            scalars: its numbers, by the names of arguments.
            attributes: all arguments but the tensors.
            form: shape and type of the result.
        """
        first = operands[0].node if operands else None
        keeps = first is not None and first.form == form
        if name in _ZEROS or (name in ("full", "full_like", "fill") and scalars.get("value") == 0):
            return self.zero(form)
        if first is not None and keeps and self._does_nothing(name, operands, scalars):
            return first
        if name == "mul" and (0 in scalars.values() or any(_is_zero(o.node) for o in operands)):
            return self.zero(form)
        if name in _KEEP_ZEROS and first is not None and _is_zero(first) and len(operands) == 1:
            return self.zero(form)
        if name == "convolution" and first is not None and _is_zero(first) and len(operands) == 2:
            return self.zero(form)  # there is no bias
        is_sum = (name, overload, len(operands), scalars.get("alpha", 1)) == ("add", "Tensor", 2, 1)
        if is_sum:
            terms = [one for one in operands if not _is_zero(one.node)]
            if all(one.node.form == form for one in terms):
                return self._sum(terms, form)
        return self.node(f"aten.{name}.{overload}", operands, attributes, form)

    def _does_nothing(
        self, name: str, operands: Sequence[Operand], scalars: Mapping[str, object]
    ) -> bool:
        """Whether the result, of the form of the first operand, is that operand."""
        if len(operands) > 1:
            return False
        number = scalars.get("other")
        return (
            name in _SAME
            or name in ("view", "_unsafe_view", "reshape", "expand")
            or (name in ("mul", "div") and number == 1)
            or (name in ("add", "sub") and number == 0)
        )

    def _sum(self, operands: Sequence[Operand], form: str) -> Node:
        """A sum of all terms, also of those that are sums themselves."""
        terms: list[Operand] = []
        for one in operands:
            inner = one.node.operands if one.node.operation == "sum" else (Operand(one.node, True),)
            terms += [Operand(term.node, term.learns and one.learns) for term in inner]
        if not terms:
            return self.zero(form)
        return self.node("sum", terms, form=form) if len(terms) > 1 else terms[0].node


def _is_zero(node: Node) -> bool:
    return node.operation == ZERO
