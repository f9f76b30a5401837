"""Lightning in Optuna: a callback that reads a trial's module, and ends the trial if it is pruned."""

from __future__ import annotations

from typing import Any

from optuna.exceptions import TrialPruned
from optuna.trial import BaseTrial

from prescreen.integrations.optuna.distributed import require_own
from prescreen.integrations.optuna.reader import Reader
from prescreen.loggers import logged
from prescreen.text import showing

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError(
        "prescreen.integrations.optuna.lightning needs the 'lightning' extra: "
        "pip install 'prescreen[lightning]'"
    ) from error


class ReadoutPruning(Callback):
    """Reads the module after training steps, and ends the trial once the study's pruner says so.

    ::

        trainer = Trainer(callbacks=[ReadoutPruning(trial, unlabelled)])
        trainer.fit(module, data)  # raises TrialPruned

    No validation pass is needed. Which steps are read is up to the reader's budget. Readings are stored
    with the trial, and logged as ``prescreen/NAME``. With several devices there is one trial for several
    processes, of which this one is not told: use ``Reader`` with a ``TorchDistributedTrial`` there.

    Args:
        trial: the running trial.
        inputs: the unlabelled probe batch, the same in all trials, in the form that ``forward`` takes.
        **arguments: of ``Reader``, such as ``budget`` or ``readouts``.

    Raises:
        ValueError: an argument is not allowed.

    Attributes:
        reader: once a fit has begun.
    """

    __repr__ = showing(trial="_trial.number")

    def __init__(self, trial: BaseTrial, inputs: Any, **arguments: Any) -> None:
        require_own(trial)
        self.reader: Reader | None = None
        self._trial, self._inputs, self._arguments = trial, inputs, arguments
        self._asked = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the untrained network, which may end the trial already.

        Raises:
            ValueError: the trainer has several processes.
            TrialPruned: the pruner ends the trial.
        """
        if trainer.world_size > 1:
            raise ValueError(
                f"`devices` must be one process with ReadoutPruning, got {trainer.world_size}; in "
                "several use Reader with a TorchDistributedTrial"
            )
        if trainer.fast_dev_run:
            return
        self._asked = trainer.global_step
        self.reader = Reader(self._trial, pl_module, self._inputs, **self._arguments)
        self._prune(self.reader, self._asked)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read if it is worth it, log what is defined, and ask the pruner.

        Raises:
            TrialPruned: the pruner ends the trial.
        """
        step = trainer.global_step
        if self.reader is None or step <= self._asked:  # where gradients are accumulated
            return
        self._asked = step
        reading = self.reader.read(step)
        if reading is not None:
            pl_module.log_dict(logged(reading), on_step=True, on_epoch=False)
        self._prune(self.reader, step)

    @staticmethod
    def _prune(reader: Reader, step: int) -> None:
        if reader.should_prune():
            raise TrialPruned(f"by its readings at step {step}")
