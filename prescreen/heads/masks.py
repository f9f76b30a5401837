"""Masks: which positions the loss and the prediction use, and whether padding moves them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prescreen.predictions import IGNORED, LOSS_MASK

# Keywords that mark tokens with 1 or True.
_TOKENS = ("attention_mask", "mask", LOSS_MASK)
# Keywords that mark padding with True, as torch's layers have them.
_PADDING = ("key_padding_mask", "src_key_padding_mask", "padding_mask")


def counted(
    model: nn.Module, inputs: Any, shape: Sequence[int], *, strict: bool = True
) -> Tensor | None:
    """Numbers of the rows that count, by the masks and labels in the inputs, sequence by sequence.

    Args:
        model: called with the inputs.
        inputs: what it is called with.
        shape: that of the rows: (B, L), or (L, B), if there is one for each token.
        strict: refuse masks of another length, instead of passing them over.

    Returns:
        None if all count.

    Raises:
        ValueError: the mask leaves positions out, but is of another length than the logits are.
    """
    if len(shape) != 2:
        return None
    numbers = torch.arange(shape[0] * shape[1]).reshape(tuple(shape))
    keep: Tensor | None = None
    named = _named(model, inputs)
    for name, mask in _masks(model, named) or _padding(model, named):
        if keep is None and mask.shape == numbers.T.shape != numbers.shape:
            numbers = numbers.T
        if mask.shape == numbers.shape:
            keep = mask if keep is None else keep & mask
        elif strict and len(mask) == shape[0] and not bool(mask.all()):
            raise ValueError(
                f"`inputs` must have a value of {name} for each position of the logits, "
                f"{tuple(shape)}, got {tuple(mask.shape)}"
            )
    rows = None if keep is None else numbers[keep]
    return None if rows is None or torch.equal(rows, torch.arange(numbers.numel())) else rows


def _masks(model: nn.Module, inputs: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
    """(keyword, booleans (B, L), True for what counts) of the inputs."""
    has_decoder = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    found: list[tuple[str, Tensor]] = []
    for name, value in inputs.items():
        if not isinstance(value, Tensor) or value.ndim != 2:
            continue
        if has_decoder and name not in ("decoder_attention_mask", "labels", LOSS_MASK):
            continue
        if name in _TOKENS or name == "decoder_attention_mask":
            found.append((name, value.cpu() > 0))
        elif name in _PADDING:
            found.append((name, ~value.cpu() if value.dtype == torch.bool else value.cpu() > 0))
        elif name == "labels" and not value.is_floating_point():
            found.append((name, _labelled(model, value.cpu())))
    return found


def _padding(model: nn.Module, inputs: Mapping[str, Any]) -> list[tuple[str, Tensor]]:
    """Without a mask, the tokens that the model's embedding does not declare to be padding."""
    embeddings = (m for m in model.modules() if isinstance(m, nn.Embedding))
    declared = {e.padding_idx for e in embeddings if e.padding_idx is not None}
    for name, value in inputs.items():
        if isinstance(value, Tensor) and value.ndim == 2 and not value.is_floating_point():
            return [(name, value.cpu() != declared.pop())] if len(declared) == 1 else []
    return []


def _named(model: nn.Module, inputs: Any) -> Mapping[str, Any]:
    """Inputs by the names that the model's forward gives them."""
    if isinstance(inputs, Mapping):
        return inputs
    args = (inputs,) if isinstance(inputs, Tensor) else inputs
    try:
        names = [*inspect.signature(model.forward).parameters]
    except (TypeError, ValueError):
        names = []
    return dict(zip(names, args, strict=False))


def _labelled(model: nn.Module, labels: Tensor) -> Tensor:
    """Where the logits have a label; causal language models of transformers predict the next one."""
    has = labels != IGNORED
    if type(model).__name__.endswith(("ForCausalLM", "LMHeadModel")):
        return torch.cat([has[:, 1:], torch.zeros_like(has[:, :1])], 1)
    return has


def require_unpadded(model: Any, inputs: Any) -> None:
    """Refuse places that are brought back where torchvision's detectors pad images on the right.

    Raises:
        ValueError: they do.
    """
    transform: Any = getattr(model, "transform", None)
    if not hasattr(transform, "size_divisible"):
        return
    arguments = inputs.values() if isinstance(inputs, Mapping) else inputs
    pictures = inputs if isinstance(inputs, Tensor) else next(iter(arguments))
    images, _ = transform([*{image.shape: image for image in pictures}.values()])
    padded = images.tensors.shape[-1]
    if any(width != padded for _, width in images.image_sizes):
        raise ValueError(
            "`view` must leave samples at their places where the model pads images to a multiple of "
            f"{transform.size_divisible}, got a moved one for widths of "
            f"{', '.join(str(width) for _, width in images.image_sizes[:3])}; build the model with such "
            "a min_size and max_size, or choose readouts that need no view"
        )
