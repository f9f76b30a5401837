"""Logs: the logger that `--log` names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from prescreen.loggers import Log, MLflow, TensorBoard, Wandb

ALLOWED = "tensorboard:FOLDER, mlflow, mlflow:EXPERIMENT, wandb or wandb:PROJECT"


@contextmanager
def opened_log(text: str | None) -> Iterator[Log | None]:
    """The logger of a text such as ``"tensorboard:runs"``, closed at the end; None for None.

    Raises:
        ValueError: it names none.
        ImportError: the logger's library is not installed.
    """
    if text is None:
        yield None
        return
    with closing(_logger(text)) as log:
        yield log


def _logger(text: str) -> TensorBoard | MLflow | Wandb:
    kind, colon, where = text.partition(":")
    # A colon asks for a place, and TensorBoard has none of its own.
    if bool(where) == bool(colon) and (where or kind != "tensorboard"):
        if kind == "tensorboard":
            return TensorBoard(where)
        if kind == "mlflow":
            return MLflow(where or None)
        if kind == "wandb":
            return Wandb(project=where) if where else Wandb()
    raise ValueError(f"`log` must be {ALLOWED}, got {text!r}")
