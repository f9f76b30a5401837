"""Network: what a network computes in training and in use, and how it begins, as one text."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_flatten, tree_map

from prescreen.forms.calls import NotComparable, form_of
from prescreen.forms.canonical import canonical
from prescreen.forms.graph import Graph, Node, Operand
from prescreen.forms.initial import named_draws
from prescreen.forms.recording import Recorder
from prescreen.forms.watching import Watch
from prescreen.text import named_line

# What is done with a network: it is called with the network and inputs, and returns any tree of tensors.
Pass = Callable[[nn.Module, Any], Any]


@dataclass(frozen=True)
class Described:
    """A network as a text.

    Args:
        text: equal for networks that compute the same, and begin alike.
        fixed: the values with which it begins that are not drawn.
        parameters: how many it trains.
    """

    text: str
    fixed: Sequence[Tensor]
    parameters: int


def described(
    build: Callable[[], nn.Module],
    use: Pass,
    inputs: Any,
    training: Pass | None = None,
    batch: Any = None,
    *,
    twice: bool = False,
) -> Described:
    """Describe a network by the operations that build, train and use it.

    Args:
        build: gives a new network.
        use: the outputs, in eval mode without gradients.
        inputs: tensors; only their shapes and types count.
        training: the loss, in training mode; None for a network that is not trained.
        batch: likewise, for the loss.
        twice: whether the loss is asked for twice, and must be computed in the same way.

    Raises:
        NotComparable: its operations do not say what it computes.
    """
    graph = Graph()
    building = Recorder(graph)
    with building, Watch(building, running=False), named_draws(building):
        model = build()
    _require_no_errors(building)
    _require_plain(model)
    state = _State(graph, building, model)
    model.train()
    roots: list[Operand] = []
    updates: dict[Node, Node] = {}
    if training is not None:
        loss, updates = _passed(graph, state, model, training, batch)
        roots.append(loss)
        again = _passed(graph, state, model, training, batch) if twice else (loss, updates)
        if again != (loss, updates) and canonical([loss], updates) != canonical(
            [again[0]], again[1]
        ):
            raise NotComparable("it computes something else when it is run again")
    model.eval()
    with torch.no_grad():
        outputs, _ = _passed(graph, state, model, use, inputs)
    text = canonical([*roots, outputs], updates)
    fixed = [one.detach() for one in state.tensors if not state.atoms[id(one)].random]
    return Described(text, fixed, sum(p.numel() for p in model.parameters() if p.requires_grad))


class _State:
    """Parameters and buffers of a network, and the atoms that stand for them.

    Args:
        graph: where the atoms are made.
        building: knows how the tensors were made.
        model: that has them.
    """

    def __init__(self, graph: Graph, building: Recorder, model: nn.Module) -> None:
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.recorder = Recorder(graph, self.fake)
        self._places: list[tuple[dict[str, Any], str, Tensor]] = [
            (own, name, tensor)
            for module in model.modules()
            for own in (module._parameters, module._buffers)
            for name, tensor in own.items()
            if tensor is not None
        ]
        self.tensors = [*{id(one): one for _, _, one in self._places}.values()]
        self.atoms: dict[int, Node] = {}
        memory = set()
        for one in self.tensors:
            kind = "parameter" if isinstance(one, nn.Parameter) else "buffer"
            begin = Operand(building.node_of(one))
            attributes = f"{one.requires_grad} {one.stride()}"
            self.atoms[id(one)] = graph.atom(kind, [begin], attributes, form_of(one))
            memory.add(one.untyped_storage()._cdata)
        if len(memory) < len(self.tensors):
            raise NotComparable("parameters or buffers that share memory")

    def begin(self) -> None:
        """A pass begins with the tensors as they are."""
        for one in self.tensors:
            self.recorder.begin(one, self.atoms[id(one)])

    def changes(self) -> dict[Node, Node]:
        """What has become of them, by their atoms; the network has its own ones afterwards."""
        found: dict[Node, Node] = {}
        for own, name, tensor in self._places:
            now = own[name]
            own[name] = tensor
            if now is None:
                raise NotComparable("a buffer that goes")
            node = self.recorder.node_of(now)
            if node is not self.atoms[id(tensor)]:
                found[self.atoms[id(tensor)]] = node
        return found


def _passed(
    graph: Graph, state: _State, model: nn.Module, run: Pass, inputs: Any
) -> tuple[Operand, dict[Node, Node]]:
    """The results of a pass, and what becomes of the state in it."""
    state.begin()
    numbered: list[Tensor] = []

    def given(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        tensor = state.fake.from_tensor(value)
        state.recorder.put(tensor, graph.node("input", (), str(len(numbered)), form_of(tensor)))
        numbered.append(tensor)
        return tensor

    inputs = tree_map(given, inputs)
    with _without_other_draws(), state.fake, state.recorder, Watch(state.recorder, running=True):
        result = run(model, inputs)
    _require_no_errors(state.recorder)
    leaves, tree = tree_flatten(result)
    tensors = [one for one in leaves if isinstance(one, Tensor)]
    others = [one for one in leaves if not isinstance(one, Tensor)]
    if not tensors or not all(isinstance(one, bool | int | str | None) for one in others):
        raise NotComparable("results that are not tensors")
    _require_own_gradients(tensors)
    roots = [Operand(state.recorder.node_of(one), one.requires_grad) for one in tensors]
    return Operand(graph.node("results", roots, f"{tree} {others}")), state.changes()


def _require_no_errors(recorder: Recorder) -> None:
    if recorder.errors:
        error = recorder.errors[0]
        raise error if isinstance(error, NotComparable) else NotComparable(named_line(error))


@contextmanager
def _without_other_draws() -> Iterator[None]:
    """Refuse what draws from the generators of Python and NumPy."""
    before = _generators()
    yield
    if before != _generators():
        raise NotComparable("it draws at random without torch")


def _generators() -> tuple[Any, ...]:
    of_numpy: dict[str, Any] = np.random.get_state(legacy=False)
    return random.getstate(), of_numpy["state"]["key"].tobytes(), of_numpy["state"]["pos"]


def _require_plain(model: nn.Module) -> None:
    """Refuse a network whose gradients are changed by hooks."""
    hooks = ("_backward_hooks", "_backward_pre_hooks")
    of_modules = any(getattr(one, name, None) for one in model.modules() for name in hooks)
    names = ("_backward_hooks", "_post_accumulate_grad_hooks")
    of_tensors = any(getattr(one, name, None) for one in model.parameters() for name in names)
    if of_modules or of_tensors:
        raise NotComparable("hooks of gradients")


def _require_own_gradients(results: Sequence[Tensor]) -> None:
    """Refuse gradients that are not those of torch's own operations."""
    waiting = [one.grad_fn for one in results if one.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        function: Any = waiting.pop()
        if type(function).__module__ != "builtins" or "CppNode" in function.name():
            raise NotComparable(f"gradients of its own, {function.name()}")
        following = {one for one, _ in function.next_functions if one is not None} - seen
        seen |= following
        waiting += following
