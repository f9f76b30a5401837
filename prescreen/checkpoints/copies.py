"""Copies: checkpoint files of equal weights, whatever they are called, and what else is in them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from prescreen.checkpoints.order import (
    COUNTS,
    WORDS,
    Trained,
    is_called_last,
    numbers,
    pattern,
)
from prescreen.tasks.rows import digest

_HOLDERS = ("meta", "trainer_state", "train_state", "extra_state")
_LARGEST = 2**53  # no count is larger; NaN is none either
_CALLED = re.compile(rf"(?<![a-z])({'|'.join(WORDS)})", re.IGNORECASE)


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint file, and what tells it from others.

    Args:
        path: of the file.
        source: what builds its network: a name or a function.
        digest: of the network's state.
        counts: in the file, of how far it was trained.
    """

    path: Path
    source: Any
    digest: str
    counts: Mapping[str, float]

    @property
    def weights(self) -> Hashable:
        """Equal if two files hold the same network."""
        return self.source if isinstance(self.source, str) else id(self.source), self.digest


def put_together(files: Sequence[CheckpointFile]) -> list[tuple[CheckpointFile, ...]]:
    """Files with equal weights of one network.

    The first of each is named as most files are, and the oldest of those: copies are younger.
    """
    patterns = Counter(pattern(path) for path in {file.path for file in files})

    def usual(file: CheckpointFile) -> tuple[Any, ...]:
        name, age = file.path.name, file.path.stat().st_mtime_ns
        usual_first = (-bool(_CALLED.search(name)), -patterns[pattern(file.path)])
        bare = not re.search(r"\d", name)
        return (is_called_last(file.path), *usual_first, bare, age, len(name), numbers(file.path))

    groups: dict[Hashable, dict[Path, CheckpointFile]] = {}
    for file in files:
        groups.setdefault(file.weights, {})[file.path] = file
    return [tuple(sorted(group.values(), key=usual)) for group in groups.values()]


def trained(group: Sequence[CheckpointFile]) -> Trained:
    """What the files of equal weights say about when they were written."""
    counts = next((file.counts for file in group if file.counts), {})
    return Trained(tuple(file.path for file in group), counts)


def digest_of(model: nn.Module) -> str:
    """A hash of the names, dtypes, shapes and bytes of a model's state."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sha.update(f"{name} ".encode())
        sha.update((digest(value) if isinstance(value, Tensor) else repr(value)).encode())
    return sha.hexdigest()


def counts_in(content: Any) -> dict[str, float]:
    """The counts in a checkpoint of how far it was trained."""
    if not isinstance(content, Mapping):
        return {}
    holders = [content.get(key) for key in _HOLDERS]
    found: dict[str, float] = {}
    for holder in (content, *(holder for holder in holders if isinstance(holder, Mapping))):
        for key in COUNTS:
            if (value := _number(holder.get(key))) is not None:
                found.setdefault(key, value)
    return found


def _number(value: Any) -> float | None:
    """A number that is stored as a Python or NumPy scalar or as a tensor."""
    if isinstance(value, Tensor | np.ndarray):
        value = value.reshape(-1)[0].item() if len(value.reshape(-1)) == 1 else None
    if isinstance(value, np.integer | np.floating):
        value = value.item()
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < _LARGEST else None
