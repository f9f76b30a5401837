"""Distributed: the trial of data-parallel training, which all processes share and the first stores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from optuna.trial import BaseTrial

from prescreen.processes import told_by_first

_NAME = "TorchDistributedTrial"


def is_distributed(trial: object) -> bool:
    """Whether it is a trial of optuna-integration that several processes share."""
    return any(kind.__name__ == _NAME for kind in type(trial).__mro__)


def shared(trial: Any) -> tuple[BaseTrial, Callable[[Callable[[], Any]], Any]]:
    """The trial that is stored with, and how all processes learn what the first one found.

    In the other processes of a ``TorchDistributedTrial`` the trial is None, and never used.
    """
    if not is_distributed(trial):
        return trial, _alone
    # There is no public access to them (optuna-integration 5.0). Its own methods tell only some types.
    return trial._delegate, partial(told_by_first, group=trial._group)


def require_own(trial: BaseTrial) -> None:
    """Refuse a trial that several processes share where only one would store and ask.

    Raises:
        ValueError: it is one.
    """
    if is_distributed(trial):
        raise ValueError(
            f"`trial` must be that of one process, got {_NAME}; read with Reader, which all processes "
            "make and ask"
        )


def _alone(function: Callable[[], Any]) -> Any:
    return function()
