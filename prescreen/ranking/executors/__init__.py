"""Executors: where the candidates of a ranking are screened. A new one is a file and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from prescreen.checks import require_one_of
from prescreen.ranking.executors.base import Executor
from prescreen.ranking.executors.here import Here
from prescreen.ranking.executors.processes import Processes
from prescreen.ranking.executors.ray import Ray

__all__ = ["EXECUTORS", "Executor", "Here", "Processes", "Ray", "resolve_executor"]

EXECUTORS: dict[str, type[Any]] = {"here": Here, "processes": Processes, "ray": Ray}


def resolve_executor(on: str | Executor) -> Executor:
    """The executor itself, or the one that a text describes.

    Args:
        on: an executor; or its name and arguments, such as ``"processes"``,
            ``"processes,workers=4,gpus=2"`` or ``"ray,address=auto,gpus=0.25"``.

    Raises:
        ValueError: an unknown name or argument.
    """
    if not isinstance(on, str):
        return on
    name, *given = (part.strip() for part in on.split(","))
    require_one_of("on", name, EXECUTORS)
    kinds: dict[str, Callable[[str], Any]] = {"workers": int, "gpus": _number, "address": str}
    allowed = [field.name for field in fields(EXECUTORS[name])]
    arguments: dict[str, Any] = {}
    for part in given:
        key, _, value = part.partition("=")
        try:
            if key not in allowed:
                raise ValueError
            arguments[key] = kinds.get(key, str)(value)
        except ValueError:
            listed = " and ".join(f"{key}=..." for key in allowed)
            form = f"{name} with {listed}" if allowed else f"{name} without arguments"
            raise ValueError(f"`on` must be {form}, got {part!r}") from None
    executor: Executor = EXECUTORS[name](**arguments)
    return executor


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)
