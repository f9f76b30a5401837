"""Initial: draws of torch that are made again and again until they fit, known by their name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from prescreen.forms.recording import Recorder

# Behind `nn.init.trunc_normal_`; it looks at what it has drawn.
_NAME = "_no_grad_trunc_normal_"


@contextmanager
def named_draws(recorder: Recorder) -> Iterator[None]:
    """A tensor of a truncated normal distribution is one draw inside, and no decision by values."""
    original: Any = getattr(nn.init, _NAME, None)
    if original is None:
        yield
        return

    def drawn(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        given: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
        generator = given.pop("generator", None)
        seed = None if generator is None else generator.initial_seed()
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            original(tensor, *args, **kwargs)
            recorder.drawn(tensor, "trunc_normal", f"{[*given.values()]} {seed}")
        return tensor

    setattr(nn.init, _NAME, drawn)
    try:
        yield
    finally:
        setattr(nn.init, _NAME, original)
