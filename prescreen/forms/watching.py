"""Watching: what Python does with tensors that no operation shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from prescreen.forms.calls import NotComparable
from prescreen.forms.recording import Recorder

_LEARNING = {"register_hook", "register_post_accumulate_grad_hook", "_backward_hooks"}
_MEMORY = {"numpy", "tolist", "data_ptr", "__array__", "__dlpack__", "untyped_storage", "storage"}


class Watch(TorchFunctionMode):
    """Notices what Python does with tensors that no operation shows.

    Args:
        recorder: of the operations.
        running: whether a network runs, and is not being built.
    """

    def __init__(self, recorder: Recorder, *, running: bool) -> None:
        super().__init__()
        self._recorder, self._running = recorder, running

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Call a function."""
        with self._recorder.noting():
            return self._called(func, args, kwargs or {})

    def _called(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", "")
        if name in _LEARNING:
            raise NotComparable(f"{name}, which changes or uses gradients")
        if name in _MEMORY and args and isinstance(args[0], Tensor):
            if self._running:
                raise NotComparable(f"{name}, which reads values")
            node = self._recorder.node_of(args[0])
            if node.random:
                raise NotComparable("its code depends on values that are drawn")
            self._recorder.unseen.add(args[0].untyped_storage()._cdata)
        result = func(*args, **kwargs)
        if name == "grad_fn" and result is not None:  # it may be given hooks
            raise NotComparable("its code looks at how gradients are computed")
        return result
