"""Reasons in a study: what kept or pruned each trial, noted with the trial and said once at the end."""

from __future__ import annotations

import atexit
import logging
import threading
from weakref import WeakKeyDictionary

from optuna.study import Study
from optuna.trial import FrozenTrial

from prescreen.pruning import Reason, Reasons, summary, with_reason
from prescreen.pruning.reasons import PRUNED
from prescreen.text import printable

logger = logging.getLogger(__name__)

_KEY = "prescreen:{}:reasons"


def reasons_of(study: Study) -> dict[int, Reasons]:
    """What the checks of a study's trials came to, by the numbers of the trials.

    Trials without a check by a ``ReadoutPruner`` are not in it.
    """
    found = {one.number: noted(one) for one in study.get_trials(deepcopy=False)}
    return {number: reasons for number, reasons in found.items() if reasons is not None}


def noted(trial: FrozenTrial) -> Reasons | None:
    """What a trial's checks came to; None before the first one."""
    try:
        # Of the attempt with this number: a retried trial inherits those of the dead one.
        return Reasons.from_json(trial.system_attrs[_KEY.format(trial.number)])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def note(study: Study, trial: FrozenTrial, reason: Reason, step: int) -> bool:
    """Note the reason of a check with the trial, and return whether it prunes.

    A check that is asked again writes nothing. Writing is not part of the decision: if the storage
    refuses, the decision stands.
    """
    with _lock:
        known = _known(study)
        before = known.get(trial.number)
        if before is not None and (before.step, before.kind) == (step, reason.kind):
            return reason.pruned
        after = with_reason(before or noted(trial), reason, step)
        known[trial.number] = after
    try:
        # As Optuna's own pruners note what they need (Optuna 5.0); a user attribute would be shown among
        # the user's.
        study._storage.set_trial_system_attr(
            trial._trial_id, _KEY.format(trial.number), after.to_json()
        )
    except Exception as error:  # storages raise many kinds
        logger.debug("a reason was not noted: %s", error)
    return reason.pruned


# What this process has noted: for the end, and because a trial in hand may not have its latest note.
_noted: WeakKeyDictionary[Study, dict[int, Reasons]] = WeakKeyDictionary()
_lock = threading.Lock()


def _known(study: Study) -> dict[int, Reasons]:
    try:
        if not _noted:
            atexit.unregister(_say)
            atexit.register(_say)
        return _noted.setdefault(study, {})
    except TypeError:  # a stand-in for a study without weak references
        return {}


def _say() -> None:
    """At the end of the process, say once why trials were kept, if none of a study was pruned."""
    for study, known in _noted.items():
        if len(known) > 1 and not any(PRUNED.keys() & one.counts.keys() for one in known.values()):
            lines = "; ".join(summary(known.values()))
            name = printable(study.study_name)
            logger.warning(
                "ReadoutPruner: none of %d trials of %s was pruned: %s", len(known), name, lines
            )
