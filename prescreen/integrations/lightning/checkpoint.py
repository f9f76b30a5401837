"""ReadoutModelCheckpoint: keeps Lightning's own checkpoints, which its Trainer finds as ``"best"``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from prescreen.checkpoints.monitor import Monitor
from prescreen.checkpoints.selector import CheckpointSelector
from prescreen.integrations.lightning.callbacks import ReadoutCallback
from prescreen.reading import Reading


class ReadoutModelCheckpoint(ReadoutCallback, Checkpoint):
    """Keeps whole checkpoints of Lightning, those whose readings are best: ``ckpt_path="best"``.

    ::

        trainer = Trainer(callbacks=[ReadoutModelCheckpoint(Monitor(unlabelled), "checkpoints")])
        trainer.fit(module, data)
        trainer.test(ckpt_path="best")

    It chooses as ``ReadoutCheckpoint`` does, which keeps state dicts alone. A fit that resumes from one
    of its checkpoints continues, also in another folder; files of the earlier one are left there.

    Args:
        monitor: reads the module, whose ``forward`` must take the monitor's inputs.
        folder: for the checkpoints, named ``step-STEP.ckpt``; made if absent.
        start: first optimizer step of the window that counts.
        smoothing: how many readings a value is averaged over; an odd number.
        save_top_k: how many checkpoints to keep, −1 for all.
        save_weights_only: leave out optimizers and schedules; training cannot resume from the files.
        every_n_epochs: epochs from one reading to the next; if that is more than there are, the last
            is read.

    Attributes:
        best_model_path: the file of the best checkpoint; empty at first.
    """

    def __init__(
        self,
        monitor: Monitor,
        folder: str | Path,
        *,
        start: int = 0,
        smoothing: int = 1,
        save_top_k: int = 1,
        save_weights_only: bool = False,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(monitor, every_n_epochs)
        self.folder = Path(folder).absolute()
        self.save_weights_only = save_weights_only
        self.best_model_path = ""
        self.selector = CheckpointSelector(
            None,
            monitor.readouts,
            start=start,
            smoothing=smoothing,
            save_top_k=save_top_k,
        )
        self._files: dict[int, str] = {}

    def _start(self) -> None:
        if any(self.folder.glob("step-*.ckpt")):
            raise ValueError(
                f"`folder` must be new for a new training, got {str(self.folder)!r}, which holds "
                "checkpoints; fit(ckpt_path=...) continues one"
            )
        self.selector.start()
        self._files, self.best_model_path = {}, ""
        super()._start()

    def _decide(self, trainer: Trainer, pl_module: LightningModule, reading: Reading) -> None:
        kept = self.selector.update(reading)
        if kept:
            path = str(self.folder / f"step-{reading.step}.ckpt")
            self._files[reading.step] = path
        steps = self.selector.steps
        dropped = [self._files[step] for step in self._files if step not in steps]
        self._files = {step: path for step, path in self._files.items() if step in steps}
        best = self.selector.best
        self.best_model_path = "" if best is None else self._files.get(best.step, "")
        if kept:  # now that its state has what is known, which is saved with it
            trainer.save_checkpoint(path, self.save_weights_only)
        for file in dropped:
            if Path(file).parent == self.folder:
                trainer.strategy.remove_checkpoint(file)

    def state_dict(self) -> dict[str, Any]:
        """The state in Lightning's own checkpoints, from which a resumed run continues."""
        files = {str(step): path for step, path in self._files.items()}
        state = {"selector": self.selector.state_dict(), "files": files}
        return {**state, **super().state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state, without the files that are missing by now."""
        super().load_state_dict(state_dict)
        files = {step: path for step, path in state_dict["files"].items() if Path(path).is_file()}
        selected = state_dict["selector"]
        kept = {step: file for step, file in selected["files"].items() if step in files}
        self.selector.load_state_dict({**selected, "files": kept})
        self._files = {int(step): path for step, path in files.items()}
        best = self.selector.best
        self.best_model_path = "" if best is None else self._files.get(best.step, "")
