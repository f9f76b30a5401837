"""Failures: a candidate that cannot be ranked is a result, with a kind and a reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from prescreen.captured import NonFiniteError


class CandidateFailed(Exception):
    """A candidate that cannot be ranked: a result, with a kind and a reason for people.

    Kinds: ``"build"``, ``"run"``, ``"memory"``, ``"diverged"``, ``"collapsed"``, ``"killed"``.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


@contextmanager
def failing_as(kind: str) -> Iterator[None]:
    """Turn whatever a candidate's own code raises into a CandidateFailed."""
    try:
        yield
    except CandidateFailed:
        raise
    except NonFiniteError as error:
        raise CandidateFailed("diverged", str(error)) from error
    except Exception as error:  # the candidate is foreign code: its errors are results
        line = (str(error).strip().splitlines() or ["no message"])[0]
        kind = "memory" if _is_out_of_memory(error) else kind
        raise CandidateFailed(kind, f"{type(error).__name__}: {line}") from error


def _is_out_of_memory(error: Exception) -> bool:
    # On the CPU torch raises a plain RuntimeError whose text is the only sign.
    texts = ("not enough memory", "can't allocate memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        text in str(error) for text in texts
    )
