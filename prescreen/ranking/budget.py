"""Budget: the time of a whole run, within which no training is begun that would end after it."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from prescreen.checks import require
from prescreen.ranking.events import Event, begins, ends
from prescreen.ranking.repeats import Repeat, counted
from prescreen.spaces.candidate import Candidate

_NAMED = 3  # how many names a note lists


class TimeBudget:
    """Which trainings of a run may begin.

    One is begun if as much time is left as the longest so far took. The first always is, so that a run
    that is continued gets somewhere. What has begun is measured to its end.

    Args:
        seconds: from now; None for no limit.

    Raises:
        ValueError: not above 0.
    """

    def __init__(self, seconds: float | None) -> None:
        require(
            "time_budget", "above 0, or None", seconds, seconds is None or 0 < seconds < math.inf
        )
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        self._longest = 0.0
        self._begun = 0
        self.is_over = False

    def within(self, happening: Iterable[tuple[int, Event]]) -> Generator[tuple[int, Event]]:
        """The events of trainings that may begin, until the last of them has ended.

        Executors hand out trainings by themselves: one that may not begin is left alone, and ends with
        its executor.
        """
        running: dict[int, float] = {}
        left_alone: set[int] = set()
        for index, event in happening:
            if begins(event) and index not in running:
                self.is_over = self.is_over or not self._has_time()
                if self.is_over:
                    left_alone.add(index)
                else:
                    running[index] = time.monotonic()
                    self._begun += 1
            if index not in left_alone:
                yield index, event
            if index in running and ends(event):
                self._longest = max(self._longest, time.monotonic() - running.pop(index))
            if self.is_over and not running:
                return

    def has_time(self) -> bool:
        """Whether there is any left."""
        return time.monotonic() < self._end

    def _has_time(self) -> bool:
        return not self._begun or time.monotonic() + self._longest < self._end


def rankable(
    candidates: Sequence[Candidate], records: Mapping[str, Any], seeds: int
) -> tuple[list[Candidate], int]:
    """What can be compared of a run that is not whole: candidates, and the seeds that they all have."""
    done = {
        n: [one for one in candidates if _is_done(records, Repeat(one, n))] for n in range(seeds)
    }
    whole = next((n for n in range(seeds) if len(done[n]) < len(candidates)), seeds)
    return ([*candidates], whole) if whole else (done[0], 1)


def left_note(trainings: Sequence[Repeat], records: Mapping[str, Any]) -> tuple[str, ...]:
    """What a run has left, for people; nothing if it is whole."""
    names = [one.name for one in trainings if not _is_done(records, one)]
    if not names:
        return ()
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"{len(names)} of {len(trainings)} {counted(trainings)} are left, as the time budget is over: "
        f"{', '.join(names[:_NAMED])}{more}. The same command goes on with them.",
    )


def _is_done(records: Mapping[str, Any], one: Repeat) -> bool:
    return one.key in records and records[one.key].done
