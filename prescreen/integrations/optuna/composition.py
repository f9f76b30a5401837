"""Composition: pruners made of pruners."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from optuna.pruners import BasePruner, HyperbandPruner, PatientPruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from prescreen.text import showing


class _Composition(BasePruner):
    """Several pruners that are asked together.

    All are asked every time, since a pruner may note this in the storage. A ``ReadoutPruner`` among them
    looks at readings, one of Optuna's pruners at reported values.

    Args:
        pruners: at least one.

    Raises:
        ValueError: there are none, or one is not a pruner, or is Hyperband.
    """

    __repr__ = showing(pruners="pruners")

    def __init__(self, *pruners: BasePruner) -> None:
        if not pruners:
            raise ValueError("`pruners` must have at least one, got none")
        for pruner in pruners:
            _require_part(pruner)
        self.pruners = pruners

    def _answers(self, study: Study, trial: FrozenTrial) -> list[bool]:
        return [pruner.prune(study, trial) for pruner in self.pruners]


class AnyOf(_Composition):
    """Prune when one of the pruners would.

    ``AnyOf(ReadoutPruner(), ThresholdPruner(upper=10.0))`` also looks at reported values.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether one of them would prune."""
        return any(self._answers(study, trial))


class AllOf(_Composition):
    """Prune when all of the pruners would."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether all of them would prune."""
        return all(self._answers(study, trial))


def parts(pruner: BasePruner) -> Iterator[BasePruner]:
    """A pruner and those inside it."""
    yield pruner
    inside: tuple[BasePruner | None, ...] = ()
    if isinstance(pruner, _Composition):
        inside = pruner.pruners
    elif isinstance(pruner, PatientPruner):
        # There is no public access to it (Optuna 5.0).
        inside = (pruner._wrapped_pruner,)
    for part in inside:
        if part is not None:
            yield from parts(part)


def _require_part(pruner: object) -> None:
    if inspect.isclass(pruner):
        raise ValueError(
            f"`pruners` must be pruners such as MedianPruner(), got the class {pruner.__name__}"
        )
    if not isinstance(pruner, BasePruner):
        raise ValueError(f"`pruners` must be pruners such as MedianPruner(), got {pruner!r}")
    # Samplers look for Hyperband as the study's own pruner.
    if any(isinstance(part, HyperbandPruner) for part in parts(pruner)):
        raise ValueError(
            "`pruners` must not contain Hyperband, got HyperbandPruner; use SuccessiveHalvingPruner, "
            "one of its brackets, instead"
        )
