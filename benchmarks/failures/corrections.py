"""What is read: readouts, their corrections without labels, and shifts of the probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.common.readouts import HEAD
from prescreen import DEFAULT_PANEL, READOUTS, Probe, Readout
from prescreen.captured import Capture
from prescreen.heads.capturing import capture
from prescreen.readouts import get_readout
from prescreen.tasks.images.probe_batch import probe_shift

# The standard deviation that the logits of a sample get.
SPREAD = 3.0

SHIFTS = ("prediction", "confidence", "norm", "features", "features_running", "input")


def scaled(taken: Capture) -> Capture:
    """The same head at the temperature where the mean deviation of a sample's logits is SPREAD.

    A temperature makes no difference to the result. Argmax and the order of confidences are kept.
    """
    spread = taken.logits.std(1, correction=0).mean()
    factor = SPREAD / spread if spread > 0 else torch.ones_like(spread)
    bias = None if taken.bias is None else factor * taken.bias
    return replace(taken, logits=factor * taken.logits, weight=factor * taken.weight, bias=bias)


def rowwise(taken: Capture) -> Capture:
    """Every sample's logits with mean zero and a deviation of SPREAD; they also serve as features."""
    logits = taken.logits - taken.logits.mean(1, keepdim=True)
    spread = logits.std(1, correction=0, keepdim=True)
    logits = torch.where(spread > 0, SPREAD * logits / spread, 0.0)
    identity = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
    return Capture(logits, logits, identity, None, taken.link)


def _changed(taken: Capture, change: Callable[[Capture], Capture], name: str) -> float:
    return HEAD[name](change(taken))


# Readouts of the head as it would be at another temperature, one per batch or one per sample. A row
# that is scaled by itself no longer has the features that the head saw.
ROWWISE = ("mutual_information", "nuclear", "confidence", "entropy")
CORRECTED = {
    f"{change.__name__}.{name}": Readout(
        partial(_changed, change=change, name=name), higher_is_better=HEAD[name].higher_is_better
    )
    for change, names in ((scaled, ("sample_gradient", *ROWWISE)), (rowwise, ROWWISE))
    for name in names
}
# Of every candidate: HERE is read at one step, its last readout with a mirrored view; STABLE with
# shifted images and at several steps, since some of it looks back, with the untrained measures of the
# default panel. GAPS are higher on training inputs than on unseen ones, and 0 without memorisation.
HERE = HEAD | CORRECTED | {"mirror_agreement": READOUTS["agreement"]}
STABLE = {
    name: get_readout(name) for name in (*DEFAULT_PANEL, "expected_agreement", "stable_information")
}
READ = HERE | STABLE
GAPS = {f"gap.{name}": get_readout(f"gap/{name}") for name in ("confidence", "mutual_information")}


def read(model: nn.Module, inputs: Tensor, seen: Tensor | None = None) -> dict[str, float]:
    """All readouts but STABLE, with gaps if there are training inputs to compare with."""
    table = HERE if seen is None else HERE | GAPS
    probe = Probe(inputs, table, view=lambda images: images.flip(3), seen=seen)
    return dict(probe.read(model, 0).values)


def shifts(model: nn.Module, seen: Tensor, probe: Tensor) -> dict[str, float]:
    """How unlike training inputs a probe batch is, in several ways; near 0 where they are alike.

    ``input`` looks at pixels only, and is the shift that a `Task` warns about.
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
