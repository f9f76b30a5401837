"""Progress: how far a ranking is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prescreen.ranking.events import STARTED, Event
from prescreen.ranking.repeats import Repeat
from prescreen.reading import Reading


@dataclass(frozen=True)
class Progress:
    """How far a ranking is, in candidates and in readings.

    Args:
        name: the candidate of the latest event.
        finished: candidates finished or failed, including those of an earlier run.
        candidates: in all; with several seeds, all trainings.
        share: of this run's readings, from 0 to 1.
    """

    name: str
    finished: int
    candidates: int
    share: float


def reporter(
    progress: Callable[[Progress], None] | None,
    chosen: Sequence[Repeat],
    waiting: Sequence[Repeat],
    readings: int,
) -> Callable[[Repeat, Event], None]:
    """A function that turns the events of waiting candidates into calls of ``progress``."""
    done: dict[str, int] = {}
    finished = len(chosen) - len(waiting)

    def report(candidate: Repeat, event: Event) -> None:
        nonlocal finished
        if isinstance(event, Reading):
            done[candidate.key] += 1
        elif event == STARTED:
            done[candidate.key] = 0  # a candidate starts again if its node is lost
        else:
            done[candidate.key] = readings
            finished += 1
        if progress is not None:
            share = sum(done.values()) / (readings * len(waiting))
            progress(Progress(candidate.name, finished, len(chosen), share))

    return report
