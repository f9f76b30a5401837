"""Weight noise: a model whose weights are changed a little, for as long as a block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from prescreen.heads.wrappers import unwrap

# Relative to the root mean square of each weight matrix.
SHARE = 0.1


@contextmanager
def weight_noise(model: nn.Module) -> Iterator[None]:
    """Add Gaussian noise of a tenth of its root mean square to every weight matrix; then take it away.

    The noise has a fixed seed. Vectors (biases, scales) stay as they are; what is shared changes once;
    of parametrised weights the parameters change. Matrices take their memory once more. Afterwards every
    parameter holds the very memory that it held before, also if the block raises, and a pending backward
    pass is not disturbed.

    Args:
        model: wrapped or not.
    """
    generators: dict[torch.device, Generator] = {}
    held: list[tuple[nn.Parameter, Tensor]] = []
    try:
        for parameter in unwrap(model).parameters():
            if parameter.ndim > 1 and parameter.is_floating_point():
                device = parameter.device
                if device not in generators:
                    generators[device] = Generator(device).manual_seed(0)
                held.append((parameter, parameter.data))
                # Handed over, not written into: nothing needs to be copied back, and layers that keep
                # a second list of their weights, as LSTM does, see it as well.
                with torch.inference_mode(parameter.is_inference()):
                    parameter.data = _noisy(parameter.data, generators[device])
        yield
    finally:
        for parameter, data in held:
            parameter.data = data


def _noisy(weight: Tensor, generator: Generator) -> Tensor:
    exact = weight if weight.dtype == torch.float64 else weight.float()
    noise = torch.randn(weight.shape, generator=generator, device=weight.device, dtype=exact.dtype)
    size = SHARE * exact.square().mean().sqrt()
    return noise.mul_(size).add_(exact).to(weight.dtype)
