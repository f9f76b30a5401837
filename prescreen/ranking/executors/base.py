"""Executor: where candidates are screened; and what executors have in common."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

from prescreen.ranking.events import Event
from prescreen.screening import Plan
from prescreen.spaces.candidate import Candidate

READY = "ready"  # a worker, before its first candidate


class Executor(Protocol):
    """Screens candidates somewhere: in this process, in others, on a cluster."""

    def measure(
        self, candidates: Sequence[Candidate], plan: Plan, threads: int
    ) -> Generator[tuple[int, Event]]:
        """Screen candidates and yield what happens as ``(index of the candidate, event)``.

        Per candidate these are STARTED, then Readings, then FINISHED or a CandidateFailed. A candidate
        that is lost with its worker may begin again, with STARTED. Whatever was started ends when the
        generator is closed.

        Args:
            candidates: what to screen.
            plan: how.
            threads: torch's CPU threads a candidate; results on a CPU depend on it.
        """


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """So many CPU threads for torch, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pickled(name: str, value: object, dumps: Callable[[object], bytes] = pickle.dumps) -> bytes:
    """What is sent to workers.

    Raises:
        ValueError: it does not pickle.
    """
    # Plain pickle on purpose: torch.multiprocessing would move tensors to /dev/shm, which is 64 MB
    # in many containers, and a worker that overruns it dies of a bus error.
    try:
        return dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{name} must pickle to be sent to worker processes, got {error}; "
            "define it at the top level of a module, or measure in this process (on=Here())"
        ) from None
