"""Here: candidates screened one after the other in this process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from prescreen.ranking.events import Event, events
from prescreen.ranking.executors.base import torch_threads
from prescreen.screening import Plan
from prescreen.spaces.candidate import Candidate


@dataclass(frozen=True)
class Here:
    """This process. A candidate that exhausts memory can end it."""

    def measure(
        self, candidates: Sequence[Candidate], plan: Plan, threads: int
    ) -> Generator[tuple[int, Event]]:
        """See ``Executor``."""
        for index, candidate in enumerate(candidates):
            with torch_threads(threads):
                yield from ((index, event) for event in events(candidate, plan))
