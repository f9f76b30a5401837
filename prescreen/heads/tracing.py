"""Tracing: run a model once and follow what it does with the results of linear maps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from prescreen.heads.applied import Applied, applied
from prescreen.heads.execute import WINDOW, call, storage_of, version_of
from prescreen.heads.positions import LinearMap
from prescreen.trees import tensors_in

# How far a tensor has come: computed from the inputs, or also from the result of a followed map.
_TAG = "_prescreen_tag"
_DATA, _FOLLOWED = 1, 2
_MADE = "_prescreen_application"  # the one that a followed result is of

# The values of their results are those of the first argument: others give a shape, dtype or device.
_LIKE = (Tensor.to, Tensor.type_as, Tensor.expand_as, Tensor.view_as, Tensor.reshape_as)

_LOG_SOFTMAX = (functional.log_softmax, torch.log_softmax, Tensor.log_softmax)
_LOGSUMEXP = (torch.logsumexp, Tensor.logsumexp)


@dataclass(frozen=True, eq=False)
class Application:
    """One application of a linear map.

    Args:
        number: how many there were, with this one.
        name: path of the module that applied it.
        inputs: what entered.
        version: that of `inputs`, which in-place changes increase.
        map: with the effective weight.
        source: the application whose result `inputs` are, if it was a recent one.
    """

    number: int
    name: str
    inputs: Tensor
    version: int
    map: LinearMap
    source: Application | None


@dataclass(frozen=True, eq=False)
class Followed:
    """An application whose result reaches the output.

    ``result`` is (..., K) or, from a convolution, (N, K, ...), and gradients reach it.
    """

    application: Application
    result: Tensor


# Which linear maps are followed: those with an acceptable K.
Wanted = Callable[[int], bool]
Whole = tuple[nn.Module, LinearMap]


class Trace(NamedTuple):
    """The model's output in a traced run.

    ``log_softmax`` says whether one was applied to the result of a followed map; gradients pass it as
    if it added a constant to each row, which no softmax of its result notices.
    """

    output: Any
    log_softmax: bool


def trace(model: nn.Module, inputs: Any, wanted: Wanted, head: Whole | None = None) -> Trace:
    """Run the model and follow the results of the wanted linear maps to its output.

    Gradients flow from the output back to these results and no further. A result and what it was
    computed from are held only while gradients can reach them.

    Args:
        model: in evaluation, without gradients.
        inputs: as for ``call``.
        wanted: which linear maps to follow.
        head: a layer to follow as a whole, and what it computes.
    """
    with torch.inference_mode(False), torch.no_grad():
        follower = _Follower(model, inputs, wanted)
        with _hooks(model, follower, head), follower:
            output = call(model, inputs)
    return Trace(output, follower.log_softmax)


def followed(logits: Tensor) -> list[Followed]:
    """The followed maps whose results reach the logits, in the order in which they were applied."""
    found: list[Followed] = []
    nodes, known = [logits.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in known:
            continue
        known.add(node)
        nodes += [later for later, _ in node.next_functions]
        result = getattr(node, "variable", None)
        if result is not None and hasattr(result, _MADE):
            found.append(Followed(getattr(result, _MADE), result))
    return sorted(found, key=lambda one: one.application.number)


class _Follower(TorchFunctionMode):
    """Sees all calls of torch's functions."""

    def __init__(self, model: nn.Module, inputs: Any, wanted: Wanted) -> None:
        super().__init__()
        self._inputs = {id(tensor) for tensor in tensors_in(inputs)}
        self._own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._wanted = wanted
        # The latest applications, with the tensor that the model got from each and its version.
        self._recent: deque[tuple[Application, Tensor, int]] = deque(maxlen=WINDOW)
        self._count = 0
        self.path: list[str] = []
        self.log_softmax = False

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = args[:1] if func in _LIKE else () if _makes_new(func) else (args, kwargs)
        tag = max((self._tag(t) for t in tensors_in(given)), default=0)
        found = applied(func, args, kwargs, self._is_data) if tag else None
        if found:
            output = self.apply(found, func(*args, **kwargs))
            tag = max((self._tag(t) for t in tensors_in(output)), default=tag)
        else:
            # A model's own parameters and buffers must not become part of the graph.
            follows = tag == _FOLLOWED and not (args and id(args[0]) in self._own)
            with torch.enable_grad() if follows else nullcontext():
                output = func(*args, **kwargs)
                if follows and func in (*_LOG_SOFTMAX, *_LOGSUMEXP):
                    self.log_softmax = True
                    whole = args[0] if func in _LOG_SOFTMAX else torch.zeros_like(output)
                    output = whole + (output - whole).detach()
        self._mark((output, args[:1] if _is_in_place(func) else ()), tag)
        return output

    def apply(self, found: Applied, output: Tensor, whole: bool = False) -> Tensor:
        """Record an application; the tensor that the model goes on with."""
        if storage_of(output) < 0:
            return output
        self._count += 1
        inputs, result = found.inputs.detach(), _canonical(output.detach(), found)
        source = self._source(inputs)
        follow = result.is_floating_point() and (whole or self._wanted(len(found.map.weight)))
        output = output.detach()
        if follow:
            result.requires_grad_()
            with torch.enable_grad():
                output = _restored(result.clone(), found)  # a model may change it in place
        path = self.path[-1] if self.path else ""
        made = Application(self._count, path, inputs, version_of(inputs), found.map, source)
        self._recent.append((replace(made, source=None), output, version_of(output)))
        if follow:
            setattr(result, _MADE, made)
        self._mark(output, _FOLLOWED if follow else _DATA)
        return output

    def _source(self, inputs: Tensor) -> Application | None:
        for made, output, version in self._recent:
            same = output.shape == inputs.shape and storage_of(output) == storage_of(inputs)
            if same and version_of(output) == version:
                return made
        return None

    def _tag(self, tensor: Tensor) -> int:
        return _DATA if id(tensor) in self._inputs else getattr(tensor, _TAG, 0)

    def _is_data(self, tensor: Tensor) -> bool:
        return self._tag(tensor) > 0

    def _mark(self, tree: Any, tag: int) -> None:
        for tensor in tensors_in(tree) if tag else ():
            if id(tensor) not in self._own and id(tensor) not in self._inputs:
                setattr(tensor, _TAG, max(tag, getattr(tensor, _TAG, 0)))


def _canonical(output: Tensor, found: Applied) -> Tensor:
    """As (..., K), or as a convolution leaves it."""
    if found.axis is None:
        return output.unsqueeze(-1)
    return output if found.map.kernel_size else output.movedim(found.axis, -1)


def _restored(result: Tensor, found: Applied) -> Tensor:
    if found.axis is None:
        return result.squeeze(-1)
    return result if found.map.kernel_size else result.movedim(-1, found.axis)


def _makes_new(function: Any) -> bool:
    """Whether a function takes no more of its arguments than their shape and type."""
    name = getattr(function, "__name__", "")
    return name.startswith("new_") or name.endswith("_like")


def _is_in_place(function: Any) -> bool:
    name = getattr(function, "__name__", "")
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))


@contextmanager
def _hooks(model: nn.Module, follower: _Follower, head: Whole | None) -> Iterator[None]:
    """Tell the follower which module runs, and hand it what leaves the head."""

    def whole(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        entered = args[0] if args else kwargs.get("input")
        if not head or not isinstance(entered, Tensor) or not isinstance(output, Tensor):
            return None
        return follower.apply(Applied(entered, head[1]), output, whole=True)

    def leave(*_: Any) -> None:
        follower.path.pop()

    handles = []
    if head is not None:
        handles.append(head[0].register_forward_hook(whole, with_kwargs=True))
    for name, module in model.named_modules():
        handles.append(
            module.register_forward_pre_hook(lambda *_, name=name: follower.path.append(name))
        )
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
