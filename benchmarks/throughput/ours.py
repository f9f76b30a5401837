"""Ours: worker processes of one thread that screen candidates as those of `rank` do."""

from __future__ import annotations

import time
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection

from benchmarks.throughput.families import FAMILIES
from prescreen import Training
from prescreen.ranking.executors.base import torch_threads
from prescreen.screening import Plan, Screening
from prescreen.tasks import ImageTask


class Workers:
    """Processes that screen one candidate each; their start, and making the task, are not timed.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        context = get_context("spawn")
        self._pipes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            context.Process(target=_work, args=(theirs,), daemon=True).start()
            self._pipes.append(ours)
        for pipe in self._pipes:
            pipe.recv()

    def prepare(self, family: str) -> None:
        """Make the task of a family in every worker."""
        for pipe in self._pipes:
            pipe.send((family, None, 0))
        for pipe in self._pipes:
            pipe.recv()

    def screen(self, family: str, training: Training, number: int) -> tuple[float, float]:
        """All workers screen the same candidate; seconds of the wall, and of all processes."""
        start = time.perf_counter()
        for pipe in self._pipes:
            pipe.send((family, training, number))
        cpu = sum(pipe.recv() for pipe in self._pipes)
        return time.perf_counter() - start, cpu


@cache
def _task(family: str) -> ImageTask:
    return FAMILIES[family].task()


def _work(pipe: Connection) -> None:
    pipe.send(0.0)
    while True:
        try:
            family, training, number = pipe.recv()
        except EOFError:  # the benchmark is over
            return
        task = _task(family)
        start = time.process_time()
        if training is not None:
            candidate = FAMILIES[family].candidates()[number]
            with torch_threads(1):
                for _ in Screening(candidate, Plan(task, training, ranking=True)):
                    pass
        pipe.send(time.process_time() - start)
