"""What is read at a checkpoint, and what training itself shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.baselines.checkpoints import alignments, evidence, gwa, prediction_changes
from benchmarks.common.readouts import HEAD
from prescreen import READOUTS, Probe, Readout
from prescreen.predictions import Predictions
from prescreen.readouts import NORMALIZATIONS, Need, compose, get_readout, labels
from prescreen.tasks.images.views import shifted

# The probe of Wu & Summa 2026: the batch gradient with training labels, normalized in these ways.
PROBE_SCALES = ("none", "head", "feature", "both")

# Points of the grid without labels. Only the divisors of their normalizations are kept.
ANCHORS = ("prior", "uniform", "pseudo")
GRADIENTS = ("gradient", "batch_gradient", "centred_batch_gradient")
SCALES = ("head", "feature")

BEFORE: tuple[Need, ...] = ("head", "before")

# Other views of unlabelled images.
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "mirrored": lambda images: images.flip(3),
    "shifted": shifted,
}


class Followed:
    """What training shows of its own samples, whose labels it sees as (n,); see `values`."""

    def __init__(self, model: nn.Module, labels: Tensor) -> None:
        self._labels = labels
        self._before = torch.full_like(labels, -1)
        self._after = torch.full_like(labels, -1)
        self._gammas = [torch.empty(0)]
        head = model.get_submodule("head")
        assert isinstance(head.weight, Tensor)
        self._weight = head.weight
        entering: dict[str, Tensor] = {}
        # Other passes leave features here as well; training's own pass is the last before its loss.
        head.register_forward_pre_hook(lambda _, inputs: entering.update(features=inputs[0]))
        self._entering = entering

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Cross-entropy; sample numbers are passed instead of targets."""
        targets = self._labels[rows]
        with torch.no_grad():
            features, weight = self._entering["features"], self._weight
            self._gammas.append(alignments(features, logits, weight, targets))
            self._before[rows] = self._after[rows]
            self._after[rows] = logits.argmax(1)
        return functional.cross_entropy(logits, targets)

    def values(self, epoch: int) -> dict[str, float]:
        """GWA of the last epoch (its steps are given), and the share of predictions that it changed."""
        self._gammas = self._gammas[-epoch:]
        changes = prediction_changes(self._before, self._after)
        return {"gwa.training": gwa(torch.cat(self._gammas)), "label_wave": changes}


def probes(inputs: Mapping[str, Tensor], seen: Tensor, seen_labels: Tensor) -> list[Probe]:
    """What reads a run, each readout by the name of its column.

    Args:
        inputs: unlabelled ones: ``unseen``, and ``corrupted`` in some runs.
        seen: training inputs without augmentation.
        seen_labels: of ``seen``, as training sees them; only methods compared with readouts use them.
    """
    anchor, evaluated = labels(seen_labels), partial(Probe, batch_statistics=False)
    points = [f"{anchor}/{gradient}" for anchor in ANCHORS for gradient in GRADIENTS]
    grid = {f"grid.{point}": get_readout(f"{point}/none") for point in points}
    grid |= {f"scale.{scale}": Readout(NORMALIZATIONS[scale]) for scale in SCALES}
    paper = {scale: compose(anchor, "batch_gradient", scale) for scale in PROBE_SCALES}
    labelled = {f"probe.{scale}": readout for scale, readout in paper.items()}
    labelled["gwa.labels"] = compose(anchor, "gwa")
    labelled["evidence"] = Readout(lambda c: evidence(c.features, c.logits, seen_labels))
    made = [
        Probe(inputs["unseen"], _head("unseen_batch")),
        Probe(seen, {f"probe_batch.{scale}": readout for scale, readout in paper.items()}),
        evaluated(seen, _head("seen") | labelled | _followed("seen")),
    ]
    for kind, batch in inputs.items():
        more = grid if kind == "unseen" else {}
        made.append(evaluated(batch, _head(kind) | _followed(kind) | more))
        made += [evaluated(batch, _viewed(kind, name), view=view) for name, view in VIEWS.items()]
    return made


def _head(kind: str) -> dict[str, Readout]:
    return {f"{kind}.{name}": readout for name, readout in HEAD.items()}


def _followed(kind: str) -> dict[str, Readout]:
    """How predictions differ from those at the checkpoint before: share of classes, divergence."""
    churn = Readout(lambda now, before: (predicted(now) != predicted(before)).double(), BEFORE)
    divergence = get_readout("before/divergence/none")
    return {f"churn.{kind}": churn, f"divergence.{kind}.before": divergence}


def _viewed(kind: str, view: str) -> dict[str, Readout]:
    divergence = get_readout("view/divergence/none")
    return {
        f"agreement.{kind}.{view}": READOUTS["agreement"],
        f"divergence.{kind}.{view}": divergence,
    }


def predicted(taken: Predictions) -> Tensor:
    """Classes, (N,)."""
    return taken.logits.argmax(1)
