"""Kinds of data that are named before a path, as in ``masks:PATH``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prescreen.checks import require
from prescreen.tasks.segmentation import SegmentationTask

# What opens a path, with those of load_task's options that it names.
KINDS: dict[str, Callable[..., Any]] = {
    "masks": SegmentationTask.from_folder,
    "instances": partial(SegmentationTask.from_folder, instances=True),
}


def open_kind(data: object, options: Mapping[str, Any], given: inspect.Signature) -> Any | None:
    """The task of KIND:PATH; None if the data name no kind.

    Args:
        data: as given to ``load_task``.
        options: its other arguments.
        given: its signature.

    Raises:
        ValueError: an option that this kind does not have is given, or the path cannot be read.
    """
    kind, colon, path = str(data).partition(":")
    if not isinstance(data, str) or not colon or kind not in KINDS:
        return None
    known = inspect.signature(KINDS[kind]).parameters
    for option, value in options.items():
        default = given.parameters[option].default
        require(option, f"{default} with {kind}:PATH", value, option in known or value == default)
    taken = {option: value for option, value in options.items() if option in known}
    return KINDS[kind](path, name=data, **taken)
