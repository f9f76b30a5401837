"""Run: screen many candidates, journal every reading, and order them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prescreen.checks import require_at_least
from prescreen.failures import UNSURE, CandidateFailed
from prescreen.files import replace_text
from prescreen.panel import DEFAULT_PANEL
from prescreen.ranking.events import FINISHED, STARTED, Event
from prescreen.ranking.executors import Executor, resolve_executor
from prescreen.ranking.journal import Journal, Record
from prescreen.ranking.order import order
from prescreen.ranking.progress import Progress, reporter
from prescreen.ranking.report import Ranking
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.screening import Extra, Plan, require_head
from prescreen.spaces.candidate import as_candidates
from prescreen.tasks import Task
from prescreen.training.recipe import Training


def rank(
    candidates: Any,
    task: Task,
    *,
    samples: int | None = None,
    seed: int = 0,
    training: Training | None = None,
    readouts: Readouts = DEFAULT_PANEL,
    readings: int = 4,
    head: str | None = None,
    extra: Extra | None = None,
    on: str | Executor = "here",
    threads: int = 1,
    timeout: float | None = None,
    memory: float | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Ranking:
    """Train candidates briefly and order them by their readouts, without labels.

    Args:
        candidates: a search space (name, module, file), a list of ``Candidate``, or a mapping from
            names to functions that build a module.
        task: the training data and the probe batch.
        samples: how many distinct candidates to draw from a space; None for all of a finite space.
        seed: of that draw.
        training: budget and recipe, the same for all.
        readouts: the panel to aggregate: names or a mapping, as in ``screen``.
        readings: how often each candidate is read; the last reading counts.
        head: dotted name of the head, if it is not found.
        extra: your own measurements (see ``screen``); they are journalled but do not rank.
        on: where candidates are screened: ``"here"``, ``"processes"`` or ``"ray"``; with arguments
            ``Processes(4)`` or ``"processes,workers=4"``. The ranking is the same.
        threads: torch's CPU threads per candidate. Results on a CPU depend on it, not on ``on``.
        timeout: seconds after which a candidate is ended and has failed as ``"timeout"``. In this
            process that takes until the operation of torch or C that it is in has returned.
        memory: GiB of main memory that a candidate may take; more makes it fail as ``"memory"``. On
            Linux only.
        out: a folder for the journal and the results. If it holds a journal of the same settings, the
            run continues: finished candidates are not measured again, those that were killed or not
            finished in time are.
        progress: called after every event.

    Returns:
        All candidates, best first.

    Raises:
        ValueError: an argument is not allowed; nothing that was measured is lost.
        ConnectionError: no Ray cluster answers.
        RuntimeError: workers cannot start, or no node of the cluster has room for a candidate.
    """
    chosen = as_candidates(candidates, samples, seed)
    made = training or Training()
    plan = Plan(task, made, readouts, readings, head, extra or {}, timeout, memory)
    executor = resolve_executor(on)
    require_at_least("threads", threads, 1)
    if head is not None:
        require_head(chosen, plan)
    executor.measure((), plan, threads)  # an error comes now, before there is a journal
    with Journal(None if out is None else Path(out), _settings(plan, threads)) as journal:
        records = [journal.records.get(one.key, Record()) for one in chosen]
        open_ = [not record.done or record.status in UNSURE for record in records]
        waiting = list(itertools.compress(chosen, open_))
        report = reporter(progress, chosen, waiting, readings)
        # On an error, workers end now and not when the traceback is garbage-collected.
        with closing(executor.measure(waiting, plan, threads)) as happening:
            for index, event in happening:
                _note(journal, waiting[index].key, event)
                report(waiting[index], event)
        ranking = order(chosen, journal.records, plan.table)
        if journal.folder is not None:
            replace_text(journal.folder / "ranking.json", ranking.to_json())
            replace_text(journal.folder / "ranking.csv", ranking.to_csv())
    return ranking


def _settings(plan: Plan, threads: int) -> dict[str, Any]:
    """Two measurements are the same if these are equal."""
    return {
        "version": version("prescreen"),
        "task": f"{plan.task.name} {plan.task.fingerprint}",
        **plan.training.to_json(),
        "readouts": list(plan.table),
        "readings": plan.readings,
        "head": plan.head,
        "extra": list(plan.extra),
        "threads": threads,
    }


def _note(journal: Journal, key: str, event: Event) -> None:
    if isinstance(event, Reading):
        journal.reading(key, event)
    elif isinstance(event, CandidateFailed):
        journal.failed(key, event.kind, event.reason)
    elif event == STARTED:
        journal.started(key)
    elif event == FINISHED:
        journal.finished(key)
