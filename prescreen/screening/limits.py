"""Limits: how large and slow a candidate may be; looked at before it is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from prescreen.checks import require, require_at_least
from prescreen.failures import CandidateFailed
from prescreen.heads.execute import call
from prescreen.heads.preserve import preserve
from prescreen.heads.wrappers import unwrap
from prescreen.readouts.network.operations import flops
from prescreen.readouts.network.undefined import UndefinedMeasure
from prescreen.trees import first_sample, to_device

# Passes before the first that counts, the fewest and most that do, and the seconds after which it is
# enough of them.
_WARM_UP, _FEWEST, _MOST, _ENOUGH = 2, 5, 100, 0.3


@dataclass(frozen=True)
class Limits:
    """What a candidate may cost at most; None for no limit.

    Args:
        max_params: trainable parameters.
        max_flops: floating-point operations of a forward pass of one sample, counted as the readout
            ``flops`` counts them.
        max_latency: milliseconds of a forward pass in eval mode on the device of the training, the
            shortest of several: whatever else a machine does only adds to them.
        latency_batch: samples in that pass, the first of the probe batch.

    Raises:
        ValueError: an argument is out of its range.
    """

    max_params: float | None = None
    max_flops: float | None = None
    max_latency: float | None = None
    latency_batch: int = 1

    def __post_init__(self) -> None:
        for name in ("max_params", "max_flops", "max_latency"):
            value = getattr(self, name)
            require(name, "above 0, or None", value, value is None or 0 < value < math.inf)
        require_at_least("latency_batch", self.latency_batch, 1)

    def __bool__(self) -> bool:
        return any(one is not None for one in (self.max_params, self.max_flops, self.max_latency))

    def to_json(self) -> dict[str, Any]:
        """The limits as a dict."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def check(self, model: nn.Module, inputs: Any, device: str) -> None:
        """Refuse a network that is above a limit; it is left bit for bit as it was.

        Args:
            model: on its device.
            inputs: the probe batch.
            device: where the model is.

        Raises:
            CandidateFailed: of the kind ``"limit"``: it is above.
        """
        reason = next(self._above(model, inputs, device), None)
        if reason is not None:
            raise CandidateFailed("limit", reason)

    def _above(self, model: nn.Module, inputs: Any, device: str) -> Iterator[str]:
        """Why a network is above the limits; what takes longer to measure comes later."""
        if self.max_params is not None:
            count = sum(p.numel() for p in model.parameters() if p.requires_grad)
            if count > self.max_params:
                yield f"{count:,} parameters, above {self.max_params:,.15g}"
        if self.max_flops is not None:
            try:
                operations = flops(model, to_device(first_sample(inputs), device))
            except UndefinedMeasure as error:
                yield f"FLOPs that cannot be counted: {error}"
                return
            if operations > self.max_flops:
                yield f"{operations:.4g} FLOPs of one sample, above {self.max_flops:.4g}"
        if self.max_latency is not None:
            batch = to_device(first_sample(inputs, self.latency_batch), device)
            took = 1000 * _seconds(model, batch, torch.device(device))
            if took > self.max_latency:
                threads = torch.get_num_threads()
                where = (
                    f"cpu with {threads} thread{'s' * (threads > 1)}" if device == "cpu" else device
                )
                yield (
                    f"{took:.3g} ms for a batch of {self.latency_batch} on {where}, above "
                    f"{self.max_latency:g} ms"
                )


def _seconds(model: nn.Module, inputs: Any, device: torch.device) -> float:
    """The shortest forward pass of several."""
    synchronize = getattr(getattr(torch, device.type, None), "synchronize", lambda: None)
    root = unwrap(model)
    times: list[float] = []
    with preserve(root, batch_statistics=False):
        begin = time.perf_counter()
        for number in range(_WARM_UP + _MOST):
            synchronize()
            start = time.perf_counter()
            call(root, inputs)
            synchronize()
            if number >= _WARM_UP:
                times.append(time.perf_counter() - start)
            if len(times) >= _FEWEST and time.perf_counter() - begin > _ENOUGH:
                break
    return min(times)
