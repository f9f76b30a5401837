"""transformers: a Trainer callback that keeps the best checkpoints and stops, without validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from prescreen.checkpoints.monitor import Monitor
from prescreen.checkpoints.selector import CheckpointSelector
from prescreen.checkpoints.stopping import EarlyStopping
from prescreen.checks import require_at_least
from prescreen.files import load_state, save_state

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise ImportError(
        "prescreen.integrations.transformers needs the 'transformers' extra: "
        "pip install 'prescreen[transformers]'"
    ) from error

_FILE = "prescreen.pt"


class ReadoutCallback(TrainerCallback):
    """Reads the model every epoch or every few steps, keeps the best checkpoints, and stops training.

    ::

        monitor = Monitor({"input_ids": unlabelled}, view=some_words_masked)
        selector = CheckpointSelector("best", [*monitor.readouts])
        trainer = Trainer(model, args, callbacks=[ReadoutCallback(monitor, selector)])
        trainer.train()
        model.load_state_dict(selector.load())

    If Trainer resumes from one of its checkpoints, the selector resumes from its folder, and the monitor
    and the stopping rule from a file in that checkpoint.

    Args:
        monitor: reads the model; its inputs are a dict of keywords, such as ``input_ids``.
        selector: keeps state dicts, in addition to Trainer's checkpoints; None to keep none.
        stopping: ends training; None to train to the end.
        every_n_steps: optimizer steps from one reading to the next; None for one reading per epoch.

    Raises:
        ValueError: ``every_n_steps`` is below 1.
    """

    def __init__(
        self,
        monitor: Monitor,
        selector: CheckpointSelector | None = None,
        stopping: EarlyStopping | None = None,
        *,
        every_n_steps: int | None = None,
    ) -> None:
        if every_n_steps is not None:
            require_at_least("every_n_steps", every_n_steps, 1)
        self.monitor = monitor
        self.selector = selector
        self.stopping = stopping
        self.every_n_steps = every_n_steps

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Restore monitor and rule from the checkpoint that training resumes from."""
        file = _checkpoint(args, state) / _FILE
        if state.global_step == 0 or not file.is_file():
            return
        saved = load_state(file)
        self.monitor.load_state_dict(saved["monitor"])
        if self.stopping is not None:
            self.stopping.load_state_dict(saved["stopping"])

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save the state of monitor and rule in the checkpoint that Trainer has just saved."""
        folder = _checkpoint(args, state)
        if state.is_world_process_zero and folder.is_dir():
            stopping = {} if self.stopping is None else self.stopping.state_dict()
            saved = {"monitor": self.monitor.state_dict(), "stopping": stopping}
            save_state((folder / _FILE).with_suffix(""), saved)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read every ``every_n_steps`` steps."""
        if self.every_n_steps is not None and state.global_step % self.every_n_steps == 0:
            self._read(state, control, kwargs["model"])

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read at the end of every epoch, unless ``every_n_steps`` is given."""
        if self.every_n_steps is None:
            self._read(state, control, kwargs["model"])

    def _read(self, state: TrainerState, control: TrainerControl, model: nn.Module) -> None:
        reading = self.monitor.read(model, state.global_step)
        values = {f"prescreen/{name}": value for name, value in reading.values.items()}
        state.log_history.append({"step": state.global_step, "epoch": state.epoch, **values})
        if self.selector is not None:
            self.selector.update(reading, model)
        if self.stopping is not None and self.stopping.update(reading):
            control.should_training_stop = True


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
