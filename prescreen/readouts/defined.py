"""Defined: which readouts of the head a link has, found by trying them on a small head."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from prescreen.captured import Capture
from prescreen.checks import require
from prescreen.part import Part
from prescreen.predictions import Link
from prescreen.readouts.anchors import UndefinedError
from prescreen.readouts.held_out import HeldOutLoss
from prescreen.readouts.readout import Readout

_OF_HEAD = {"head", "view", "before", "seen"}


def require_defined(readouts: Mapping[str, Readout], parts: Mapping[str, Part]) -> None:
    """Refuse readouts of the head that a model does not have, before anything is trained.

    Readouts whose functions are not from this package are not called.

    Args:
        readouts: by name.
        parts: what is read by name, the model's own head by the empty one: see `with_own`.

    Raises:
        ValueError: some are of an unknown part, undefined for the link of theirs, compare some of the
            probe's samples with seen ones, have targets that may be the background,
            or compare boxes with those of a view.
    """
    known = " or ".join([*filter(None, parts), "the model's own head"])
    for name, one in readouts.items():
        require("readouts", f"of {known}", name, one.part in parts)
        whole = "seen" not in one.needs or parts[one.part].share == (0, 1)
        require("readouts", "without seen inputs for a share of the probe", name, whole)
        # A mirrored view exchanges left and right, and no map of boxes says so.
        viewed = "view" in one.needs and parts[one.part].role == "boxes"
        require("readouts", "without a view for boxes, whose sides it moves", name, not viewed)
        every = not isinstance(one.function, HeldOutLoss) or parts[one.part].background is None
        require("readouts", "of a part with all classes that targets have", name, every)
    links = {part.link: None for part in parts.values()}
    for link in links:
        own = {name: one for name, one in readouts.items() if parts[one.part].link == link}
        undefined = [name for name, one in own.items() if not _is_defined(one, link)]
        if undefined:
            names = ", ".join(undefined)
            raise ValueError(f"`readouts` must be defined for {link} links, got {names}")


def _is_defined(readout: Readout, link: Link) -> bool:
    if not (set(readout.needs) <= _OF_HEAD and _is_ours(readout.function)):
        return True
    head = _head(link)
    try:
        readout(*(head for _ in readout.needs))
    except UndefinedError:
        return False
    except ValueError:  # such as that of labels, which are not of these samples
        return True
    return True


def _is_ours(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__module__", "")).startswith("prescreen.readouts.")


def _head(link: Link) -> Capture:
    # Of a dtype of its own: a candidate in another thread may have changed the default.
    numbers = (torch.arange(3 * n, dtype=torch.float64) for n in (6, 2))
    features, weight = (some.view(-1, 3).sin() for some in numbers)
    return Capture(features, features @ weight.T, weight, None, link)
