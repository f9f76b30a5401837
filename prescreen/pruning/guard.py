"""Guard: when a pruning rule may be asked, and whether it may be believed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """What has to hold before a trial is pruned, whatever the rule.

    Args:
        n_startup_trials: completed trials that must have been read at the step.
        n_warmup_steps: no pruning before this step.
        interval_steps: distance in steps between the checks, counted from ``n_warmup_steps``.
        min_agreement: rank correlation that the order of the completed trials at this step must have
            with their order at the latest step that they share; None to prune unchecked. The
            correlation is lowered by one standard error, so that few trials must agree better.
        max_false_prune: largest tolerated share, among the completed trials that the rule would have
            pruned at this step, of those that ended among the best; None to tolerate all.
        best_share: which share of the completed trials counts as the best.

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
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"`{name}` must be an integer of at least {least}, got {value!r}")
        for name, low in (("min_agreement", -1), ("max_false_prune", 0), ("best_share", 0)):
            value = getattr(self, name)
            if value is not None and not low <= value <= 1:
                raise ValueError(f"`{name}` must be from {low} to 1, got {value!r}")

    def is_due(self, step: int, previous: int | None) -> bool:
        """Whether a reading is the first of its interval, warm-up being over.

        Args:
            step: of the latest reading.
            previous: of the reading before it; None if there is none.
        """
        if step < self.n_warmup_steps:
            return False
        passed = (step - self.n_warmup_steps) // self.interval_steps * self.interval_steps
        return previous is None or previous < self.n_warmup_steps + passed

    def has_started(self, n_read: int) -> bool:
        """Whether enough completed trials were read at the step."""
        return n_read >= self.n_startup_trials

    def trusts_order(self, agreement: float) -> bool:
        """Whether the completed trials' order at this step agrees with the one that they end in.

        Args:
            agreement: of the two orders; see ``Population.agreement``.
        """
        return self.min_agreement is None or agreement >= self.min_agreement

    def tolerates(self, would_prune: int, ended_best: int) -> bool:
        """Whether so few of the trials that the rule would have pruned ended among the best.

        One more of each is counted: the trial in question could be the next. Nothing seen is
        therefore no evidence, and α needs at least 1/α − 1 trials that ran on.
        """
        if self.max_false_prune is None:
            return True
        return (ended_best + 1) / (would_prune + 1) <= self.max_false_prune
