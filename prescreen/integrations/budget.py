"""Budget: which steps of a trial are read, so that reading takes a small share of a search's time."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from prescreen.checks import require

# Wall time: what slows a machine slows training and readings alike, so their ratio stays. CPU time would
# leave out accelerators and disks, and count what other threads do. Tests replace the clock.
clock = time.perf_counter

# A trial may spend its budget twice as fast as it earns it, because early readings save most. What a
# pruned trial has not earned by then, the others pay: see `Account.affords`.
_PACE = 2.0

_LEAST = 1e-9  # seconds, where a coarse clock shows none


class Account:
    """What the trials of one search took in this process, and what of that reading took.

    Trials in several threads share it and hold its lock. The first measures of an untrained network and
    the first reading are free: while they run, a process loads code and warms up.

    Attributes:
        known: untrained measures by architecture and probe.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.known: dict[Any, Any] = {}
        self.trials = 0
        self.silent = 0  # trials that began since one last ran for long enough to be read
        self.steps = 0  # of all trials, and their seconds
        self.seconds = 0.0
        self.spent = 0.0  # seconds that reading took, apart from what is free
        self.measures: list[float] = []  # seconds of each
        self.readings: list[float] = []
        self.read: deque[Meter] = deque(maxlen=15)  # the latest trials with readings

    def affords(self, budget: float, cost: float, ahead: float) -> bool:
        """Whether the trials' time covers a cost in addition to what was spent.

        Args:
            budget: the share of time that reading may take.
            cost: in seconds.
            ahead: seconds that the trial in question is expected to go on.
        """
        return self.spent + cost <= budget * (self.seconds + ahead)

    def affords_a_trial(self, budget: float, *, measures: bool) -> bool:
        """Whether it covers another trial's first reading, and measures of its untrained network.

        Before anything was measured, which is when threads begin the first trials, it covers all.
        """
        cost = _mean(self.readings[1:]) + (_mean(self.measures[1:]) if measures else 0.0)
        usual = self.seconds / max(self.trials, 1)
        return not self.measures or self.affords(budget, cost, usual)

    def steps_per_reading(self) -> float:
        """How many training steps take as long as a reading; 0 if unknown.

        It hardly depends on the network. One number for all trials has them read at the same steps. It
        is unknown until there are two readings, as the first one does not count.
        """
        return statistics.median([meter.steps_per_reading for meter in self.read] or [0.0])


class Meter:
    """Decides at which steps one trial is read, and notes what that takes.

    Candidates are the first steps asked for at or after 1, 2, 3, 4, 6, 8, 12, 16, 24, … They do not
    depend on speed. Of them a trial takes those that the budget covers.

    Args:
        account: that of the search.
        budget: the share of time that reading may take; None to read whenever asked.

    Raises:
        ValueError: the budget is not a share.

    Attributes:
        spent: seconds that reading took, with measures of the untrained network.
    """

    def __init__(self, account: Account, budget: float | None) -> None:
        if budget is not None:
            require("budget", "above 0 and at most 1, or None", budget, 0 < budget <= 1)
        self.spent = 0.0
        self._account = account
        self._budget = budget
        self._reads = True
        self._begin = self._now = clock()
        self._asked = 0  # the latest step
        self._costs: list[float] = []  # seconds of each reading, but that which is free
        self._is_free = False  # the latest reading
        self._planned = 0  # readings since it is known what one takes

    @property
    def share(self) -> float:
        """The share of the trial's time up to the latest call that reading took."""
        return self.spent / self._elapsed if self.spent else 0.0

    @property
    def overhead(self) -> float:
        """Seconds that reading took so far, with the reading that is under way."""
        return self.spent + clock() - self._now

    @property
    def steps_per_reading(self) -> float:
        """How many of the trial's steps take as long as one of its readings, both on average.

        The shortest reading would not do: on a busy machine it is one that was never interrupted.
        """
        return statistics.fmean(self._costs) / self._seconds_per_step

    def begin(self, *, measures: bool) -> bool:
        """Whether the trial is read at all, which may need measures of its untrained network."""
        with self._account.lock:
            if self._budget is not None:
                self._reads = self._account.affords_a_trial(self._budget, measures=measures)
            self._account.trials += 1
            self._account.silent += self._reads
        return self._reads

    def is_due(self, step: int) -> bool:
        """Whether to read; to be called at every step that is asked for."""
        step, asked = int(step), self._asked
        with self._account.lock:
            self._pass_time()
            self._asked = max(step, asked)
            self._account.steps += self._asked - asked
            if self._budget is None:
                return True
            point = _grid_point(step)
            return self._reads and asked < point and self._is_covered(point, self._budget)

    def preparing(self) -> AbstractContextManager[None]:
        """What is neither measuring nor reading, but would not be done without."""
        return self._timed(self._note_spent)

    def measuring(self) -> AbstractContextManager[None]:
        """Measures of the untrained network are taken inside."""
        return self._timed(self._note_measures)

    def reading(self) -> AbstractContextManager[None]:
        """A reading is taken and stored inside."""
        return self._timed(self._note_reading)

    def deciding(self) -> AbstractContextManager[None]:
        """A decision is made inside, on the latest reading."""
        return self._timed(self._note_decision)

    def _is_covered(self, point: int, budget: float) -> bool:
        account, step = self._account, self._asked
        steps = account.steps_per_reading()
        if not steps:
            return True
        if not self._costs:  # what was taken to be too dear may not be: it is tried again
            steps /= 2 ** max(account.silent - 1, 0)
        if (self._planned + 1) * steps > _PACE * budget * point:
            return False
        account.silent = 0
        cost = steps * self._seconds_per_step
        usual = (account.steps - step) / max(account.trials - 1, 1)  # steps of the other trials
        ahead = max(usual - step, 0.0) * self._seconds_per_step
        # Without the trial's own limit the next trials would pay for this one's last readings.
        covered = account.affords(budget, cost, ahead) and (
            self._planned == 0 or self.spent + cost <= budget * (self._elapsed + ahead)
        )
        self._planned += covered
        return covered

    @property
    def _elapsed(self) -> float:
        return self._now - self._begin

    @property
    def _seconds_per_step(self) -> float:
        return max(self._elapsed - self.spent, _LEAST) / max(self._asked, 1)

    @contextmanager
    def _timed(self, note: Callable[[float], None]) -> Iterator[None]:
        with self._account.lock:
            self._pass_time()
        try:
            yield
        finally:
            with self._account.lock:
                seconds = self._pass_time()
                self.spent += seconds
                note(seconds)

    def _pass_time(self) -> float:
        now = clock()
        seconds, self._now = now - self._now, now
        self._account.seconds += seconds
        return seconds

    def _note_spent(self, seconds: float) -> None:
        self._account.spent += seconds

    def _note_measures(self, seconds: float) -> None:
        if self._account.measures:
            self._note_spent(seconds)
        self._account.measures.append(seconds)

    def _note_reading(self, seconds: float) -> None:
        self._is_free = not self._account.readings
        self._account.readings.append(seconds)
        if self._is_free:
            return
        self._note_spent(seconds)
        if not self._costs:
            self._account.read.append(self)
        self._costs.append(seconds)

    def _note_decision(self, seconds: float) -> None:
        if not self._is_free:
            self._note_spent(seconds)
            self._account.readings[-1] += seconds
            self._costs[-1] += seconds


def _mean(values: list[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def _grid_point(step: int) -> int:
    """The last of 1, 2, 3, 4, 6, 8, 12, 16, 24, … up to a step; 0 if there is none."""
    if step < 1:
        return 0
    power = 1 << (step.bit_length() - 1)
    between = power * 3 // 2
    return between if between <= step else power
