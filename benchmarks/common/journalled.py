"""Plans measured in processes and journalled: what has ended is not measured again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import torch

from prescreen import CandidateFailed, Reading
from prescreen.ranking.journal import Journal, Record

# Readings, or the kind and the reason of a failure.
Outcome = list[Reading] | tuple[str, str]


class Named(Protocol):
    """What is measured: a plan, whose name is its place in the journal."""

    @property
    def name(self) -> str:
        """Unique among the plans."""


def journalled(
    folder: Path,
    settings: Mapping[str, Any],
    planned: Sequence[Any],
    measured: Callable[[list[Any]], Iterable[tuple[Any, Outcome]]],
    tell: Callable[[int, int, Any, Outcome], None],
) -> dict[str, Record]:
    """The records of all plans, of which those that are not in the journal yet are measured.

    Args:
        folder: of the journal.
        settings: what makes two measurements the same.
        planned: plans with names.
        measured: gives the outcomes of the plans it is given, in any order.
        tell: is told the number of an outcome, of how many, its plan and the outcome.
    """
    with Journal(folder, settings) as journal:
        waiting = [p for p in planned if not journal.records.get(p.name, Record()).done]
        for number, (plan, outcome) in enumerate(measured(waiting), start=1):
            journal.started(plan.name)
            if isinstance(outcome, tuple):
                journal.failed(plan.name, *outcome)
            else:
                for reading in outcome:
                    journal.reading(plan.name, reading)
                journal.finished(plan.name)
            tell(number, len(waiting), plan, outcome)
        return {plan.name: journal.records[plan.name] for plan in planned}


def in_processes(
    measure: Callable[[Any, Named], list[Reading]],
    plans: Sequence[Any],
    load: Callable[..., Any],
    given: tuple[Any, ...],
    workers: int,
) -> Iterator[tuple[Any, Outcome]]:
    """Measure every plan, in processes of one thread that each load the data once.

    Args:
        measure: of the data and a plan; what it raises is a failure of that plan alone.
        plans: what to measure.
        load: of what is given; makes the data.
        given: the arguments of ``load``.
        workers: processes at the most.
    """
    if not plans:
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(plans)), context, _load, (load, given)) as pool:
        futures = {pool.submit(_outcome, measure, plan): plan for plan in plans}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


_data: list[Any] = []


def _load(load: Callable[..., Any], given: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    _data.append(load(*given))


def _outcome(measure: Callable[[Any, Named], list[Reading]], plan: Named) -> Outcome:
    try:
        return measure(_data[0], plan)
    except CandidateFailed as error:
        return error.kind, error.reason
    except Exception as error:  # what a plan cannot do is a result and ends no other's run
        return "run", f"{type(error).__name__}: {error}"
