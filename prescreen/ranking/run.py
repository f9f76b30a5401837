"""Ranking: screen many candidates, journal every reading, order them by aggregated readouts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from prescreen.failures import CandidateFailed
from prescreen.files import replace_text
from prescreen.measuring import Measure, Readouts, resolve_readouts, split
from prescreen.panel import DEFAULT_PANEL
from prescreen.ranking.executors import ray as cluster
from prescreen.ranking.executors.processes import FINISHED, STARTED, Event, measure
from prescreen.ranking.journal import Journal, Record
from prescreen.ranking.progress import Progress, reporter
from prescreen.ranking.report import Ranking, Row
from prescreen.ranks import aggregate
from prescreen.reading import Reading
from prescreen.screening import Extra, require_head
from prescreen.spaces.candidate import Candidate, as_candidates
from prescreen.tasks.base import Task, check_task
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
    workers: int = 0,
    threads: int = 1,
    ray: str | None = None,
    gpus: float | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Ranking:
    """Train candidates briefly and order them by what their heads say, without labels.

    Args:
        candidates: a search space (name, module, file), a list of ``Candidate``, or a mapping from
            names to functions that build a module.
        task: what to train on, and the probe batch.
        samples: how many distinct candidates to draw from a space; None takes a finite space whole.
        seed: of that draw.
        training: budget and recipe, the same for all.
        readouts: the panel that is aggregated: names or a mapping, as in ``screen``.
        readings: how often each candidate is read; the last reading counts.
        head: dotted name of the head, where it cannot be found.
        extra: measurements of your own (see ``screen``), journalled but not ranked by.
        workers: processes; 0 stays in this one, where a candidate that exhausts memory ends all.
            On a Ray cluster how many candidates run at once; 0 for as many as there is room for.
        threads: torch's CPU threads a candidate. Results on a CPU depend on it, not on ``workers``.
        ray: the Ray cluster to use: ``"auto"`` for the one that runs here (or ``RAY_ADDRESS``),
            ``"local"`` for a new one on this machine that ends with the ranking, ``"HOST:PORT"``
            or ``"ray://HOST:PORT"``. Where this process is connected to Ray, that connection is
            used. Every node needs the same versions of Python and packages, and modules and files
            of search spaces at the same place. None for no cluster.
        gpus: GPUs of the cluster a candidate, a fraction to share one; None for a whole one if
            it trains on ``"cuda"``.
        out: a folder for the journal and the results. If it holds a journal of the same settings,
            the run continues: what is finished is not measured again.
        progress: called after every event.

    Returns:
        All candidates, best first.

    Raises:
        ValueError: an argument is not what is allowed; nothing measured is lost.
        ConnectionError: no cluster answers at the address.
        RuntimeError: workers cannot start, or no node of the cluster has room for a candidate.
    """
    chosen = as_candidates(candidates, samples, seed)
    check_task(task)
    training = training or Training()
    table = resolve_readouts(readouts)
    _require_counts(readings=(readings, 1), workers=(workers, 0), threads=(threads, 1))
    if ray is not None:
        each = cluster.resources(ray, training.device, threads, gpus)
    elif gpus is not None:
        raise ValueError(f"gpus: a cluster is needed for them (ray), got {gpus} without one")
    if head is not None:
        require_head(chosen, task, training, head)
    screening = {
        "task": task,
        "training": training,
        "readouts": readouts,
        "readings": readings,
        "head": head,
        "extra": extra,
    }
    settings = {
        "version": version("prescreen"),
        "task": f"{task.name} {task.fingerprint}",
        **training.to_json(),
        "readouts": list(table),
        "readings": readings,
        "head": head,
        "extra": list(extra or {}),
        "threads": threads,
    }
    with Journal(None if out is None else Path(out), settings) as journal:
        waiting = [c for c in chosen if not journal.records.get(c.key, Record()).done]
        report = reporter(progress, chosen, waiting, readings)
        happening = (
            measure(waiting, workers, threads, screening)
            if ray is None
            else cluster.measure(waiting, workers, threads, screening, ray, each)
        )
        with closing(happening):  # workers end now, not when a traceback is forgotten
            for index, event in happening:
                _note(journal, waiting[index].key, event)
                report(waiting[index], event)
        ranking = order(chosen, journal.records, table)
        if journal.folder is not None:
            replace_text(journal.folder / "ranking.json", ranking.to_json())
            replace_text(journal.folder / "ranking.csv", ranking.to_csv())
    return ranking


def order(
    candidates: Sequence[Candidate], records: Mapping[str, Record], readouts: Mapping[str, Measure]
) -> Ranking:
    """Order candidates by their last readings; equal scores keep the given order.

    What an untrained network does not define says nothing about it: such a measure counts for no
    candidate. A readout that is NaN counts as the worst.
    """
    done = [(candidate, records[candidate.key]) for candidate in candidates]
    good = [pair for pair in done if pair[1].status == "finished"]
    lasts = [record.trajectory.last.values for _, record in good]
    of_network, _ = split(readouts)
    left_out = [name for name in of_network if any(math.isnan(last[name]) for last in lasts)]
    judged = {name: one for name, one in readouts.items() if name not in left_out} or readouts
    oriented = [[one.score(last[name]) for name, one in judged.items()] for last in lasts]
    scores = aggregate(np.array(oriented, dtype=float).reshape(len(good), len(judged)))
    best_first = np.argsort(-scores, kind="stable")
    ranked = [
        _row(good[index][0], good[index][1], place, float(scores[index]))
        for place, index in enumerate(best_first, start=1)
    ]
    failed = [_row(c, record) for c, record in done if record.status != "finished"]
    return Ranking((*ranked, *failed), tuple(readouts), tuple(left_out))


def _row(
    candidate: Candidate, record: Record, rank: int | None = None, score: float = math.nan
) -> Row:
    empty = Reading(step=0, values={})
    last = record.trajectory.last if len(record.trajectory) else empty
    return Row(
        rank=rank,
        name=candidate.name,
        score=score,
        status="ok" if record.status == "finished" else record.status,
        reason=record.reason,
        values=last.values,
        step=last.step,
        seconds=last.seconds,
        training_loss=last.training_loss,
        parameters=last.parameters,
        config=candidate.config,
        trajectory=record.trajectory,
    )


def _note(journal: Journal, key: str, event: Event) -> None:
    if isinstance(event, Reading):
        journal.reading(key, event)
    elif isinstance(event, CandidateFailed):
        journal.failed(key, event.kind, event.reason)
    elif event == STARTED:
        journal.started(key)
    elif event == FINISHED:
        journal.finished(key)


def _require_counts(**counts: tuple[int, int]) -> None:
    for name, (value, least) in counts.items():
        if value < least:
            raise ValueError(f"{name}: at least {least} is allowed, got {value}")
