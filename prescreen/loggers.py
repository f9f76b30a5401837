"""Loggers: where readings go beside the journal: TensorBoard, MLflow, Weights & Biases, or a function.

A logger is any function of values and a step, and in ``rank`` of the candidate's name. The libraries are
imported when a logger is made.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from prescreen.reading import Reading
from prescreen.text import named_line, printable

logger = logging.getLogger(__name__)

PREFIX = "prescreen"
_OPEN = 16  # writers and runs; a ranking may have thousands of candidates, one after the other


class Log(Protocol):
    """What takes values; a plain function does."""

    def __call__(self, values: Mapping[str, float], step: int, run: str = "", /) -> None:
        """Take values, all of them finite.

        Args:
            values: name to value.
            step: optimizer steps taken so far.
            run: the candidate; empty if there is only one model.
        """


def logged(reading: Reading) -> dict[str, float]:
    """What is logged of a reading: ``prescreen/NAME`` of every readout that is defined.

    A value that is not finite would stop Lightning's EarlyStopping, and is not JSON.
    """
    values = {f"{PREFIX}/{name}": float(value) for name, value in reading.values.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def guarded(log: Log | None) -> Log:
    """The same logger, which may fail: it is told once, and what is measured goes on without it."""
    fails = log is None

    def take(values: Mapping[str, float], step: int, run: str = "", /) -> None:
        nonlocal fails
        if fails or log is None or not values:
            return
        try:
            log(values, step, run) if run else log(values, step)
        except Exception as error:  # a server that is gone must not end hours of measuring
            fails = True
            logger.warning("`log` gets no more readings: %s", named_line(error))

    return take


class TensorBoard:
    """Scalars for TensorBoard; every candidate is a run of its own.

    Args:
        folder: for the event files, with a folder for each candidate.

    Raises:
        ImportError: tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        with _needed("TensorBoard", "tensorboard"):
            from torch.utils.tensorboard import SummaryWriter
        self._folder = Path(folder)
        self._writers = _Few(lambda run: SummaryWriter(self._folder / _file_name(run)))

    def __call__(self, values: Mapping[str, float], step: int, run: str = "", /) -> None:
        """Write values."""
        writer = self._writers.get(run)
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    def close(self) -> None:
        """Close the files; they are opened again if more comes."""
        self._writers.close()


class MLflow:
    """Metrics in MLflow: of one model in the active run, or else in a new one; a run for each candidate.

    Args:
        experiment: its name, made if absent; by default MLflow's own.
        tracking_uri: where it is; by default MLflow's own.

    Raises:
        ImportError: mlflow is not installed.
    """

    def __init__(self, experiment: str | None = None, tracking_uri: str | None = None) -> None:
        with _needed("MLflow", "mlflow"):
            import mlflow
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient(tracking_uri)
        self._experiment = "0"
        if experiment is not None:
            known = self._client.get_experiment_by_name(experiment)
            create = self._client.create_experiment
            self._experiment = known.experiment_id if known else create(experiment)
        self._runs: dict[str, str] = {}

    def __call__(self, values: Mapping[str, float], step: int, run: str = "", /) -> None:
        """Write values."""
        if run not in self._runs:
            self._runs[run] = self._begin(run)
        now = int(1000 * time.time())
        # MLflow takes few other characters.
        names = {re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII): name for name in values}
        metric = self._mlflow.entities.Metric
        metrics = [metric(own, values[name], now, step) for own, name in names.items()]
        self._client.log_batch(self._runs[run], metrics)

    def close(self) -> None:
        """End the runs that were begun here."""
        active = self._mlflow.active_run()
        for one in self._runs.values():
            if active is None or one != active.info.run_id:
                self._client.set_terminated(one)
        self._runs.clear()

    def _begin(self, run: str) -> str:
        active = self._mlflow.active_run()
        if active is not None and not run:
            return str(active.info.run_id)
        experiment = self._experiment if active is None else active.info.experiment_id
        tags = {} if active is None else {"mlflow.parentRunId": active.info.run_id}
        name = printable(run)[:250] or PREFIX
        return str(self._client.create_run(experiment, tags=tags, run_name=name).info.run_id)


class Wandb:
    """Metrics in Weights & Biases: of one model in the run that is there; a run for each candidate.

    Args:
        **arguments: of ``wandb.init``, such as ``project``; candidates share the ``group``, by default
            ``"prescreen"``.

    Raises:
        ImportError: wandb is not installed.
    """

    def __init__(self, **arguments: Any) -> None:
        with _needed("Wandb", "wandb"):
            import wandb
        self._wandb = wandb
        self._arguments = {"group": PREFIX, **arguments}
        self._runs = _Few(self._begin, lambda run: run.finish())

    def __call__(self, values: Mapping[str, float], step: int, run: str = "", /) -> None:
        """Write values."""
        active = None if run else self._wandb.run
        (active or self._runs.get(run)).log(dict(values), step=step)

    def close(self) -> None:
        """Finish the runs that were begun here."""
        self._runs.close()

    def _begin(self, run: str) -> Any:
        # Of the same id, so that a run that was finished goes on if more comes.
        one = hashlib.sha256(f"{id(self)} {time.time_ns()} {run}".encode(errors="replace"))
        own = {"name": printable(run)[:128], "id": one.hexdigest()[:16]} if run else {}
        return self._wandb.init(**{**self._arguments, **own, "reinit": "create_new"})


class _Few:
    """Open handles by name, the latest few of them."""

    def __init__(
        self,
        begin: Callable[[str], Any],
        end: Callable[[Any], None] = lambda handle: handle.close(),
    ) -> None:
        self._begin, self._end = begin, end
        self._handles: OrderedDict[str, Any] = OrderedDict()

    def get(self, name: str) -> Any:
        if name not in self._handles:
            while len(self._handles) >= _OPEN:
                self._end(self._handles.popitem(last=False)[1])
            self._handles[name] = self._begin(name)
        self._handles.move_to_end(name)
        return self._handles[name]

    def close(self) -> None:
        while self._handles:
            self._end(self._handles.popitem()[1])


def _file_name(run: str) -> str:
    """A name for a folder: a candidate's name may be anything."""
    if re.fullmatch(r"[\w=+-][\w.=+-]{0,99}", run, re.ASCII) or not run:
        return run
    digest = hashlib.sha256(run.encode(errors="replace")).hexdigest()[:8]
    return f"{re.sub(r'[^a-zA-Z0-9=+-]+', '_', run)[:80]}-{digest}"


@contextmanager
def _needed(name: str, package: str) -> Iterator[None]:
    """Say in one line which package a logger needs."""
    try:
        yield
    except ImportError as error:
        line = f"prescreen.loggers.{name} needs {package}: pip install {package}"
        raise ImportError(line) from error
