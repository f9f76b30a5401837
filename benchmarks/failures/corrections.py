"""Corrections without labels: scale of logits, gaps, shifts of the probe, agreement."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.common.readouts import HEAD
from prescreen.captured import Capture
from prescreen.heads.capturing import capture
from prescreen.tasks.images.probe_batch import probe_shift

# What standard deviation the logits of a sample get.
SPREAD = 3.0

SCALED = ("sample_gradient", "mutual_information", "nuclear", "confidence", "entropy")
# A row that is scaled by itself no longer has the features that the head saw.
ROWWISE = ("mutual_information", "nuclear", "confidence", "entropy")
GAPS = ("confidence", "mutual_information")
SHIFTS = ("prediction", "confidence", "norm", "features", "features_running", "input")


def scaled(taken: Capture) -> Capture:
    """The same head at the temperature where the mean deviation of a sample's logits is SPREAD.

    Exactly blind to a temperature: argmax and the order of confidences stay as they are.
    """
    spread = taken.logits.std(1, correction=0).mean()
    factor = SPREAD / spread if spread > 0 else torch.ones_like(spread)
    bias = None if taken.bias is None else factor * taken.bias
    return replace(taken, logits=factor * taken.logits, weight=factor * taken.weight, bias=bias)


def rowwise(taken: Capture) -> Capture:
    """Every sample's logits with mean zero and a deviation of SPREAD; they are the features, too."""
    logits = taken.logits - taken.logits.mean(1, keepdim=True)
    spread = logits.std(1, correction=0, keepdim=True)
    logits = torch.where(spread > 0, SPREAD * logits / spread, 0.0)
    identity = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
    return Capture(logits, logits, identity, None, taken.link)


def corrected(taken: Capture) -> dict[str, float]:
    """Readouts of the head as it would be at other temperatures: of the batch, of each sample."""
    tables = (("scaled", scaled(taken), SCALED), ("rowwise", rowwise(taken), ROWWISE))
    return {
        f"{kind}.{name}": HEAD[name](changed) for kind, changed, names in tables for name in names
    }


def mirror_agreement(model: nn.Module, inputs: Tensor, taken: Capture) -> float:
    """Share of images that are predicted the same in the mirror; needs a second forward pass."""
    mirrored = capture(model, inputs.flip(3))
    return (mirrored.logits.argmax(1) == taken.logits.argmax(1)).double().mean().item()


def gaps(seen: Capture, unseen: Capture) -> dict[str, float]:
    """What readouts are higher on training inputs than on unseen ones; 0 without memorisation."""
    return {f"gap.{name}": HEAD[name](seen) - HEAD[name](unseen) for name in GAPS}


def shifts(model: nn.Module, seen: Tensor, probe: Tensor) -> dict[str, float]:
    """How unlike training inputs a probe batch is, in several ways; near 0 where they are alike.

    ``input`` looks at pixels only, and is what a `Task` warns about.
    """
    a, b = capture(model, seen), capture(model, probe)
    confidence = HEAD["confidence"]
    ratio = b.feature_norms.mean() / a.feature_norms.mean().clamp_min(1e-12)
    running = [capture(model, inputs, batch_statistics=False).features for inputs in (seen, probe)]
    values = {
        "prediction": ((a.mean_prediction - b.mean_prediction).abs().sum() / 2).item(),
        "confidence": abs(confidence(a) - confidence(b)),
        "norm": ratio.clamp_min(1e-12).log().abs().item(),
        "features": _distance(a.features, b.features),
        "features_running": _distance(*running),
        "input": probe_shift(probe),
    }
    return {f"shift.{name}": values[name] for name in SHIFTS}


def _distance(reference: Tensor, other: Tensor) -> float:
    """Root mean square over features of the means' distance, in deviations of the reference."""
    deviation = reference.std(0).clamp_min(1e-6)
    return ((other.mean(0) - reference.mean(0)) / deviation).square().mean().sqrt().item()
