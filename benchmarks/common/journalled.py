"""Plans measured in processes and journalled: what is finished is not measured again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from prescreen import CandidateFailed, Reading
from prescreen.ranking.journal import Journal
from prescreen.ranking.replay import Record

# Readings, or the kind and the reason of a failure.
Outcome = list[Reading] | tuple[str, str]


@dataclass(frozen=True)
class Work:
    """How plans are measured: in processes of one thread that each load the data once.

    Args:
        measure: called with the data and a plan; what it raises is a failure of that plan alone.
        load: called with ``given``; makes the data.
        given: the arguments of ``load``.
        workers: the largest number of processes.
    """

    measure: Callable[[Any, Any], list[Reading]]
    load: Callable[..., Any]
    given: tuple[Any, ...] = ()
    workers: int = 2

    def __call__(self, plans: Sequence[Any]) -> Iterator[tuple[Any, Outcome]]:
        """Outcomes of all plans as they come."""
        if not plans:
            return
        context, given = get_context("spawn"), (self.load, self.given)
        workers = min(self.workers, len(plans))
        with ProcessPoolExecutor(workers, context, _load, given) as pool:
            futures = {pool.submit(_outcome, self.measure, plan): plan for plan in plans}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                pool.shutdown(cancel_futures=True)


def journalled(
    folder: Path,
    settings: Mapping[str, Any],
    planned: Sequence[Any],
    work: Callable[[list[Any]], Iterable[tuple[Any, Outcome]]],
) -> dict[str, Record]:
    """The records of all plans; those that are not in the journal yet are measured.

    Args:
        folder: of the journal.
        settings: what makes two measurements the same.
        planned: plans with unique names.
        work: called with plans; yields their outcomes in any order.
    """
    with Journal(folder, settings) as journal:
        waiting = [p for p in planned if not journal.records.get(p.name, Record()).done]
        for number, (plan, outcome) in enumerate(work(waiting), start=1):
            journal.started(plan.name)
            if isinstance(outcome, tuple):
                journal.failed(plan.name, *outcome)
                told = ": ".join(outcome)
            else:
                for reading in outcome:
                    journal.reading(plan.name, reading)
                journal.finished(plan.name)
                told = f"{len(outcome)} readings, {outcome[-1].seconds:.0f} s"
            print(f"{number} of {len(waiting)}  {plan.name}  {told}", flush=True)
        return {plan.name: journal.records[plan.name] for plan in planned}


_data: list[Any] = []


def _load(load: Callable[..., Any], given: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    _data.append(load(*given))


def _outcome(measure: Callable[[Any, Any], list[Reading]], plan: Any) -> Outcome:
    try:
        return measure(_data[0], plan)
    except CandidateFailed as error:
        return error.kind, error.reason
    except Exception as error:  # a failed plan is a result and does not end the other runs
        return "run", f"{type(error).__name__}: {error}"
