"""Features: how much those of an untrained network differ."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prescreen.heads.capturing import capture
from prescreen.heads.execute import is_out_of_memory
from prescreen.heads.masks import counted
from prescreen.heads.positions import draw
from prescreen.heads.wrappers import unwrap
from prescreen.random_state import ONE_AT_A_TIME
from prescreen.readouts.network.operations import counting
from prescreen.trees import count_samples

# How many outputs are held while the model runs: the features are among the last ones.
_WINDOW = 32

# Of more places than these, so many are drawn: their covariance is computed in float64.
_MOST = 1 << 20


def isotropy(model: nn.Module, inputs: Any, head: str | None = None) -> float:
    """−Σ_d s_d log s_d, with s_d the share of principal direction d in the variance of features.

    0 if all features lie on a line, log D if they vary equally in all D directions, NaN if they do not
    vary. Features are taken before they are averaged over places: among outputs as wide as the head's
    input, those with the most places; among these, the latest that is not from an activation function.
    Padding that the inputs mask is left out.

    Reference: after the expressivity of Lee & Ham 2024, arXiv 2403.19232, which sums it over blocks
    and feeds noise.
    """
    return _isotropy(model, inputs, head)


def isotropy_and_flops(
    model: nn.Module, inputs: Any, head: str | None
) -> tuple[float, float | None]:
    """Both from one forward pass; None for ``flops`` if they must be counted in one of their own."""
    operations: list[int] = []
    try:
        with counting(unwrap(model), operations):
            value = _isotropy(model, inputs, head)
    except Exception as error:
        if operations or is_out_of_memory(error):  # it is not the counting that fails
            raise
        value = _isotropy(model, inputs, head)
    return value, operations[0] / count_samples(inputs) if operations else None


def _isotropy(model: nn.Module, inputs: Any, head: str | None) -> float:
    root = unwrap(model)
    with ONE_AT_A_TIME, _outputs(root) as outputs:
        features = _captured(model, inputs, head)
    width, most = features.shape[1], features.numel()
    for output in outputs:
        if width in output.shape[1:] and output.numel() >= most and _varies(output):
            # If a side is as long as the width: tokens have channels last, maps have them first.
            last = output.ndim == 3 and output.shape[-1] == width
            axis = -1 if last else output.shape.index(width, 1)
            moved, most = output.movedim(axis, -1), output.numel()
            keep = counted(root, inputs, moved.shape[:-1], strict=False)
            features = (
                moved.flatten(0, -2)
                if keep is None
                else moved.flatten(0, -2)[keep.to(moved.device)]
            )
    if features.device.type == "mps":
        features = features.cpu()  # Apple's GPUs have no float64
    if len(features) > _MOST:
        features = features[draw(len(features), _MOST).to(features.device)]
    features = features.double()
    if features.shape[1] > len(features):  # such as those of many anchors
        centred = features - features.mean(0)
        covariance = centred @ centred.T / len(features)  # of the same eigenvalues, but for zeros
    else:
        covariance = torch.atleast_2d(features.T.cov(correction=0))
    variances = torch.linalg.eigvalsh(covariance).clamp(min=0)
    shares = variances / variances.sum()
    return -torch.special.xlogy(shares, shares).sum().item()


def _captured(model: nn.Module, inputs: Any, head: str | None) -> Tensor:
    """What enters the head. Behind one of several classes a log_softmax may stand; one has none."""
    try:
        return capture(model, inputs, head=head).features
    except ValueError:
        return capture(model, inputs, head=head, link="identity").features


def _varies(output: Tensor) -> bool:
    """Whether an output varies; that of a branch that is initialised to zero does not."""
    return bool(output.amax() > output.amin())


@contextmanager
def _outputs(model: nn.Module) -> Iterator[deque[Tensor]]:
    """The latest outputs of three and more dimensions, as they were when they left."""
    outputs: deque[Tensor] = deque(maxlen=_WINDOW)

    def record(module: nn.Module, args: object, output: object) -> None:
        is_activation = "activation" in type(module).__module__
        if isinstance(output, Tensor) and output.ndim > 2 and not is_activation:
            outputs.append(output.detach() if output.requires_grad else output)

    inplace: list[Any] = [m for m in model.modules() if getattr(m, "inplace", False) is True]
    handles = [module.register_forward_hook(record) for module in model.modules()]
    try:
        for module in inplace:
            module.inplace = False  # else an activation would overwrite a held output
        yield outputs
    finally:
        for module in inplace:
            module.inplace = True
        for handle in handles:
            handle.remove()
