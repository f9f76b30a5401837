"""Normalizations: the scale that a readout is divided by.

Rescaling features by c and the head by 1/c does not change predictions, but multiplies head gradients
by c. ``feature`` and ``centred_feature`` remove that factor. ``head`` does not: it gives the relative
change of the head's weight, the source paper's setting for classic CNNs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from prescreen.captured import Capture
from prescreen.readouts.residuals import centred

Normalization = Callable[[Capture], float]


def none(capture: Capture) -> float:
    """1: the readout is not normalised."""
    return 1.0


def head(capture: Capture) -> float:
    """‖W‖_F."""
    return torch.linalg.vector_norm(capture.weight, dtype=capture.dtype).item()


def feature(capture: Capture) -> float:
    """√ mean ‖z_i‖²: makes a readout independent of the scale of features."""
    return capture.feature_norms.square().mean().sqrt().item()


def centred_feature(capture: Capture) -> float:
    """√ mean ‖z_i − z̄‖²: like ``feature``, and independent of an offset shared by all samples."""
    spread = torch.linalg.vector_norm(centred(capture.features.to(capture.dtype)))
    return spread.item() / math.sqrt(capture.num_samples)


def both(capture: Capture) -> float:
    """``head`` times ``feature``."""
    return head(capture) * feature(capture)


NORMALIZATIONS: dict[str, Normalization] = {
    "none": none,
    "head": head,
    "feature": feature,
    "centred_feature": centred_feature,
    "both": both,
}
