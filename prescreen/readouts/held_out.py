"""The loss on the probe, where what its predictions should be is known without annotation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from prescreen.captured import Capture
from prescreen.readouts.readout import Readout

HELD_OUT_LOSS = "held_out_loss"


@dataclass(frozen=True, eq=False)
class HeldOutLoss:
    """The loss of each prediction that is read: cross-entropy in nats, or squared error.

    Args:
        targets: in the order of the rows of the model's logits. Classes (R,) for softmax; (R, K) else:
            for sigmoid from 0 to 1, for identity real.
    """

    targets: Tensor

    def __call__(self, capture: Capture) -> Tensor:
        """The losses, shape (N,), each the mean over K where there are targets for each output.

        Raises:
            ValueError: it is not told which rows were read, or there is no target for one or for each
                of its outputs.
        """
        at = capture.positions
        if at is None or int(at.max()) >= len(self.targets):
            rows = "unknown rows" if at is None else f"row {int(at.max())}"
            raise ValueError(
                f"`targets` must be of all rows of the logits, got {len(self.targets)} for {rows}"
            )
        targets = self.targets[at.to(self.targets.device)].to(capture.logits.device)
        if capture.link == "softmax":
            own = [
                capture.logit_block(rows).gather(1, targets[rows].long().unsqueeze(1))
                for rows in capture.row_blocks()
            ]
            return capture.log_partition - torch.cat(own).squeeze(1)
        logits, targets = capture.logit_block(), targets.to(capture.dtype)
        if targets.shape != logits.shape:  # torch would stretch one to the other
            got = tuple(targets.shape)
            raise ValueError(
                f"`targets` must be of the rows' {tuple(logits.shape)} logits, got {got}; where a row "
                "is a patch of many pixels, take other readouts than held_out_loss"
            )
        if capture.link == "identity":
            return (logits - targets).square().mean(1)
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(
            1
        )


def held_out_loss(targets: Tensor) -> Readout:
    """The readout of a `HeldOutLoss`, for a `Probe` or `Monitor` of the inputs that targets are of."""
    return Readout(HeldOutLoss(targets), higher_is_better=False)
