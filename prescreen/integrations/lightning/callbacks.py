"""Callbacks: one reading at the end of an epoch, to keep state dicts by and to stop by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from prescreen.checkpoints.monitor import Monitor
from prescreen.checkpoints.selector import CheckpointSelector
from prescreen.checkpoints.stopping import EarlyStopping
from prescreen.checks import require_at_least, require_one_of
from prescreen.loggers import logged
from prescreen.reading import Reading
from prescreen.text import showing


class ReadoutCallback(Callback, ABC):
    """Takes a reading at the end of training epochs; callbacks with one monitor share the reading."""

    __repr__ = showing(monitor="monitor")

    def __init__(self, monitor: Monitor, every_n_epochs: int) -> None:
        require_at_least("every_n_epochs", every_n_epochs, 1)
        self.monitor = monitor
        self.every_n_epochs = every_n_epochs
        self._taken: tuple[int, Reading] | None = None
        self._restored = False  # since the latest fit
        self._continues = False  # this fit is not the first of its training

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier training, unless this fit goes on with it."""
        self._taken = None
        self._continues = self._restored or trainer.global_step > 0
        self._restored = False
        if not self._continues and not trainer.fast_dev_run:
            self._start()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the last epoch if no other was read."""
        known = self._taken is not None or self._continues
        if not known and trainer.global_step > 0 and not trainer.fast_dev_run:
            self._decide(trainer, pl_module, self._reading(trainer, pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read, log ``prescreen/NAME`` where it is defined, and decide."""
        if trainer.fast_dev_run or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        reading = self._reading(trainer, pl_module)
        for name, value in logged(reading).items():
            pl_module.log(name, value)
        self._decide(trainer, pl_module, reading)

    def state_dict(self) -> dict[str, Any]:
        """The monitor's state, also if callbacks share the monitor."""
        return {"monitor": self.monitor.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self._restored = True
        self.monitor.load_state_dict(state_dict["monitor"])

    def _start(self) -> None:
        """Begin another training."""
        self.monitor.reset()

    def _reading(self, trainer: Trainer, pl_module: LightningModule) -> Reading:
        others = [c for c in trainer.callbacks if isinstance(c, ReadoutCallback)]
        taken = [c._taken for c in others if c.monitor is self.monitor and c._taken is not None]
        now = [reading for epoch, reading in taken if epoch == trainer.current_epoch]
        reading = now[0] if now else self.monitor.read(pl_module, trainer.global_step)
        self._taken = (trainer.current_epoch, reading)
        return reading

    @abstractmethod
    def _decide(self, trainer: Trainer, pl_module: LightningModule, reading: Reading) -> None:
        """Act on a reading, the same in every process."""


class ReadoutCheckpoint(ReadoutCallback):
    """Keeps the checkpoints whose readings are best: ``ModelCheckpoint`` without a metric.

    ``selector.best`` is the choice, ``selector.load()`` its state dict. What is known travels with
    Lightning's own checkpoints: a fit that resumes from one continues, also in another folder.

    Args:
        monitor: reads the module, whose ``forward`` must take the monitor's inputs.
        folder: for the state dicts of the module; see ``CheckpointSelector``.
        start: first optimizer step of the window that counts.
        smoothing: how many readings a value is averaged over; an odd number.
        save_top_k: how many checkpoints to keep, −1 for all.
        resume: whether to continue the run in the folder without a checkpoint of Lightning.
        every_n_epochs: epochs from one reading to the next; if that is more than there are, the last
            is read.
    """

    def __init__(
        self,
        monitor: Monitor,
        folder: str | Path,
        *,
        start: int = 0,
        smoothing: int = 1,
        save_top_k: int = 1,
        resume: bool = False,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(monitor, every_n_epochs)
        self.selector = CheckpointSelector(
            folder,
            monitor.readouts,
            start=start,
            smoothing=smoothing,
            save_top_k=save_top_k,
            resume=resume,
        )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let others use the folder."""
        self.selector.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Let others use the folder."""
        self.selector.close()

    def _start(self) -> None:
        self.selector.start()
        super()._start()

    def _decide(self, trainer: Trainer, pl_module: LightningModule, reading: Reading) -> None:
        self.selector.update(reading, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The state in Lightning's own checkpoints, from which a resumed run continues."""
        return {"selector": self.selector.state_dict(), **super().state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        super().load_state_dict(state_dict)
        self.selector.load_state_dict(state_dict["selector"])


class ReadoutEarlyStopping(ReadoutCallback):
    """Stops training when a readout no longer improves: ``EarlyStopping`` without a metric.

    Args:
        monitor: reads the module.
        readout: one of the monitor's; by default its first.
        patience: least number of readings without improvement after which training stops.
        min_delta: smallest improvement that counts.
        every_n_epochs: epochs from one reading to the next.
        **arguments: of ``prescreen.EarlyStopping``.
    """

    def __init__(
        self,
        monitor: Monitor,
        readout: str | None = None,
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        every_n_epochs: int = 1,
        **arguments: Any,
    ) -> None:
        super().__init__(monitor, every_n_epochs)
        name = readout or next(iter(monitor.readouts))
        require_one_of("readout", name, monitor.readouts)
        self.stopping = EarlyStopping(
            {name: monitor.readouts[name]},
            patience=patience,
            min_delta=min_delta,
            **arguments,
        )

    def _start(self) -> None:
        super()._start()
        self.stopping.reset()

    def _decide(self, trainer: Trainer, pl_module: LightningModule, reading: Reading) -> None:
        # All processes have the same reading and therefore decide alike.
        trainer.should_stop = self.stopping.update(reading) or trainer.should_stop

    def state_dict(self) -> dict[str, Any]:
        """The state in Lightning's own checkpoints, from which a resumed run continues."""
        return {"stopping": self.stopping.state_dict(), **super().state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        super().load_state_dict(state_dict)
        self.stopping.load_state_dict(state_dict["stopping"])
