"""Recording: the operations that torch is asked for, as a graph.

A value is known by where it lies: storage, offset, sizes and strides. Writing into a place changes the
values of all other places in that storage. What is written in ways that torch does not see is noticed
where Python asks for the memory of a tensor (`watching`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from prescreen.forms.calls import Call, NotComparable, digest_of, form_of
from prescreen.forms.graph import Graph, Node, Operand

# Write what their schemas do not say: the running statistics.
_STATISTICS = ("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm")
_STRIDED = {"as_strided", "as_strided_"}
_REFUSED = {"set_", "resize_"}
_BY_VALUE = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Recorder(TorchDispatchMode):
    """Records the operations inside of the context.

    Args:
        graph: where nodes are made.
        fake: of tensors without values; None to compute them as well.
    """

    def __init__(self, graph: Graph, fake: FakeTensorMode | None = None) -> None:
        super().__init__()
        self._graph, self._fake = graph, fake
        self._places: dict[int, dict[tuple[Any, ...], Node]] = {}
        self._alive: list[Any] = []  # storages, so that their ids stay theirs
        self._fakes: dict[int, tuple[Tensor, Tensor]] = {}
        self.unseen: set[int] = set()  # storages that may be written to without torch
        self.errors: list[BaseException] = []  # raised in operations, also if the network goes on

    def node_of(self, tensor: Tensor) -> Node:
        """The value of a tensor; of one with values that has a stand-in, the stand-in's.

        Raises:
            NotComparable: it is not known where it comes from.
        """
        storage, place = self._place(self._fakes.get(id(tensor), (None, tensor))[1])
        places = self._places[storage]
        if storage in self.unseen or place not in places:
            if isinstance(tensor, FakeTensor) or (self._fake is not None and places):
                raise NotComparable("a tensor that comes from nowhere")
            places[place] = self.constant(tensor)
        return places[place]

    def put(self, tensor: Tensor, node: Node) -> None:
        """Say what the value of a tensor is."""
        storage, place = self._place(tensor)
        self._places[storage][place] = node

    def begin(self, tensor: Tensor, node: Node) -> None:
        """Say what the value of a tensor is, whatever was written there before."""
        for one in (tensor, self.faked(tensor)):
            storage, place = self._place(one)
            self._places[storage] = {place: node}

    def drawn(self, tensor: Tensor, name: str, attributes: str) -> None:
        """Say that a tensor was drawn at random."""
        form = form_of(tensor)
        self._write(tensor, self._graph.atom(name, (), attributes, form, random=True), False)

    def constant(self, tensor: Tensor) -> Node:
        """A tensor by its values."""
        return self._graph.node("constant", (), digest_of(tensor), form_of(tensor))

    def faked(self, tensor: Tensor) -> Tensor:
        """A tensor without values in place of one that has some."""
        if self._fake is None or isinstance(tensor, FakeTensor):
            return tensor
        if id(tensor) not in self._fakes:
            node = self.node_of(tensor)
            self._fakes[id(tensor)] = tensor, self._fake.from_tensor(tensor)
            self.put(self._fakes[id(tensor)][1], node)
        return self._fakes[id(tensor)][1]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call an operation, and note what it computes."""
        with self.noting():
            return self._called(func, args, kwargs or {})

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note an error: the network may catch it, and go another way than in earnest."""
        try:
            yield
        except BaseException as error:
            self.errors.append(error)
            raise

    def _called(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if func.namespace == "prim":
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        arguments = func._schema.arguments
        given = dict(zip((one.name for one in arguments), args, strict=False)) | dict(kwargs)
        if name in _STRIDED and _lies_alike(given):
            node = self.node_of(given["self"])
            result = func(*_mapped(args, self.faked), **kwargs)
            self.put(result, node)
            return result
        if name in _STRIDED or name in _REFUSED:
            raise NotComparable(f"{name}, which depends on memory")
        call = Call(name, given, self.node_of)
        if _BY_VALUE & {*func.tags} and any(one.node.random for one in call.operands):
            raise NotComparable("its code depends on values that are drawn")
        given = {key: _mapped(value, self.faked) for key, value in given.items()}
        args = [given[one.name] for one in arguments[: len(args)]]
        written = [
            given[one.name]
            for one in arguments
            if one.alias_info is not None and one.alias_info.is_write
            if given.get(one.name) is not None
        ]
        result = func(*args, **{key: given[key] for key in kwargs})
        whole = self._computed(func, name, call, result, written)
        if name in _STATISTICS and given.get("training"):
            for key in ("running_mean", "running_var"):
                if (tensor := given.get(key)) is not None:
                    node = self._graph.node(key, [Operand(whole)], form=form_of(tensor))
                    self._write(tensor, node, call.learns)
        return result

    def _computed(
        self, func: Any, name: str, call: Call, result: Any, written: Sequence[Any]
    ) -> Node:
        """Note the results of an operation; returns the node of all of them."""
        plain = name[:-1] if name.endswith("_") and not name.endswith("__") else name
        outputs = [one for one in _leaves(result) if isinstance(one, Tensor)]
        single = isinstance(result, Tensor)
        form = form_of(outputs[0]) if single else str([form_of(one) for one in outputs])
        full = f"aten.{plain}.{func._overloadname}"
        if torch.Tag.nondeterministic_seeded in func.tags and call.draws():
            whole = self._graph.atom(full, call.operands, call.attributes, form, random=True)
        elif single:
            whole = self._graph.applied(
                plain, func._overloadname, call.operands, call.scalars, call.attributes, form
            )
        else:
            whole = self._graph.node(full, call.operands, call.attributes, form)
        targets = {id(tensor): tensor for value in written for tensor in _leaves(value)}
        for number, tensor in enumerate(targets.values()):
            node = whole if len(targets) == 1 else self._part("written", whole, number, tensor)
            self._write(tensor, node, call.learns)
        for number, output in enumerate(() if targets else outputs):
            self.put(output, whole if single else self._part("output", whole, number, output))
        return whole

    def _part(self, name: str, whole: Node, number: int, tensor: Tensor) -> Node:
        """One of several results of an operation."""
        return self._graph.node(name, [Operand(whole, True)], str(number), form_of(tensor))

    def _write(self, tensor: Tensor, node: Node, learns: bool) -> None:
        """Note that a place has another value, and so have all that may overlap with it."""
        storage, place = self._place(tensor)
        places = self._places[storage]
        for other, before in places.items():
            if other != place:
                if learns:
                    places[other] = self._graph.atom("overwritten", [Operand(before)])
                else:
                    operands = [Operand(before), Operand(node)]
                    places[other] = self._graph.node("write", operands, f"{other} {place}")
        places[place] = node

    def _place(self, tensor: Tensor) -> tuple[int, tuple[Any, ...]]:
        if tensor.layout is not torch.strided:
            raise NotComparable(f"a tensor of layout {tensor.layout}")
        storage = tensor.untyped_storage()
        number = storage._cdata
        if number not in self._places:
            self._alive.append(storage)
            self._places[number] = {}
        flags = tensor.is_conj(), tensor.is_neg(), str(tensor.dtype)
        return number, (tensor.storage_offset(), (*tensor.shape,), tensor.stride(), *flags)


def _lies_alike(given: Mapping[str, Any]) -> bool:
    """Whether a tensor with other strides has the same elements."""
    tensor, sizes, strides = given["self"], given["size"], given["stride"]
    both = zip(sizes, strides, tensor.stride(), strict=False)
    alike = [*tensor.shape] == [*sizes] and all(size == 1 or a == b for size, a, b in both)
    return alike and given.get("storage_offset") in (None, tensor.storage_offset())


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    return [_mapped(one, function) for one in value] if isinstance(value, list | tuple) else value


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [leaf for one in value for leaf in _leaves(one)]
    return [value]
