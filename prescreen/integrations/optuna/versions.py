"""Versions: Optuna is there and new enough, and what differs between its versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    import optuna
except ImportError as error:
    raise ImportError(
        "prescreen.integrations.optuna needs the 'optuna' extra: pip install 'prescreen[optuna]'"
    ) from error

OLDEST = (4, 0)  # with which the tests of this integration pass


def _require_version(version: str) -> None:
    """Refuse an Optuna that is too old.

    Raises:
        ImportError: it is.
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise ImportError(
            f"prescreen.integrations.optuna needs Optuna {'.'.join(map(str, OLDEST))} or later, got "
            f"{version}: pip install -U optuna"
        )


_require_version(optuna.__version__)

# Raised at writes to a trial that has ended; before Optuna 4.5 there was nothing more exact.
EndedTrial: type[Exception] = getattr(optuna.exceptions, "UpdateFinishedTrialError", RuntimeError)


def require_constraints(limits: Mapping[str, float]) -> None:
    """Refuse limits where trials cannot have constraints.

    Raises:
        ValueError: there are limits, and Optuna is older than 5.0.
    """
    if limits and not hasattr(optuna.trial.Trial, "set_constraint"):
        raise ValueError(
            f"`limits` must be None with Optuna {optuna.__version__}, whose trials have no constraints "
            f"(those of 5.0 have), got {dict(limits)}"
        )


def violations(trial: Any) -> list[float]:
    """The constraints of a finished trial; one above 0 is violated."""
    if hasattr(trial, "constraints"):
        return [*trial.constraints.values()]
    return [*(trial.system_attrs.get("constraints") or ())]  # of a sampler's constraints_func
