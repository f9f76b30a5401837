"""LanguageTask: the next token, or masked ones, of sequences of tokens; no annotation is needed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Generator, Tensor, nn

from prescreen.checks import require, require_at_least, require_one_of
from prescreen.panel import DEFAULT_PANEL
from prescreen.predictions import LOSS_MASK, Link
from prescreen.tasks.rows import digest, shuffled_rows
from prescreen.tasks.text.files import open_corpus
from prescreen.tasks.text.held_out import checked, drawn, split
from prescreen.tasks.text.losses import PROBE_LOGITS, held_out_loss, token_losses
from prescreen.tasks.text.sequences import Example, Sequences, masked_tokens, next_tokens
from prescreen.tasks.text.tokenizers import Tokenizer, mask_id_of
from prescreen.tasks.token_views import replaced
from prescreen.text import showing

logger = logging.getLogger(__name__)

Objective = Literal["causal", "masked"]

# That of causal models was chosen on half of the candidates of the evidence, where untrained measures
# say little (docs/evidence.md). Masked ones were not looked at.
PANELS: Mapping[Objective, tuple[str, ...]] = {
    "causal": ("covariance_gradient",),
    "masked": DEFAULT_PANEL,
}


class LanguageTask:
    """The next token of each token, or the tokens that are masked; training minimises cross-entropy.

    Causal models are called with ids (B, L). If there is padding or a `loss_mask`, and for masked
    prediction, models are called with the keywords ``input_ids`` and, if there is padding,
    ``attention_mask``. They return logits (B, L, K) of the token after, or at, each position. Builders
    may accept ``vocab_size`` or ``num_classes`` (both K) and ``max_length`` (L). The loss, and the
    positions that are read, leave out padding, tokens without a next one, and what is not predicted.

    Args:
        ids: token ids: a stream (T,), which is cut into sequences, or sequences (n, L); for causal
            prediction models see all of a sequence but its last token.
        mask: (n, L), 1 for tokens and 0 for padding, of sequences; or None.
        padding_id: the token that is padding, instead of a mask.
        loss_mask: (n, L), 1 for tokens that are predicted, of sequences, such as those of answers; None
            for all.
        context: L of the sequences that a stream is cut into.
        objective: ``"causal"`` or ``"masked"``: 15 % of the tokens as in BERT (arXiv 1810.04805).
        vocab_size: K; by default one more than the largest id.
        mask_id: the token for masked ones; by default one of its own, so that K grows by one.
        probe: a stream or sequences that training does not use, or a dict of ``ids``, ``mask`` and
            ``loss_mask``; None to hold sequences out, of a stream from its last tenth.
        probe_size: N, the most sequences in the probe. It has fewer, but two, if a model's logits for
            it would be more than 2²⁷.
        seed: of the draw of the probe.
        view: a function that changes inputs but not what they show, for readouts of stability; by
            default 15 % of the tokens that are not predicted in place are replaced by others.
        name: the task's name.

    Raises:
        ValueError: a tensor has another shape or other values than these, there are too few tokens, or
            nothing is predicted in a sequence.
    """

    link: Link = "softmax"

    # Language models learn first how frequent tokens are: all of them may predict the same token
    # everywhere after brief training, and go on learning.
    collapses = False

    # A loss that is free is the best judge of checkpoints: readings without targets get ever better
    # while a text is learnt by heart.
    checkpoint_panel = ("held_out_loss",)

    __repr__ = showing(name="name", sizes="sizes", probe="probe")

    def __init__(
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        padding_id: int | None = None,
        loss_mask: Tensor | None = None,
        context: int = 128,
        objective: Objective = "causal",
        vocab_size: int | None = None,
        mask_id: int | None = None,
        probe: Tensor | Mapping[str, Tensor] | None = None,
        probe_size: int = 256,
        seed: int = 0,
        view: Callable[[Any], Any] | None = None,
        name: str = "language",
    ) -> None:
        require_one_of("objective", objective, get_args(Objective))
        require_at_least("context", context, 1)
        require_at_least("probe_size", probe_size, 2)
        ahead = 1 if objective == "causal" else 0
        data = checked("ids", ids, mask, loss_mask, padding_id)
        given = None
        if probe is not None:
            parts = dict(probe) if isinstance(probe, Mapping) else {"ids": probe}
            require("probe", "ids, or a dict with ids", [*parts], "ids" in parts)
            given = checked("probe", **parts, padding_id=padding_id)
        used = int(max(one.ids.max() for one in (data, given) if one is not None)) + 1
        vocab_size = used if vocab_size is None else vocab_size
        require("vocab_size", f"at least {used} for these ids", vocab_size, vocab_size >= used)
        if objective == "masked" and mask_id is None:
            mask_id, vocab_size = vocab_size, vocab_size + 1
        if mask_id is not None:
            allowed = f"at least 0 and below vocab_size={vocab_size}"
            require("mask_id", allowed, mask_id, 0 <= mask_id < vocab_size)
        length = context if data.ids.ndim == 1 else data.ids.shape[1] - ahead
        size = min(probe_size, max(2, PROBE_LOGITS // (max(1, length) * vocab_size)))
        if size < probe_size:
            logger.warning("the probe has %d sequences, not %d: 2^27 logits", size, probe_size)
        generator = Generator().manual_seed(seed)
        self._data, held = (
            split(data, length, ahead, size, generator)
            if given is None
            else drawn(data, given, length, ahead, size, generator)
        )
        for part in (self._data, held):
            if len(part.tensors) > 1 and not bool(part.predicted(ahead).any(1).all()):
                raise ValueError(
                    "`ids` must have a token to predict in every sequence, got one without: all are "
                    "left out by `mask` or `loss_mask`"
                )
        self.name, self._view = name, view
        self._objective, self._mask_id = objective, mask_id
        self.panel = PANELS[objective]
        self.probe, self._targets = self._example(held, generator)
        self.sizes = {"num_classes": vocab_size, "vocab_size": vocab_size, "max_length": length}

    @classmethod
    def from_files(
        cls,
        path: str | Path,
        tokenizer: Tokenizer | None = None,
        *,
        probe: str | Path | None = None,
        context: int = 128,
        objective: Objective = "causal",
        probe_size: int = 256,
        seed: int = 0,
        padding_id: int | None = None,
        view: Callable[[Any], Any] | None = None,
        name: str | None = None,
    ) -> LanguageTask:
        """A task from a text file, a folder of them, or token files (docs/tasks.md).

        Args:
            path: a text file, token ids in an .npy, .npz or .bin file, or a folder of such files.
            tokenizer: a function from a text to ids, or an object with ``encode``, such as those of
                Hugging Face; without one each character is a token.
            probe: such a file or folder that the probe is drawn from; by default files that are named
                validation or test, else a tenth of the files, else the end of the only one.
            context: L of the sequences that texts are cut into.
            objective: ``"causal"`` or ``"masked"``.
            probe_size: N, the most sequences in the probe.
            seed: of the draw of held-out files and of the probe.
            padding_id: of sequences of ids.
            view: as above.
            name: the task's name; by default the path.

        Raises:
            ValueError: the files do not exist, cannot be read, or have too few tokens.
        """
        corpus = open_corpus(path, tokenizer, probe, seed)
        return cls(
            corpus.ids,
            mask=corpus.mask,
            padding_id=padding_id,
            context=context,
            objective=objective,
            vocab_size=corpus.vocab_size,
            mask_id=mask_id_of(tokenizer) if objective == "masked" else None,
            probe=corpus.probe,
            probe_size=probe_size,
            seed=seed,
            view=view,
            name=str(path) if name is None else name,
        )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the data, the probe, the objective, the view's name and the vocabulary."""
        inputs = self.probe if isinstance(self.probe, dict) else {"input_ids": self.probe}
        digests = [digest(*self._data.tensors), digest(*inputs.values(), self._targets)]
        view = getattr(self._view, "__qualname__", type(self._view).__qualname__)
        parts = ("language", digests, self._objective, self._mask_id, view, *self.sizes.items())
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def targets(self) -> Tensor:
        """The token that is to be predicted at every position of the probe, (N·L,); -100 for none."""
        return self._targets.flatten()

    def batches(self, batch_size: int, seed: int) -> Iterator[Example]:
        """(ids (B, L) or keywords, targets (B, L)) without end; what is masked is drawn anew."""
        generator = Generator().manual_seed(seed)
        rows = shuffled_rows(len(self._data), batch_size, generator)
        return (self._example(self._data.take(some), generator) for some in rows)

    def inputs(self, batch: Example) -> Tensor | dict[str, Tensor]:
        """The ids of a batch, or the keywords."""
        return batch[0]

    def loss(self, model: nn.Module, batch: Example) -> Tensor:
        """Mean cross-entropy, in nats, of the tokens that are predicted."""
        return token_losses(model, batch)

    def held_out_loss(self, model: nn.Module) -> float:
        """The loss on the probe in eval mode, in nats a token; lower is better.

        No annotation is needed, and the model stays as it was. The readout ``"held_out_loss"`` is that
        of the positions that are read.
        """
        return held_out_loss(model, self.probe, self._targets, self.sizes["vocab_size"])

    def views(self, inputs: Tensor | dict[str, Tensor]) -> Any | None:
        """The inputs as the given view changes them; without one, with 15 % of the tokens replaced."""
        if self._view is not None:
            return self._view(inputs)
        if isinstance(inputs, Tensor):
            return replaced(inputs, torch.ones(inputs.shape, dtype=torch.bool))
        ids = inputs["input_ids"]
        counts = inputs.get("attention_mask", torch.ones_like(ids)).cpu() != 0
        if self._objective == "masked":  # what is to be predicted stays masked
            counts = counts & ~inputs[LOSS_MASK].cpu()
        return {**inputs, "input_ids": replaced(ids, counts)}

    def _example(self, some: Sequences, generator: Generator) -> Example:
        if self._objective == "causal":
            return next_tokens(some)
        assert self._mask_id is not None  # set where the objective is "masked"
        return masked_tokens(some, self._mask_id, generator)
