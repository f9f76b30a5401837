"""CheckpointSelector: the best checkpoints of one run, chosen from readings and kept as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import nn

from prescreen.checkpoints.selection import Choice, Selection
from prescreen.files import load_state, replace_text, save_state
from prescreen.heads.find import unwrap
from prescreen.panel import CHECKPOINT_PANEL, Panel
from prescreen.reading import Reading
from prescreen.readouts import resolve_readouts

MANIFEST = "selection.json"
_VERSION = 1


class CheckpointSelector:
    """Keeps the checkpoints of one run that read best, without labels.

    ::

        monitor = Monitor(unlabelled)
        selector = CheckpointSelector("checkpoints")
        for epoch in range(epochs):
            ...
            selector.update(monitor.read(model, step), model)
        model.load_state_dict(selector.load())

    A checkpoint is written before the manifest names it, and deleted after the manifest drops it. If the
    run is killed at any moment, the next selector continues from the folder. If training returns to an
    earlier step, readings from that step on are dropped.

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

    Raises:
        ValueError: an argument is out of its range, or the folder is of a selector with other settings.

    Reference: after Wu & Summa, arXiv 2601.16874.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        readouts: Sequence[str] = CHECKPOINT_PANEL,
        *,
        start: int = 0,
        smoothing: int = 1,
        save_top_k: int = 1,
    ) -> None:
        if save_top_k < 1 and save_top_k != -1:
            raise ValueError(f"`save_top_k` must be at least 1, or -1 for all, got {save_top_k}")
        self.selection = Selection(Panel.of(resolve_readouts(readouts)), start, smoothing)
        self.save_top_k = save_top_k
        self._readings: list[Reading] = []
        self._files: dict[int, str] = {}
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            self._open(self.folder)

    def update(self, reading: Reading, state: nn.Module | Mapping[str, Any] | None = None) -> bool:
        """Take a reading, and keep or drop its checkpoint.

        Args:
            reading: of the model now; see ``Monitor.read``.
            state: the model, or the state to save. Needed if there is a folder.

        Returns:
            Whether the checkpoint is kept for now.

        Raises:
            ValueError: the reading lacks a readout, or ``state`` is needed.
        """
        if self.folder is not None and state is None:
            raise ValueError(
                "`state` must be the model or its state if there is a folder, got None"
            )
        self._readings = [r for r in self._readings if r.step < reading.step] + [reading]
        self._files = {step: file for step, file in self._files.items() if step < reading.step}
        held = self._worth_keeping()
        if reading.step in held:
            self._files[reading.step] = self._save(reading.step, state)
        self._files = {step: file for step, file in self._files.items() if step in held}
        self._write_manifest()
        return reading.step in held

    @property
    def best(self) -> Choice | None:
        """The best of the kept checkpoints; None before there is one."""
        choice = self.selection.choose(self._readings)
        if choice is None or choice.step in self._files:
            return choice
        kept = [step for step in self.selection.ranked(self._readings) if step in self._files]
        lost = f"step {choice.step} now reads better, but was not kept"
        return replace(choice, step=kept[0], doubts=(*choice.doubts, lost)) if kept else None

    def path(self, step: int | None = None) -> Path:
        """The file of a kept step; by default of the best or, if none has a value, the latest.

        Raises:
            ValueError: there is no such file.
        """
        best = self.best
        if step is None:
            step = best.step if best is not None else max(self._files, default=None)
        if self.folder is None or step not in self._files:
            kept = ", ".join(map(str, self._files)) if self.folder is not None else ""
            raise ValueError(f"`step` must be one of the kept ({kept or 'none'}), got {step}")
        return self.folder / self._files[step]

    def load(self, step: int | None = None) -> Any:
        """The state of a kept step, by default of the best."""
        return load_state(self.path(step))

    def state_dict(self) -> dict[str, Any]:
        """The state for ``load_state_dict``, as strict JSON. The folder's manifest holds the same."""
        return {
            "readings": [reading.to_json() for reading in self._readings],
            "files": {str(step): file for step, file in self._files.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state; files that are missing by now are dropped."""
        self._readings = [Reading.from_json(reading) for reading in state["readings"]]
        self._files = {
            int(step): file
            for step, file in state["files"].items()
            if self.folder is None or (self.folder / file).is_file()
        }

    def _worth_keeping(self) -> set[int]:
        ranked = self.selection.ranked(self._readings)
        if not ranked:  # one without a value is better than none
            return {self._readings[-1].step}
        if self.save_top_k == -1:
            return set(ranked)
        half = self.selection.smoothing // 2
        pending = sorted(ranked)[len(ranked) - half :] if half else []
        # Only files that still exist can be kept; that of the latest reading is about to be written.
        there = [s for s in ranked if s in self._files or s == self._readings[-1].step]
        return {*there[: self.save_top_k], *pending} & set(there)

    def _save(self, step: int, state: nn.Module | Mapping[str, Any] | None) -> str:
        if self.folder is None or state is None or not _writes():
            return ""
        tensors = unwrap(state).state_dict() if isinstance(state, nn.Module) else state
        return save_state(self.folder / f"step-{step:08d}", tensors).name

    def _open(self, folder: Path) -> None:
        manifest = folder / MANIFEST
        if manifest.is_file():
            state = json.loads(manifest.read_text())
            if state.get("settings") != self._settings():
                raise ValueError(
                    f"`folder` must be one of the same settings, got {folder} with "
                    f"{state.get('settings')}"
                )
            self.load_state_dict(state)
        elif folder.exists() and not _is_empty(folder):
            raise ValueError(f"`folder` must be empty or one of a selector, got {folder}")
        elif _writes():
            folder.mkdir(parents=True, exist_ok=True)
        self._write_manifest()

    def _settings(self) -> dict[str, Any]:
        panel = self.selection.panel
        return {
            "version": _VERSION,
            "readouts": list(panel.names),
            "start": self.selection.start,
            "smoothing": self.selection.smoothing,
            "save_top_k": self.save_top_k,
        }

    def _write_manifest(self) -> None:
        """Write the manifest, then delete the files that it does not name."""
        if self.folder is None or not _writes():
            return
        best = self.best
        content = {
            "settings": self._settings(),
            **self.state_dict(),
            "best": None if best is None else asdict(best),
        }
        replace_text(self.folder / MANIFEST, json.dumps(content, indent=1))
        for file in self.folder.glob("step-*"):
            if file.name not in self._files.values():
                file.unlink()


def _is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing, apart from what a kill during the first write leaves."""
    return folder.is_dir() and all(f.name.startswith(MANIFEST) for f in folder.iterdir())


def _writes() -> bool:
    """Whether this process is the one that writes files."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0
