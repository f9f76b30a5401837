"""Ray: candidates side by side on a cluster; a ranking survives the loss of a worker or node."""

from __future__ import annotations

import math
import pickle
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from prescreen.checks import require, require_at_least
from prescreen.failures import CandidateFailed
from prescreen.ranking.events import Event, ends, events
from prescreen.ranking.executors.base import GRACE, READY, RETRIES, pickled
from prescreen.ranking.executors.queue import Queue
from prescreen.ranking.executors.ray_connection import connected, host_and_port, import_ray
from prescreen.ranking.jobs import Job
from prescreen.screening import Plan
from prescreen.screening.deadline import timed_out
from prescreen.screening.form import Forms
from prescreen.text import named_line

# What ends an actor's process, a candidate's crash or the loss of a node, looks the same from here: the
# limit of RETRIES tells them apart.


@dataclass(frozen=True)
class Ray:
    """A Ray cluster; a ranking survives the loss of a worker or node.

    A candidate whose worker or node is lost begins again elsewhere. After ``RETRIES`` more attempts it
    has failed as ``"killed"``. If this process is already connected to Ray, that connection is used and
    kept; else one is made and closed again. Every node needs the same versions of Python and packages,
    and the modules and files of search spaces in the same places.

    Args:
        address: ``"auto"`` for the cluster that runs here (or ``RAY_ADDRESS``), ``"local"`` for a new
            one on this machine that ends with the ranking, ``"HOST:PORT"`` or ``"ray://HOST:PORT"``.
        workers: how many candidates run at once; 0 for as many as there is room for.
        gpus: GPUs per candidate, a fraction to share one; None for a whole one on the device ``"cuda"``.

    Raises:
        ValueError: an argument is not allowed; or, during measurement, the device is neither ``"cpu"``
            nor ``"cuda"``, something cannot be pickled, or a node cannot import it.
        ImportError: during measurement, Ray is not installed.
        ConnectionError: during measurement, no cluster answers.
        RuntimeError: during measurement, no node has room for a candidate, or workers cannot start.
    """

    address: str = "auto"
    workers: int = 0
    gpus: float | None = None

    def __post_init__(self) -> None:
        host_and_port(self.address)
        require_at_least("workers", self.workers, 0)
        fits = self.gpus is None or 0 < self.gpus <= 1
        require("gpus", "above 0 and at most 1, or None", self.gpus, fits)

    def measure(
        self, jobs: Sequence[Job], plan: Plan | Forms, threads: int
    ) -> Generator[tuple[int, Event]]:
        """See ``Executor``."""
        each = self.resources(plan.training.device, threads)  # checked now, not at the first event
        return self._events(jobs, plan, threads, each)

    def _events(
        self, jobs: Sequence[Job], plan: Plan | Forms, threads: int, each: dict[str, float]
    ) -> Generator[tuple[int, Event]]:
        if not jobs:
            return
        ray = import_ray()
        dumps = ray.cloudpickle.dumps  # unlike pickle, it includes definitions of a script
        setup = pickled("task", (threads, plan), dumps)
        queue = Queue(jobs, dumps)
        with connected(ray, self.address):
            yield from _measure(ray, queue, setup, self.workers, each, plan.timeout)

    def resources(self, device: str, threads: int) -> dict[str, float]:
        """The resources of a candidate, by Ray's names.

        Args:
            device: where candidates are trained; Ray chooses which of a node's GPUs.
            threads: CPU threads per candidate.

        Raises:
            ValueError: the device is unknown, or GPUs are given for training on the CPU.
        """
        if device not in ("cpu", "cuda"):
            raise ValueError(f"`device` must be cpu or cuda on a Ray cluster, got {device}")
        if self.gpus is not None and device == "cpu":
            raise ValueError(f"`gpus` must be None for the device cpu, got {self.gpus}")
        return {"CPU": threads, "GPU": float(device == "cuda") if self.gpus is None else self.gpus}


class _Worker:
    """The actor. It is asked for one event at a time: none can be lost on the way."""

    def prepare(self, setup: bytes) -> str:
        # Ray makes a SIGTERM, as of a node that is taken away, a SystemExit in the candidate's code.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threads, self.plan = _unpickled("the task", setup)
        torch.set_num_threads(threads)
        return READY

    def next(self, job: bytes | None = None) -> Event:
        """The next event, of a new candidate if one is given."""
        if job is not None:
            self.events = events(_unpickled("the candidates", job, Job.unpacked), self.plan)
        return next(self.events)


@dataclass
class _Slot:
    actor: Any
    job: int | None = None
    end: float = math.inf  # when it is killed, on the monotonic clock

    def is_late(self) -> bool:
        return time.monotonic() >= self.end


def _measure(
    ray: Any,
    queue: Queue,
    setup: bytes,
    workers: int,
    each: dict[str, float],
    timeout: float | None,
) -> Generator[tuple[int, Event]]:
    worker = ray.remote(num_cpus=each["CPU"], num_gpus=each["GPU"])(_Worker)
    shipped = ray.put(setup)
    lost: Counter[int | None] = Counter()
    slots: dict[Any, _Slot] = {}  # by the reference to the awaited answer
    try:
        while queue or _busy(slots):
            room = _room(ray, each)
            while len(slots) < min(workers or room, room, len(queue) + _busy(slots)):
                actor = worker.remote()
                slots[actor.prepare.remote(shipped)] = _Slot(actor)
            slot, answer = _answered(ray, slots, timeout)
            actor, job = slot.actor, slot.job
            if isinstance(answer, ray.exceptions.RayError):
                ray.kill(actor)  # it may still live if only the network is broken
                lost[job] += 1
                if lost[job] <= RETRIES:
                    queue.give_back(job)
                else:
                    yield _given_up(job, answer)
                continue
            # The next event is requested before this one is journalled: workers do not wait.
            if answer != READY and not ends(answer):
                slots[actor.next.remote()] = slot
            elif not slot.is_late() and (following := queue.next()) is not None:
                end = math.inf if timeout is None else time.monotonic() + timeout + GRACE
                message = queue.message(following)
                slots[actor.next.remote(message)] = _Slot(actor, following, end)
            else:
                ray.kill(actor)
            if job is None:
                lost[None] = 0
            else:
                yield job, answer
    finally:
        for slot in slots.values():
            ray.kill(slot.actor)


def _answered(ray: Any, slots: dict[Any, _Slot], timeout: float | None) -> tuple[_Slot, Any]:
    """Wait for one answer: an event, Ray's error for a lost worker, or the failure of a late one."""
    latest = min(slots, key=lambda reference: slots[reference].end)
    patience = slots[latest].end - time.monotonic()
    answered, _ = ray.wait(
        list(slots), num_returns=1, timeout=None if patience == math.inf else max(patience, 0.0)
    )
    if not answered and timeout is not None:
        return slots.pop(latest), timed_out(timeout)
    (reference,) = answered
    try:
        answer = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # without the traceback of the worker
    except ray.exceptions.RayError as error:
        answer = error
    return slots.pop(reference), answer


def _busy(slots: dict[Any, _Slot]) -> int:
    return sum(slot.job is not None for slot in slots.values())


def _room(ray: Any, each: dict[str, float]) -> int:
    """How many candidates the living nodes have room for, if nobody else uses them."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    needs = {kind: amount for kind, amount in each.items() if amount > 0}
    # The small term keeps rounding (0.3 / 0.1) from costing one.
    room = sum(
        math.floor(min(node.get(kind, 0) / amount for kind, amount in needs.items()) + 1e-9)
        for node in nodes
    )
    if room == 0:
        need = " and ".join(f"{amount:g} {kind}" for kind, amount in needs.items())
        has = "; ".join(
            ", ".join(f"{node.get(kind, 0):g} {kind}" for kind in needs) for node in nodes
        )
        raise RuntimeError(
            f"a node of the Ray cluster must have {need} for a candidate, got {has or 'no node'}"
        )
    return room


def _given_up(job: int | None, error: Exception) -> tuple[int, CandidateFailed]:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if job is None:
        raise RuntimeError(
            f"workers on the Ray cluster must start, got {lines[-1]} in {RETRIES + 1} attempts"
        )
    reason = f"its worker or node was lost {RETRIES + 1} times: {lines[0]}"
    return job, CandidateFailed("killed", reason)


def _unpickled(what: str, value: bytes, loads: Callable[[bytes], Any] = pickle.loads) -> Any:
    try:
        return loads(value)
    except BaseException as error:  # importing a module can raise anything
        raise ValueError(
            f"every node must be able to import {what}, got {named_line(error)}"
        ) from None
