"""What is read at a checkpoint, and what training itself shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.baselines.checkpoints import alignments, gwa, prediction_changes
from benchmarks.common.readouts import HEAD
from prescreen import READOUTS
from prescreen.captured import Capture
from prescreen.heads.capturing import capture
from prescreen.readouts import NORMALIZATIONS, compose, get_readout, labels
from prescreen.tasks.images.views import shifted

# The probe of Wu & Summa 2026: these of the batch gradient with labels of training inputs.
PROBE_SCALES = ("none", "head", "feature", "both")

# Points of the grid without labels. Of their normalizations only the divisors are kept.
ANCHORS = ("prior", "uniform", "pseudo")
GRADIENTS = ("gradient", "batch_gradient", "centred_batch_gradient")
SCALES = ("head", "feature")

# How far predictions of the same inputs differ: mean KL(p ‖ p'), in nats.
VIEW_DIVERGENCE = get_readout("view/divergence/none")
BEFORE_DIVERGENCE = get_readout("before/divergence/none")

# Other views of unlabelled images.
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "mirrored": lambda images: images.flip(3),
    "shifted": shifted,
}


class Followed:
    """What training shows of its own samples, of which it sees these labels (n,): see `values`."""

    def __init__(self, model: nn.Module, labels: Tensor) -> None:
        self._labels = labels
        self._before = torch.full_like(labels, -1)
        self._after = torch.full_like(labels, -1)
        self._gammas = [torch.empty(0)]
        head = model.get_submodule("head")
        assert isinstance(head.weight, Tensor)
        self._weight = head.weight
        entering: dict[str, Tensor] = {}
        # Other passes leave their features here, too; training's own comes last before its loss.
        head.register_forward_pre_hook(lambda _, inputs: entering.update(features=inputs[0]))
        self._entering = entering

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Cross-entropy; the samples' numbers come instead of targets."""
        targets = self._labels[rows]
        with torch.no_grad():
            features, weight = self._entering["features"], self._weight
            self._gammas.append(alignments(features, logits, weight, targets))
            self._before[rows] = self._after[rows]
            self._after[rows] = logits.argmax(1)
        return functional.cross_entropy(logits, targets)

    def values(self, epoch: int) -> dict[str, float]:
        """GWA of the last epoch, of so many steps, and the share of predictions that it changed."""
        self._gammas = self._gammas[-epoch:]
        changes = prediction_changes(self._before, self._after)
        return {"gwa.training": gwa(torch.cat(self._gammas)), "label_wave": changes}


def capture_all(model: nn.Module, inputs: Mapping[str, Tensor], seen: Tensor) -> dict[str, Capture]:
    """The head on every kind of inputs in eval mode; on unseen and seen ones as in training, too."""
    taken = {
        kind: capture(model, batch, batch_statistics=False)
        for kind, batch in {**inputs, "seen": seen}.items()
    }
    taken |= {
        f"{view}_{kind}": capture(model, change(batch), batch_statistics=False)
        for kind, batch in inputs.items()
        for view, change in VIEWS.items()
    }
    for kind, batch in (("unseen", inputs["unseen"]), ("seen", seen)):
        taken[f"{kind}_batch"] = capture(model, batch)
    return taken


def read_all(taken: Mapping[str, Capture], seen_labels: Tensor) -> dict[str, float]:
    """All readouts of all captures, points of the grid, the paper's probe, and agreement.

    Only the paper's probe uses the labels of the seen inputs, as training sees them.
    """
    values = {
        f"{kind}.{name}": readout(capture)
        for kind, capture in taken.items()
        if not kind.startswith((*VIEWS, "seen_batch"))
        for name, readout in HEAD.items()
    }
    unseen = taken["unseen"]
    for point in (f"{anchor}/{gradient}" for anchor in ANCHORS for gradient in GRADIENTS):
        values[f"grid.{point}"] = get_readout(f"{point}/none")(unseen)
    values |= {f"scale.{scale}": NORMALIZATIONS[scale](unseen) for scale in SCALES}
    anchor = labels(seen_labels)
    for kind, where in (("probe", "seen"), ("probe_batch", "seen_batch")):
        for scale in PROBE_SCALES:
            values[f"{kind}.{scale}"] = compose(anchor, "batch_gradient", scale)(taken[where])
    values["gwa.labels"] = compose(anchor, "gwa")(taken["seen"])
    for kind in ("unseen", "corrupted"):
        if kind in taken:
            for view in VIEWS:
                one, other = taken[kind], taken[f"{view}_{kind}"]
                values[f"agreement.{kind}.{view}"] = READOUTS["agreement"](one, other)
                values[f"divergence.{kind}.{view}"] = VIEW_DIVERGENCE(one, other)
    return values


def changes(before: Mapping[str, Capture], taken: Mapping[str, Capture]) -> dict[str, float]:
    """How predictions differ from those at the checkpoint before: share of classes, divergence."""
    values = {}
    for kind in ("unseen", "seen", "corrupted"):
        if kind in taken and kind in before:
            now, then = taken[kind], before[kind]
            moved = predicted(now) != predicted(then)
            values[f"churn.{kind}"] = moved.double().mean().item()
            values[f"divergence.{kind}.before"] = BEFORE_DIVERGENCE(now, then)
    return values


def predicted(taken: Capture) -> Tensor:
    """Classes, (N,)."""
    return taken.logits.argmax(1)
