"""transformers: a Trainer callback that keeps the best checkpoints and stops, without validation."""

from __future__ import annotations

import base64
import inspect
import io
import secrets
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prescreen.checkpoints.monitor import Monitor
from prescreen.checkpoints.selector import CheckpointSelector
from prescreen.checkpoints.stopping import EarlyStopping
from prescreen.checks import require_at_least
from prescreen.files import load_state, save_state
from prescreen.loggers import logged
from prescreen.text import showing

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import CallbackHandler
except ImportError as error:
    raise ImportError(
        "prescreen.integrations.transformers needs the 'transformers' extra: "
        "pip install 'prescreen[transformers]'"
    ) from error

_FILE = "prescreen.pt"
# Larger predictions, in bytes, do not go into Trainer's state, which is text.
_LARGE = 1 << 20


class ReadoutCallback(TrainerCallback):
    """Reads the model every epoch or every few steps, keeps the best checkpoints, and stops training.

    ::

        monitor = Monitor({"pixel_values": unlabelled})
        selector = CheckpointSelector("best", monitor.readouts)
        trainer = Trainer(model, args, callbacks=[ReadoutCallback(monitor, selector)])
        trainer.train()
        model.load_state_dict(selector.load())

    Readings go to Trainer's log and to its loggers, without values that are not defined. With
    ``TrainingArguments(save_strategy="best", load_best_model_at_end=True)`` and no evaluation, the
    checkpoints that Trainer keeps are those that the selector keeps, and the best of them is loaded.

    If Trainer resumes from one of its checkpoints, then so do monitor, selector and rule, also with
    other folders. Their state is in Trainer's own; predictions of more than a megabyte are in a file
    beside it, which is found as long as that checkpoint is where it was, or in the output folder.

    Args:
        monitor: reads the model; its inputs are a dict of keywords, such as ``pixel_values``.
        selector: keeps state dicts, in addition to Trainer's checkpoints; None to keep none. One without
            a folder chooses among Trainer's checkpoints alone.
        stopping: ends training; None to train to the end.
        every_n_steps: optimizer steps from one reading to the next; None for one reading per epoch.

    Raises:
        ValueError: ``every_n_steps`` is below 1.
    """

    __repr__ = showing(monitor="monitor", selector="selector", stopping="stopping")

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
        self._beside: dict[str, Any] | None = None  # what does not go into Trainer's state

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Continue from the checkpoint that training resumes from, or else begin another training."""
        saved = state.stateful_callbacks.get(self._key)
        if saved is None and self.selector is not None:
            self.selector.start()
        self.monitor.reset()
        if self.stopping is not None:
            self.stopping.reset()
        if saved is None:
            return
        before = Path(saved["output_dir"]) / _checkpoint(args, state).name
        self.monitor.load_state_dict(_unpacked(saved, [_checkpoint(args, state), before]))
        if self.stopping is not None and saved["stopping"] is not None:
            self.stopping.load_state_dict(saved["stopping"])
        if self.selector is not None and saved["selector"] is not None:
            self.selector.load_state_dict(saved["selector"])

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save predictions that are too large for Trainer's own state in its checkpoint."""
        folder, beside = _checkpoint(args, state), self._beside
        if beside is not None and state.is_world_process_zero and folder.is_dir():
            save_state((folder / _FILE).with_suffix(""), beside)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read if nothing was read; let others use the selector's folder."""
        if state.global_step > 0 and self._key not in state.stateful_callbacks:
            self._read(args, state, control, kwargs["model"])
        if self.selector is not None:
            self.selector.close()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read every ``every_n_steps`` steps."""
        if self.every_n_steps is not None and state.global_step % self.every_n_steps == 0:
            self._read(args, state, control, kwargs["model"])

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read at the end of every epoch, unless ``every_n_steps`` is given."""
        if self.every_n_steps is None:
            self._read(args, state, control, kwargs["model"])

    def _read(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module,
    ) -> None:
        reading = self.monitor.read(model, state.global_step)
        if values := logged(reading):
            _tell_others(args, state, control, values)
        if self.selector is not None:
            kept = self.selector.update(reading, model)
            if _chooses(args):
                self._choose(args, state, control, kept)
        if self.stopping is not None and self.stopping.update(reading):
            control.should_training_stop = True
        packed, self._beside = _packed(self.monitor.state_dict())
        # Trainer writes this into its next checkpoint.
        state.stateful_callbacks[self._key] = {
            "output_dir": str(Path(str(args.output_dir)).absolute()),
            "stopping": None if self.stopping is None else self.stopping.state_dict(),
            "selector": None if self.selector is None else self.selector.state_dict(),
            **packed,
        }

    def _choose(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, kept: bool
    ) -> None:
        """Have Trainer save what is kept, and name the best of its checkpoints to it."""
        assert self.selector is not None
        best, step = self.selector.best, state.global_step
        control.should_save = control.should_save or kept
        folder = None if best is None else Path(str(args.output_dir)) / f"checkpoint-{best.step}"
        if best is not None and folder is not None and (best.step == step or folder.is_dir()):
            state.best_global_step = best.step
            if folder.is_dir():  # else Trainer names it once it is there
                state.best_model_checkpoint = str(folder)

    @property
    def _key(self) -> str:
        return f"prescreen/{'+'.join(self.monitor.readouts)}"


def _chooses(args: TrainingArguments) -> bool:
    """Whether Trainer keeps the best checkpoints without a metric of its own to judge them by."""
    return str(args.save_strategy.value) == "best" and str(args.eval_strategy.value) == "no"


def _tell_others(
    args: TrainingArguments, state: TrainerState, control: TrainerControl, values: dict[str, float]
) -> None:
    """Trainer's log, and its other callbacks, such as that of TensorBoard."""
    entry = {"epoch": state.epoch, **values}
    state.log_history.append({**entry, "step": state.global_step})
    # Trainer gives its callbacks everything but each other: they are known to what calls this one.
    frame = inspect.currentframe()
    while frame is not None:
        handler = frame.f_locals.get("self")
        if isinstance(handler, CallbackHandler):
            # Not its on_log, after which the loss of this step would not be logged.
            handler.call_event("on_log", args, state, control, logs=entry)
            return
        frame = frame.f_back


def _packed(state: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any] | None]:
    """A monitor's state as JSON; if it is large, a name in JSON and the state under that name."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    if len(buffer.getvalue()) <= _LARGE:
        return {"monitor": base64.b64encode(buffer.getvalue()).decode()}, None
    name = secrets.token_hex(16)
    return {"beside": name}, {"name": name, "monitor": state}


def _unpacked(saved: dict[str, Any], checkpoints: list[Path]) -> dict[str, Any]:
    if "monitor" in saved:
        content = io.BytesIO(base64.b64decode(saved["monitor"]))
        state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
        return state
    for file in (checkpoint / _FILE for checkpoint in checkpoints):
        beside = load_state(file) if file.is_file() else {}
        if beside.get("name") == saved["beside"]:
            return dict(beside["monitor"])
    places = " nor ".join(map(str, checkpoints))
    raise ValueError(
        f"`resume_from_checkpoint` must be a checkpoint whose {_FILE} is still there, got it in neither "
        f"{places}"
    )


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
