"""Candidates measured side by side on a Ray cluster; the loss of a worker or node is survived."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from prescreen.failures import CandidateFailed
from prescreen.ranking.executors.processes import READY, STARTED, Event, events, pickled
from prescreen.ranking.executors.ray_connection import connected, host_and_port, import_ray
from prescreen.reading import Reading
from prescreen.spaces.candidate import Candidate

# How often a candidate, or the start of a worker, is tried again. One that ends its own process (a
# segmentation fault, too much memory) looks like a lost node at first: the limit tells them apart.
RETRIES = 3


def resources(address: str, device: str, threads: int, gpus: float | None) -> dict[str, float]:
    """What a candidate takes of a cluster, by Ray's names.

    Args:
        address: as in `measure`.
        device: where candidates are trained; which of a node's GPUs that is, Ray chooses.
        threads: CPU threads a candidate.
        gpus: GPUs a candidate, a fraction to share one; None for a whole one if it trains on GPUs.

    Raises:
        ValueError: an argument is not what is allowed.
    """
    host_and_port(address)
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device: cpu or cuda is allowed on a Ray cluster, got {device}")
    if gpus is None:
        gpus = float(device == "cuda")
    elif device == "cpu":
        raise ValueError(f"gpus: device cuda is needed for them, got {gpus} with device cpu")
    elif not 0 < gpus <= 1:
        raise ValueError(f"gpus: more than 0 and at most 1 is allowed, got {gpus}")
    return {"CPU": threads, "GPU": gpus}


def measure(
    candidates: Sequence[Candidate],
    workers: int,
    threads: int,
    screening: dict[str, Any],
    address: str,
    each: dict[str, float],
) -> Generator[tuple[int, Event]]:
    """Screen candidates on a cluster; otherwise as ``prescreen.ranking.executors.processes.measure``.

    A candidate whose worker or node is lost begins again, with STARTED, elsewhere. After
    ``RETRIES`` of these it has failed as ``"killed"``. Workers end when the iterator is closed. What
    the process itself has connected is left as it is; what is connected here is disconnected.

    Args:
        candidates: what to screen.
        workers: how many at once; 0 for as many as the cluster has room for.
        threads: torch's CPU threads a candidate.
        screening: the keyword arguments of ``screen``.
        address: ``"auto"``, ``"local"``, ``"HOST:PORT"`` or ``"ray://HOST:PORT"``; of no meaning
            where this process is connected to Ray already.
        each: what one candidate takes, see `resources`.

    Yields:
        ``(index of the candidate, event)``.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: no cluster answers.
        ValueError: something cannot be pickled or, on a node, not be imported.
        RuntimeError: no node has room for a candidate, or workers cannot start.
    """
    if not candidates:
        return
    ray = import_ray()
    dumps = ray.cloudpickle.dumps  # unlike pickle, it takes along what a script defines itself
    setup = pickled("ray", "task", (threads, screening), dumps)
    jobs = [pickled("ray", f"candidate {one.name!r}", one, dumps) for one in candidates]
    with connected(ray, address):
        yield from _measure(ray, jobs, setup, workers, each)


class _Worker:
    """The actor: it is asked for one event at a time, so that no event is ever lost on its way."""

    def prepare(self, setup: bytes) -> str:
        threads, self.screening = _unpickled("the task", setup)
        torch.set_num_threads(threads)
        return READY

    def next(self, job: bytes | None = None) -> Event:
        """The next event, of a new candidate if one is given."""
        if job is not None:
            self.events = events(_unpickled("every candidate", job), self.screening)
        return next(self.events)


@dataclass
class _Slot:
    actor: Any
    job: int | None = None


def _measure(
    ray: Any, jobs: list[bytes], setup: bytes, workers: int, each: dict[str, float]
) -> Generator[tuple[int, Event]]:
    worker = ray.remote(num_cpus=each["CPU"], num_gpus=each["GPU"])(_Worker)
    shipped = ray.put(setup)
    waiting = list(range(len(jobs)))[::-1]
    lost: Counter[int | None] = Counter()
    slots: dict[Any, _Slot] = {}  # by the reference to the answer that is awaited
    try:
        while waiting or _busy(slots):
            room = _room(ray, each)
            while len(slots) < min(workers or room, room, len(waiting) + _busy(slots)):
                actor = worker.remote()
                slots[actor.prepare.remote(shipped)] = _Slot(actor)
            slot, answer = _answered(ray, slots)
            actor, job = slot.actor, slot.job
            if isinstance(answer, ray.exceptions.RayError):
                ray.kill(actor)  # it may live on where only the network is broken
                lost[job] += 1
                if lost[job] <= RETRIES:
                    waiting += [] if job is None else [job]
                else:
                    yield _given_up(job, answer)
                continue
            # The next event is asked for before this one is journalled, so that no worker waits.
            if isinstance(answer, Reading) or answer == STARTED:
                slots[actor.next.remote()] = slot
            elif waiting:
                following = waiting.pop()
                slots[actor.next.remote(jobs[following])] = _Slot(actor, following)
            else:
                ray.kill(actor)
            if job is None:
                lost[None] = 0
            else:
                yield job, answer
    finally:
        for slot in slots.values():
            ray.kill(slot.actor)


def _answered(ray: Any, slots: dict[Any, _Slot]) -> tuple[_Slot, Any]:
    """Wait for one answer: an event, or the error by which Ray says that its worker is lost."""
    (reference,), _ = ray.wait(list(slots), num_returns=1)
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
    """How many candidates the nodes that live can hold together, whoever else uses them."""
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
            f"ray: a node with {need} for a candidate is needed, got {has or 'none'}"
        )
    return room


def _given_up(job: int | None, error: Exception) -> tuple[int, CandidateFailed]:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if job is None:
        raise RuntimeError(f"ray: workers cannot start, tried {RETRIES + 1} times, got {lines[-1]}")
    reason = f"its worker or node was lost {RETRIES + 1} times: {lines[0]}"
    return job, CandidateFailed("killed", reason)


def _unpickled(what: str, value: bytes) -> Any:
    try:
        return pickle.loads(value)
    except Exception as error:  # whatever importing a module raises
        raise ValueError(
            f"ray: {what} must be importable on every node, got {type(error).__name__}: {error}"
        ) from None
