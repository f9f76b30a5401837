"""Losses of language models: the cross-entropy of tokens, in training and on what is held out."""

from __future__ import annotations

from operator import itemgetter

from torch import Tensor, nn
from torch.nn import functional

from prescreen.predictions import IGNORED, LOSS_MASK, model_logits
from prescreen.tasks.evaluating import evaluating
from prescreen.tasks.text.sequences import Example
from prescreen.trees import map_tensors, to_device

# The most logits of one forward pass over a whole probe (512 MiB in float32).
PROBE_LOGITS = 1 << 27


def token_losses(model: nn.Module, batch: Example, reduction: str = "mean") -> Tensor:
    """Cross-entropy, in nats, of the tokens that are predicted: their mean, or their sum."""
    inputs, targets = batch
    if isinstance(inputs, dict):
        output = model(**{name: one for name, one in inputs.items() if name != LOSS_MASK})
    else:
        output = model(inputs)
    logits, flat = model_logits(output).flatten(0, 1), targets.flatten()
    return functional.cross_entropy(logits, flat, ignore_index=IGNORED, reduction=reduction)


def held_out_loss(
    model: nn.Module, probe: Tensor | dict[str, Tensor], targets: Tensor, classes: int
) -> float:
    """Mean cross-entropy of the probe's targets (N, L), in eval mode; the model stays as it was."""
    step = max(1, (PROBE_LOGITS >> 3) // (targets.shape[1] * classes))
    total = 0.0
    with evaluating(model) as device:
        for start in range(0, len(targets), step):
            part = slice(start, start + step)
            batch = (map_tensors(probe, itemgetter(part)), targets[part])
            total += token_losses(model, to_device(batch, device), "sum").item()
    return total / int((targets != IGNORED).sum())
