"""Run: screen many candidates, journal every reading, and order them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prescreen.checks import require_at_least
from prescreen.files import replace_text
from prescreen.loggers import PREFIX, Log, guarded, logged
from prescreen.ranking.budget import TimeBudget, left_note, rankable
from prescreen.ranking.continued import begun_anew, codes_of, left_to_measure
from prescreen.ranking.equal import listed, stand_ins, with_those
from prescreen.ranking.events import Event, ends
from prescreen.ranking.executors import Executor, resolve_executor
from prescreen.ranking.halving import READINGS, Halving, as_halving
from prescreen.ranking.jobs import Job
from prescreen.ranking.journal import Journal
from prescreen.ranking.measured import measurements, taken
from prescreen.ranking.measuring import Measuring, note, once
from prescreen.ranking.notebook import notebook_progress
from prescreen.ranking.order import order
from prescreen.ranking.outline import Outline
from prescreen.ranking.progress import Progress, Reporter
from prescreen.ranking.recognising import recognise
from prescreen.ranking.repeats import Repeat, repeats
from prescreen.ranking.replay import Complete, Record
from prescreen.ranking.report import Ranking
from prescreen.ranking.row import Row
from prescreen.ranking.rungs import Rungs
from prescreen.ranking.settings import ADDED, given_of, settings_of
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.screening import Extra, Plan, require_head
from prescreen.screening.limits import Limits
from prescreen.spaces.candidate import Candidate
from prescreen.spaces.chosen import as_candidates
from prescreen.tasks import Task
from prescreen.tasks.base import check_task
from prescreen.text import first_line
from prescreen.training.recipe import Training
from prescreen.trees import count_samples

logger = logging.getLogger(__name__)


def rank(
    candidates: Any,
    task: Task,
    *,
    samples: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    training: Training | None = None,
    readouts: Readouts | None = None,
    readings: int | None = None,
    head: str | None = None,
    extra: Extra | None = None,
    on: str | Executor = "here",
    threads: int = 1,
    timeout: float | None = None,
    memory: float | None = None,
    max_params: float | None = None,
    max_flops: float | None = None,
    max_latency: float | None = None,
    latency_batch: int = 1,
    time_budget: float | None = None,
    halving: bool | Halving = False,
    merge: bool = False,
    cache: bool | str | Path = False,
    out: str | Path | None = None,
    fresh: bool = False,
    progress: Callable[[Progress], None] | None = None,
    log: Log | None = None,
) -> Ranking:
    """Train candidates briefly and order them by their readouts, without labels.

    Args:
        candidates: a search space (name, module, file), a list of ``Candidate``, a mapping from names to
            functions that build a module, ``"models.py:function"`` that gives any of these or networks,
            or a JSON or YAML file that lists timm's names and ``"models.py:function"``.
        task: the training data and the probe batch.
        samples: how many distinct candidates to draw from a space; None for all of a finite space.
        seed: of that draw.
        seeds: how often each candidate is trained: with the seed of ``training``, and with the next
            ones. The score is the mean over them, and its interval includes how they differ. A folder
            in ``out`` can be continued with more of them.
        training: budget and recipe, the same for all.
        readouts: the panel to aggregate: names or a mapping, as in ``screen``; by default the task's, or
            ``DEFAULT_PANEL``.
        readings: how often each candidate is read; the last reading counts. By default 4, or as many as
            other rungs of halving need.
        head: dotted name of the head, if it is not found.
        extra: your own measurements (see ``screen``); they are journalled but do not rank.
        on: where candidates are screened: ``"here"``, ``"processes"`` or ``"ray"``; with arguments
            ``Processes(4)`` or ``"processes,workers=4"``. The ranking is the same.
        threads: torch's CPU threads per candidate. Results on a CPU depend on it, not on ``on``.
        timeout: seconds after which a candidate is ended and has failed as ``"timeout"``. In this
            process that takes until the operation of torch or C that it is in has returned.
        memory: GiB of main memory that a candidate may take; more makes it fail as ``"memory"``. On
            Linux only.
        max_params: trainable parameters. A candidate above this or one of the next limits is not
            trained: it becomes a row with the status ``"limit"`` and a reason, which is no failure.
        max_flops: floating-point operations of a forward pass of one sample.
        max_latency: milliseconds of a forward pass on the training's device; see ``Limits``.
        latency_batch: samples in that pass.
        time_budget: seconds for all of this call. No candidate is begun that would probably end after
            them; those that are left are said in the notes, and measured when the run is continued.
        halving: train all candidates a little, and only the better ones to the end: see ``Halving``.
            Those that are ended are rows with the status ``"halved"``, ranked below the others.
        merge: measure candidates that compute the same once, and list them together. To find out costs
            two builds and a few passes without values for each candidate (docs/speed.md).
        cache: take measurements from a folder that all runs share, and add to it: True for the user's
            own, or a path. What is the same is decided as for ``out``: data files that a candidate's
            code reads are not seen (docs/speed.md).
        out: a folder for the journal and the results. If it holds a journal of the same settings and
            the same code of the candidates, the run continues: finished candidates are not measured
            again. What is taken over is logged.
        fresh: measure everything anew; a journal in ``out`` is kept as ``journal-TIME.jsonl``.
        progress: called after every event; in a notebook there is a bar without it.
        log: takes every reading, and at the end every score and rank, with the candidate's name: one of
            ``prescreen.loggers`` or your own function of values, step and name.

    Returns:
        All candidates, best first; also if the results could not be written to ``out``.

    Raises:
        ValueError: an argument is not allowed; nothing that was measured is lost.
        ConnectionError: no Ray cluster answers.
        RuntimeError: workers cannot start, or no node of the cluster has room for a candidate.
    """
    budget = TimeBudget(time_budget)
    chosen = as_candidates(candidates, samples, seed, check_task(task).sizes)
    made = training or Training()
    limits = Limits(max_params, max_flops, max_latency, latency_batch)
    halved = as_halving(halving)
    readings = (halved.readings if halved else READINGS) if readings is None else readings
    at = tuple(halved.at(readings)) if halved else ()
    plan = Plan(
        task, made, readouts, readings, head, extra or {}, timeout, memory, limits, True, at
    )
    executor = resolve_executor(on)
    require_at_least("threads", threads, 1)
    require_at_least("seeds", seeds, 1)
    if head is not None:
        require_head(chosen, plan)
    executor.measure((), plan, threads)  # an error comes now, before there is a journal
    folder = None if out is None else Path(out)
    codes = {} if folder is None and cache is False else codes_of(chosen, seeds)
    trainings = repeats(chosen, seeds)
    settings = settings_of(plan, threads)
    complete = Complete.of(settings, plan.needing("others"))
    measured = measurements(cache, settings, codes, complete)
    counted = count_samples(task.probe)
    given = given_of(executor, plan, seed, halved)
    outline = Outline.of(chosen, plan.table, seeds=seeds, samples=counted, given=given)
    with Journal(folder, settings, added=ADDED, complete=complete, fresh=fresh) as journal:
        waiting = left_to_measure(trainings, journal, codes, halving=halved is not None)
        journal.asked(outline)
        if merge and len(chosen) > 1 and waiting:
            recognise(chosen, journal, codes, executor, plan, threads, budget.has_time)
        forms = journal.forms if merge else {}
        instead = stand_ins(chosen, forms, journal.records, seeds, max_params)
        waiting = [one for one in waiting if one.candidate.key not in instead]
        tell = guarded(log)
        reporter = Reporter(progress or notebook_progress(), trainings, waiting, readings)

        def hear(job: Job, event: Event) -> None:
            note(journal, job, event, codes)
            reporter.hear(job, event)
            if isinstance(event, Reading):
                tell(logged(event), event.step, job.training.name)
            if measured is not None and ends(event):
                measured.keep(job.training, journal.records[job.training.key])

        own = [one for one in chosen if one.key not in instead]
        measuring = Measuring(executor, plan, threads, budget, hear)
        if halved is None:
            waiting = taken(measured, waiting, hear)
            measuring.measure(once([Job(one) for one in waiting]))
        else:
            anew = begun_anew(waiting, journal, codes)
            Rungs(halved, plan, own, seeds, counted, anew, journal, reporter).measure(measuring)
        records = with_those(journal.records, instead, seeds)
        ranking = _ranking(trainings, records, outline, plan, instead)
        ranking = listed(ranking, instead, chosen, journal.forms)
        for row in ranking:
            tell(_place(row), row.step, row.name)
        return ranking if folder is None else replace(ranking, unwritten=_write(ranking, folder))


def _ranking(
    trainings: Sequence[Repeat],
    records: Mapping[str, Record],
    outline: Outline,
    plan: Plan,
    instead: Mapping[str, Candidate],
) -> Ranking:
    """Order what was measured, as far as the run came."""
    chosen = [one.candidate for one in trainings if not one.number]
    measured, seeds = rankable(chosen, records, outline.seeds)
    measured = [one for one in measured if one.key not in instead]
    ranking = order(measured, records, plan.table, seeds=seeds, samples=outline.samples)
    return replace(ranking, notes=(*ranking.notes, *left_note(trainings, records)))


def _place(row: Row) -> dict[str, float]:
    """What is logged of a candidate at the end; nothing if it failed."""
    if row.rank is None:
        return {}
    score = {} if math.isnan(row.score) else {f"{PREFIX}/score": row.score}
    return {**score, f"{PREFIX}/rank": float(row.rank)}


def _write(ranking: Ranking, folder: Path) -> tuple[str, ...]:
    """Write the results; what cannot be written is said, since the ranking itself is there."""
    unwritten = []
    for name, text in (("ranking.json", ranking.to_json()), ("ranking.csv", ranking.to_csv())):
        try:
            replace_text(folder / name, text)
        except (OSError, UnicodeError) as error:
            unwritten.append(name)
            logger.warning("%s could not be written: %s", folder / name, first_line(error))
    return tuple(unwritten)
