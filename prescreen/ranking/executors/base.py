"""Executor: where candidates are screened, and helpers that executors share."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Protocol

import torch

from prescreen.ranking.events import Event
from prescreen.ranking.jobs import Job
from prescreen.screening import Plan
from prescreen.screening.form import Forms
from prescreen.text import first_line

READY = "ready"  # a worker, before its first candidate

# How often a candidate, or the start of a worker, is tried again if its process is lost from outside.
RETRIES = 3

# Seconds after which a worker is killed that has not ended a candidate, or itself, by then.
GRACE = 10.0


class Executor(Protocol):
    """Screens candidates somewhere: in this process, in others, on a cluster."""

    def measure(
        self, jobs: Sequence[Job], plan: Plan | Forms, threads: int
    ) -> Generator[tuple[int, Event]]:
        """Screen candidates and yield events as ``(index of the job, event)``.

        The events of a job are STARTED, or RESUMED if it goes on from a state, then Readings, then
        FINISHED, a CandidateFailed, or Paused if it came as far as it should. A job that is lost with
        its worker may begin again. Jobs may be added while an event is looked at; those that are left
        when the generator ends are given to another call. After ``plan.timeout``
        seconds its code is interrupted; where it has a process of its own, that is ended if this is in
        vain. Closing the generator ends all workers.

        Args:
            jobs: the candidates to screen, and how far.
            plan: how they are screened.
            threads: torch's CPU threads per candidate; results on a CPU depend on it.
        """


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Set the number of torch's CPU threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Pickler(pickle.Pickler):
    """Refuses what another process could not import."""

    def reducer_override(self, value: Any) -> Any:
        """How a value is pickled, if otherwise than usual."""
        # Workers import a script again, but they cannot import a notebook or an interactive session.
        main = sys.modules.get("__main__")
        if (
            isinstance(value, FunctionType | type)
            and value.__module__ == "__main__"
            and not hasattr(main, "__file__")
        ):
            raise pickle.PicklingError(
                f"{value.__qualname__} of a notebook or session, which workers cannot import"
            )
        return NotImplemented


def dumps(value: object) -> bytes:
    """A value pickled, unless another process could not import it."""
    buffer = io.BytesIO()
    Pickler(buffer).dump(value)
    return buffer.getvalue()


def pickled(name: str, value: object, dumps: Callable[[object], bytes] = dumps) -> bytes:
    """A value as bytes to send to workers.

    Raises:
        ValueError: it cannot be pickled; the message calls it by its name.
    """
    # Plain pickle, because torch.multiprocessing would move tensors to /dev/shm. That has 64 MB in many
    # containers, and a worker that exceeds it dies of a bus error. See also ``shared``.
    try:
        return dumps(value)
    except Exception as error:  # objects can raise anything while they are pickled
        raise ValueError(
            f"the {name} must be picklable for worker processes, got {first_line(error)}; "
            "define it at the top level of a module, or measure in this process (on=Here())"
        ) from None
