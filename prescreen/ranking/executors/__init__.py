"""Executors: where the candidates of a ranking are screened. Another one is a file and a row here."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from prescreen.ranking.executors.base import Executor
from prescreen.ranking.executors.here import Here
from prescreen.ranking.executors.processes import Processes
from prescreen.ranking.executors.ray import Ray

__all__ = ["EXECUTORS", "Executor", "Here", "Processes", "Ray", "resolve_executor"]

EXECUTORS: dict[str, type[Any]] = {"here": Here, "processes": Processes, "ray": Ray}


def resolve_executor(on: str | Executor) -> Executor:
    """An executor, or the one that a text describes.

    Args:
        on: an executor; or its name and arguments, such as ``"processes"``, ``"processes,workers=4"`` or
            ``"ray,address=auto,gpus=0.25"``.

    Raises:
        ValueError: an unknown name or argument.
    """
    if not isinstance(on, str):
        return on
    name, *given = (part.strip() for part in on.split(","))
    if name not in EXECUTORS:
        raise ValueError(f"`on` must be one of {', '.join(EXECUTORS)}, got {name!r}")
    kinds = {"workers": int, "gpus": float, "address": str}
    allowed = [field.name for field in fields(EXECUTORS[name])]
    arguments: dict[str, Any] = {}
    for part in given:
        key, _, value = part.partition("=")
        try:
            if key not in allowed:
                raise ValueError
            arguments[key] = kinds.get(key, str)(value)
        except ValueError:
            takes = " and ".join(f"{key}=..." for key in allowed) or "no arguments"
            raise ValueError(f"`on` takes {takes} for {name}, got {part!r}") from None
    executor: Executor = EXECUTORS[name](**arguments)
    return executor
