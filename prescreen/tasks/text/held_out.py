"""Held-out sequences: tokens as sequences, and the probe that training does not use."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from prescreen.checks import require
from prescreen.tasks.rows import draw_rows
from prescreen.tasks.text.sequences import Sequences, windows


def checked(
    name: str,
    ids: Tensor,
    mask: Tensor | None = None,
    loss_mask: Tensor | None = None,
    padding_id: int | None = None,
) -> Sequences:
    """Ids (T,) or (n, L) with their masks.

    Raises:
        ValueError: they are not of these shapes, or not integers from 0.
    """
    integers = isinstance(ids, Tensor) and not (ids.is_floating_point() or ids.dtype == torch.bool)
    if not integers or ids.ndim not in (1, 2) or not ids.numel():
        raise ValueError(f"`{name}` must be a tensor of integers (T,) or (n, L), got {_form(ids)}")
    ids = ids.long() if ids.element_size() < 4 else ids
    require(name, "at least 0", int(ids.min()), int(ids.min()) >= 0)
    for marks, given in (("mask", mask), ("loss_mask", loss_mask)):
        if given is not None and (not isinstance(given, Tensor) or given.shape != ids.shape):
            raise ValueError(
                f"`{marks}` must be a tensor {tuple(ids.shape)} as ids are, got {_form(given)}"
            )
        got = _form(given)
        require(marks, "None for a stream of tokens", got, given is None or ids.ndim == 2)
    real = None if mask is None else mask != 0
    if padding_id is not None:
        require("padding_id", "None for a stream of tokens", padding_id, ids.ndim == 2)
        kept = ids != padding_id
        real = kept if real is None else real & kept
    return Sequences(ids, real, None if loss_mask is None else loss_mask != 0)


def split(
    data: Sequences, length: int, ahead: int, size: int, generator: Generator
) -> tuple[Sequences, Sequences]:
    """Sequences to train on, and those of the probe.

    Of sequences, `size` are drawn. Of a stream, the last tenth is held out, or more if the probe needs
    more; no token of it is trained on.

    Raises:
        ValueError: there are too few.
    """
    if data.ids.ndim == 2:
        held, rest = draw_rows(len(data), size, generator, leave=1)
        return data.take(rest), data.take(held)
    count = max(0, (len(data.ids) - ahead) // length)
    most = count - 2  # one is left, and the cut may cost one
    if size > most:
        raise ValueError(
            f"`probe_size` must be from 2 to {max(2, most)} for {count} sequences of {length} tokens, "
            f"got {size}; give more tokens or a shorter context"
        )
    cut = len(data.ids) - max(count // 10, size) * length - ahead
    train, held_out = (_cut(part, length, ahead) for part in (data.ids[:cut], data.ids[cut:]))
    return train, _some(held_out, size, generator)


def drawn(
    data: Sequences, probe: Sequences, length: int, ahead: int, size: int, generator: Generator
) -> tuple[Sequences, Sequences]:
    """Sequences to train on, and at most `size` of those that are given for the probe.

    Raises:
        ValueError: there are too few tokens, or the probe has another length or other masks.
    """
    train = data if data.ids.ndim == 2 else _cut(data.ids, length, ahead)
    held = probe if probe.ids.ndim == 2 else _cut(probe.ids, length, ahead)
    for name, least, part in (("ids", 1, train), ("probe", 2, held)):
        allowed = f"at least {least} sequences of {length + ahead} tokens"
        require(name, allowed, len(part), len(part) >= least)
    like = (train.ids.shape[1], train.real is None, train.wanted is None)
    alike = (held.ids.shape[1], held.real is None, held.wanted is None)
    if like != alike:
        raise ValueError(
            f"`probe` must be (N, {like[0]}), with the masks that ids have, got {_form(held.ids)}"
        )
    return train, _some(held, size, generator)


def _cut(stream: Tensor, length: int, ahead: int) -> Sequences:
    if len(stream) < length + ahead:
        return Sequences(stream.new_empty(0, length + ahead))
    return Sequences(windows(stream, length, ahead))


def _some(held: Sequences, size: int, generator: Generator) -> Sequences:
    rows, _ = draw_rows(len(held), min(size, len(held)), generator)
    return held.take(rows)


def _form(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__
