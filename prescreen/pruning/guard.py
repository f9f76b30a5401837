"""Guard: when a pruning rule is asked, and whether it is trusted."""

from __future__ import annotations

from dataclasses import dataclass

from prescreen.checks import require_at_least, require_number
from prescreen.pruning.reasons import Reason


@dataclass(frozen=True)
class Guard:
    """Conditions for pruning a trial, the same for all rules.

    Args:
        n_startup_trials: completed trials that must have been read at the step.
        n_warmup_steps: trials are not pruned before this step.
        interval_steps: distance in steps between the checks, counted from ``n_warmup_steps``.
        min_agreement: rank correlation that the order of the completed trials at this step must have
            with their order at the latest step that they share; None to prune unchecked. The
            correlation is lowered by one standard error: fewer trials must agree better.
        max_false_prune: of the completed trials that the rule would have pruned at this step, the
            largest share that may have ended among the best; None to allow any.
        best_share: the share of the completed trials that counts as the best.

    Raises:
        ValueError: an argument is out of its range; the message names it.
    """

    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1
    min_agreement: float | None = 0.5
    max_false_prune: float | None = None
    best_share: float = 0.1

    def __post_init__(self) -> None:
        for name, least in (("n_startup_trials", 0), ("n_warmup_steps", 0), ("interval_steps", 1)):
            value = getattr(self, name)
            require_at_least(name, value, least)
        for name, low in (("min_agreement", -1), ("max_false_prune", 0), ("best_share", 0)):
            value = getattr(self, name)
            if value is not None:
                require_number(name, value, low, 1)

    def waits(self, step: int, previous: int | None) -> Reason | None:
        """Why no check is due: a reading is checked that is the first of its interval after the warm-up.

        Args:
            step: of the latest reading.
            previous: of the reading before it; None if there is none.
        """
        if step < self.n_warmup_steps:
            return Reason("warm-up", f"warm-up until step {self.n_warmup_steps}")
        passed = (step - self.n_warmup_steps) // self.interval_steps * self.interval_steps
        if previous is None or previous < self.n_warmup_steps + passed:
            return None
        following = self.n_warmup_steps + passed + self.interval_steps
        return Reason("interval", f"next check from step {following} on")

    def is_due(self, step: int, previous: int | None) -> bool:
        """Whether a check is due: see ``waits``."""
        return self.waits(step, previous) is None

    def has_started(self, n_read: int) -> bool:
        """Whether enough completed trials were read at the step."""
        return n_read >= self.n_startup_trials

    def trusts_order(self, agreement: float) -> bool:
        """Whether the order of the completed trials at this step agrees with their final order.

        Args:
            agreement: of the two orders; see ``Population.agreement``.
        """
        return self.min_agreement is None or agreement >= self.min_agreement

    def tolerates(self, would_prune: int, ended_best: int) -> bool:
        """Whether few enough of the trials that the rule would have pruned ended among the best.

        One is added to both counts, because the trial in question could be the next such case. Without
        evidence the answer is therefore no, and α needs at least 1/α − 1 trials that ran on.
        """
        if self.max_false_prune is None:
            return True
        return (ended_best + 1) / (would_prune + 1) <= self.max_false_prune
