"""TokenTask: a class for every token of a sequence, from tensors in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prescreen.predictions import IGNORED, Link, model_logits
from prescreen.tasks.tensors import Inputs, TensorData, as_indices
from prescreen.tasks.token_views import dropped_tokens
from prescreen.text import showing


class TokenTask:
    """One of K classes for every token; training minimises the mean cross-entropy of tokens.

    Models are called with the ids (B, L) or, if there is a mask, with the keywords ``input_ids`` and
    ``attention_mask``. They return logits (B, L, K). Builders may accept ``num_classes`` (K),
    ``vocab_size`` and ``max_length`` (L). For readouts every token of the probe is a sample, without
    padding: what the mask leaves out or, without a mask, the ``padding_idx`` of the model's embedding.

    Args:
        ids: token ids (n, L), integers.
        labels: class indices (n, L); tokens with -100 are left out of the loss.
        mask: (n, L), 1 for tokens and 0 for padding, or None.
        num_classes: K; by default one more than the largest label.
        vocab_size: by default one more than the largest id.
        probe: unlabelled ids (N, L) that training does not use, or with masks a dict of the two
            keywords; None to hold `probe_size` sequences out.
        probe_size: N, if the probe is held out.
        seed: of the draw of the probe.
        view: a function that changes inputs but not their labels, for readouts of stability; by default
            15 % of the tokens are replaced by others.
        name: the task's name.

    Raises:
        ValueError: a tensor has another shape or other values than these, or a sequence has no
            labelled token.
    """

    link: Link = "softmax"

    __repr__ = showing(name="name", sizes="sizes", probe="probe")

    def __init__(
        self,
        ids: Tensor,
        labels: Tensor,
        *,
        mask: Tensor | None = None,
        num_classes: int | None = None,
        vocab_size: int | None = None,
        probe: Inputs | None = None,
        probe_size: int = 256,
        seed: int = 0,
        view: Callable[[Any], Any] | None = None,
        name: str = "tokens",
    ) -> None:
        ids = as_indices("ids", ids)
        labels = as_indices("labels", labels, tuple(ids.shape))
        num_classes = max(2, int(labels.max()) + 1) if num_classes is None else num_classes
        _require_within("labels", labels[labels != IGNORED], "num_classes", num_classes)
        if bool((labels == IGNORED).all(1).any()):  # a batch of them would have no loss
            raise ValueError("`labels` must have a class in every sequence, got one with -100 only")
        inputs: Inputs = ids
        if mask is not None:
            mask = as_indices("mask", mask, tuple(ids.shape))
            inputs = {"input_ids": ids, "attention_mask": mask}
        self.name, self._view = name, view
        self._data = TensorData.split(inputs, labels, probe, probe_size, seed)
        self.probe = self._data.probe
        unlabelled = self.probe["input_ids"] if isinstance(self.probe, dict) else self.probe
        used = torch.cat([ids, unlabelled])
        vocab_size = int(used.max()) + 1 if vocab_size is None else vocab_size
        _require_within("ids", used, "vocab_size", vocab_size)
        self.sizes = {
            "num_classes": num_classes,
            "vocab_size": vocab_size,
            "max_length": ids.shape[1],
        }

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the data, the probe, the view's name, the classes and the vocabulary."""
        return self._data.fingerprint("tokens", self._view, *self.sizes.items())

    def batches(self, batch_size: int, seed: int) -> Iterator[tuple[Inputs, Tensor]]:
        """(ids (B, L) or keywords, labels (B, L)) without end."""
        return self._data.batches(batch_size, seed)

    def inputs(self, batch: tuple[Inputs, Tensor]) -> Inputs:
        """The ids of a batch, or the keywords."""
        return batch[0]

    def loss(self, model: nn.Module, batch: tuple[Inputs, Tensor]) -> Tensor:
        """Mean cross-entropy of the tokens that have a label."""
        inputs, labels = batch
        output = model(**inputs) if isinstance(inputs, dict) else model(inputs)
        logits = model_logits(output)
        return functional.cross_entropy(logits.movedim(-1, 1), labels, ignore_index=IGNORED)

    def views(self, inputs: Inputs) -> Any | None:
        """The inputs as the given view changes them; without one, with 15 % of the tokens replaced."""
        return dropped_tokens(inputs) if self._view is None else self._view(inputs)


def _require_within(name: str, values: Tensor, limit: str, count: int) -> None:
    outside = values[(values < 0) | (values >= count)]
    if len(outside):
        got = int(outside[0])
        raise ValueError(f"`{name}` must be at least 0 and below {limit}={count}, got {got}")
