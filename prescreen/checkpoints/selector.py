"""CheckpointSelector: the best checkpoints of one run, chosen from readings and kept as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import nn

from prescreen.checkpoints.kept import Kept
from prescreen.checkpoints.manifest import Continues, Manifest, begin
from prescreen.checkpoints.readings import plain_reading, plain_step
from prescreen.checkpoints.record import Record, read_record
from prescreen.checkpoints.selection import Choice, Selection
from prescreen.files import load_state, save_state
from prescreen.heads.wrappers import unwrap
from prescreen.inert import require_inert
from prescreen.panel import CHECKPOINT_PANEL, Panel
from prescreen.reading import Reading
from prescreen.readouts import Readouts, to_compare
from prescreen.text import showing


class CheckpointSelector:
    """Keeps the checkpoints of one run that read best, without labels.

    ::

        monitor = Monitor(unlabelled)
        selector = CheckpointSelector("checkpoints")
        for epoch in range(epochs):
            ...
            selector.update(monitor.read(model, step), model)
        model.load_state_dict(selector.load())

    A folder is of one run. Opening one changes nothing; from its first update, or ``start``, on a
    selector holds it for itself. A checkpoint is written before the manifest names it, and deleted after
    the manifest drops it: after a kill at any moment, a selector with ``resume=True`` continues from the
    folder. If training returns to an earlier step, readings from that step on are dropped.

    With several readouts the order can change as more readings come in. A checkpoint that was deleted
    cannot be chosen any more: keep a few with ``save_top_k``.

    Args:
        folder: for the files and the manifest, made if absent; None to choose steps only.
        readouts: the readouts to compare; see ``Monitor``.
        start: first step of the window that counts. Until then the best so far is kept. The paper uses
            a short window at the end of training.
        smoothing: how many readings a value is averaged over; an odd number.
        save_top_k: how many checkpoints to keep, −1 for all. In addition, the latest
            ``smoothing // 2`` are kept until the readings around them are complete.
        resume: whether updates continue the run in the folder; else it can only be looked at.

    Raises:
        ValueError: an argument is out of its range, the folder is of a selector with other settings, or
            it is damaged.

    Reference: after Wu & Summa, arXiv 2601.16874.
    """

    __repr__ = showing(folder="folder", readouts="selection.panel.names", steps="steps")

    def __init__(
        self,
        folder: str | Path | None = None,
        readouts: Readouts = CHECKPOINT_PANEL,
        *,
        start: int = 0,
        smoothing: int = 1,
        save_top_k: int = 1,
        resume: bool = False,
    ) -> None:
        if save_top_k < 1 and save_top_k != -1:
            raise ValueError(f"`save_top_k` must be at least 1, or -1 for all, got {save_top_k}")
        self.selection = Selection(Panel.of(to_compare(readouts)), start, smoothing)
        self.save_top_k = save_top_k
        self._continues: Continues = "folder" if resume else "nothing"
        self._record = Record()
        self._manifest: Manifest | None = None
        self.folder = None if folder is None else Path(folder).absolute()
        if self.folder is not None:
            self._record = read_record(self.folder, self._settings()) or Record()

    def start(self) -> None:
        """Take the folder for a training that begins now, rather than at its first update.

        Raises:
            ValueError: the folder is in use, or holds an earlier run that is not to be continued.
        """
        if self._continues == "itself":  # used for an earlier training
            self._continues = "nothing"
        if self.folder is None:
            self._record = Record()
        self.close()
        self._writer()

    def update(self, reading: Reading, state: nn.Module | Mapping[str, Any] | None = None) -> bool:
        """Take a reading, and keep or drop its checkpoint.

        Args:
            reading: of the model now; see ``Monitor.read``.
            state: the model, or the state to save. Needed if there is a folder.

        Returns:
            Whether the checkpoint is kept for now.

        Raises:
            ValueError: the reading lacks a readout or is of another training, ``state`` is needed or
                has a part that could not be read back, or the folder is in use or holds another run.
        """
        reading = plain_reading(reading, self.selection.panel.names)
        weights = None if self.folder is None else _weights(state)
        manifest = self._writer()
        before, known = self._record.before(reading.step), self._record.readings
        if len(known) > 1 and reading.step <= known[0].step:
            raise ValueError(
                f"`reading` must be of a step after {known[0].step}, the first of this training, got "
                f"{reading.step}; another training needs another selector"
            )
        every = self.selection.compares_many or self.save_top_k == -1
        compared = before.readings if every else before.of_files
        held = self.selection.worth_keeping([*compared, reading], before.files, self.save_top_k)
        files = {step: kept for step, kept in before.files.items() if step in held}
        try:
            written = None
            if reading.step in held and manifest is not None and weights is not None:
                written = Kept.of(save_state(manifest.claim(reading.step), weights))
            if manifest is not None:
                manifest.update(reading, written, self._record.lacking(files))
        except BaseException:  # whether the reading was written, the folder knows
            self.close()
            self._continues = "folder"
            raise
        if reading.step in held:
            files[reading.step] = written
        self._record = Record([*before.readings, reading], files)
        return reading.step in held

    @property
    def steps(self) -> tuple[int, ...]:
        """The kept steps, in their order."""
        return tuple(self._record.files)

    @property
    def best(self) -> Choice | None:
        """The best of the kept checkpoints, or the latest if none has a value; None at first."""
        return self.selection.choose_of(self._record.files, self._record.readings)

    def path(self, step: int | None = None) -> Path:
        """The file of a kept step, by default of the best.

        Raises:
            ValueError: there is no such file.
        """
        return self._kept(step).path

    def load(self, step: int | None = None) -> Any:
        """The state of a kept step, by default of the best, on the CPU.

        Raises:
            ValueError: there is no such file, or it has changed since it was written.
        """
        kept = self._kept(step)
        if not kept.is_whole:
            raise ValueError(
                f"checkpoint must be as it was written, got {str(kept.path)!r}, which has changed or is "
                "missing"
            )
        return load_state(kept.path)

    def close(self) -> None:
        """Let other selectors use the folder; an update takes it back if it is as it was left."""
        if self._manifest is not None:
            self._manifest.close()
            self._manifest = None

    def __enter__(self) -> CheckpointSelector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_manifest": None}  # a copy does not hold the folder

    def state_dict(self) -> dict[str, Any]:
        """The state for ``load_state_dict``, as strict JSON; it names files, which it does not hold."""
        return self._record.to_state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state, also in another folder: the next update copies files there.

        Files that have changed or are missing by now are dropped.

        Raises:
            ValueError: ``state`` is not of a selector with these readouts.
        """
        record = Record.from_state(state, self.selection.panel.names, self.folder)
        self.close()
        self._record, self._continues = record, "state"

    def _kept(self, step: Any) -> Kept:
        best = self.best
        step = plain_step(step) if step is not None else None if best is None else best.step
        kept = self._record.files.get(step) if step is not None else None
        if kept is None and step in self._record.files and self.folder is not None:
            # Another process writes the files.
            record = read_record(self.folder, self._settings())
            kept = None if record is None else record.files.get(step)
        if kept is None:
            steps = ", ".join(map(str, self._record.files)) if self.folder is not None else ""
            raise ValueError(f"`step` must be one of the kept ({steps or 'none'}), got {step}")
        return kept

    def _writer(self) -> Manifest | None:
        """What writes to the folder; None if there is none, or another process writes."""
        if self.folder is None or not _writes():
            return None
        if self._manifest is None or not self._manifest.is_ours:
            self._manifest, self._record = begin(
                self.folder, self._settings(), self._record, self._continues
            )
            self._continues = "itself"
        return self._manifest

    def _settings(self) -> dict[str, Any]:
        return {
            "readouts": list(self.selection.panel.names),
            "start": int(self.selection.start),
            "smoothing": int(self.selection.smoothing),
            "save_top_k": int(self.save_top_k),
        }


def _weights(state: nn.Module | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What to save of a model or a state, all of which can be read back."""
    if isinstance(state, nn.Module):
        state = unwrap(state).state_dict()
    if not isinstance(state, Mapping):
        got = "None" if state is None else type(state).__name__
        raise ValueError(f"`state` must be the model or its state if there is a folder, got {got}")
    require_inert("state", state if isinstance(state, dict) else dict(state))
    return state


def _writes() -> bool:
    """Whether this process is the one that writes files."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0
