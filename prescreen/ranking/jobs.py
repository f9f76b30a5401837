"""Jobs: what an executor is given, a candidate's training or a part of it, and the states between."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prescreen.ranking.repeats import Repeat
from prescreen.spaces.candidate import Candidate


@dataclass(frozen=True)
class Job:
    """A training, or a part of it.

    Args:
        training: of which candidate, and with which seed.
        until: the number of the reading after which it pauses; None for the end.
        kept: the state that it goes on from, or the file of it; None to begin.
        readings: how many were made before that state.
    """

    training: Repeat
    until: int | None = None
    kept: Path | bytes | None = None
    readings: int = 0

    @property
    def candidate(self) -> Candidate:
        """Whose training it is."""
        return self.training.candidate

    def state(self) -> bytes | None:
        """The state that it goes on from; None to begin, also if the state is lost."""
        try:
            return self.kept.read_bytes() if isinstance(self.kept, Path) else self.kept
        except OSError:
            return None

    def packed(self, candidate: bytes) -> bytes:
        """The job as it is sent to a worker, with the candidate as it was pickled before."""
        return pickle.dumps((candidate, self.training.number, self.until, self.state()))

    @classmethod
    def unpacked(cls, message: bytes, loads: Callable[[bytes], Candidate] = pickle.loads) -> Job:
        """What ``packed`` wrote; whatever the candidate's own code raises is raised."""
        candidate, number, until, state = pickle.loads(message)
        return cls(Repeat(loads(candidate), number), until, state)


def packed_state(state: Any) -> bytes | None:
    """A state as bytes; None if it holds what cannot be written."""
    buffer = io.BytesIO()
    try:
        torch.save(state, buffer)
    except Exception:  # a module's own extra state can be anything
        return None
    return buffer.getvalue()


def unpacked_state(content: bytes) -> Any:
    """The state that ``packed_state`` wrote; None if it is damaged or holds more than plain values."""
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:
        return None
