"""Operations: how much a forward pass computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prescreen.heads.execute import call
from prescreen.heads.preserve import preserve
from prescreen.heads.wrappers import unwrap
from prescreen.readouts.network.undefined import undefined_if_it_fails
from prescreen.trees import count_samples


def flops(model: nn.Module, inputs: Any, head: str | None = None) -> float:
    """Floating-point operations of one sample's forward pass.

    Counted by torch: matrix products, convolutions and attention, with two operations for each
    multiplication and its addition.

    Raises:
        UndefinedMeasure: the network does not run where operations are counted.
    """
    root = unwrap(model)
    # Which statistics normalise does not matter here, but a batch of one may be too few for its own.
    own = preserve(root, batch_statistics=False)
    counted: list[int] = []
    with undefined_if_it_fails(), own, counting(root, counted):
        samples = count_samples(inputs)
        call(root, inputs)
    return counted[0] / samples


@contextmanager
def counting(root: nn.Module, counted: list[int]) -> Iterator[None]:
    """Count the operations of the first forward pass inside, and add them to the list."""
    # It imports triton where that is installed, which takes a while and only workers need.
    from torch.utils.flop_counter import FlopCounterMode

    own, forward = vars(root), root.forward
    before = own.get("forward")

    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        if counted:
            return forward(*args, **kwargs)
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = _Whole()  # type: ignore[assignment]
        with counter:
            output = forward(*args, **kwargs)
        counted.append(counter.get_total_flops())
        return output

    own["forward"] = run
    try:
        with _countable(root):
            yield
    finally:
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before


class _Whole:
    """In place of what tells torch's counter which module runs, which takes as long as all else."""

    parents = ("Global",)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


@contextmanager
def _countable(model: nn.Module) -> Iterator[None]:
    """Without torch's fused attention, which its counter misses, and without gradients.

    The counter follows gradients through modules, and fails if a tensor has none but is a view of a
    parameter that has.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for parameter in trainable:
            parameter.requires_grad_(False)
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        torch.backends.mha.set_fastpath_enabled(fused)
