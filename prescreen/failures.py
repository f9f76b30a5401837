"""Failures: a candidate that cannot be ranked is a result, with a kind and a reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prescreen.captured import NonFiniteError
from prescreen.checks import require_one_of
from prescreen.heads.execute import is_out_of_memory
from prescreen.text import named_line

KINDS = ("build", "run", "memory", "diverged", "collapsed", "killed", "timeout")

# These can be the machine's doing, such as the out-of-memory killer's or that of others who use it:
# a run that is continued measures their candidates again.
UNSURE = ("killed", "timeout")


class CandidateFailed(Exception):
    """A candidate that cannot be ranked: a result, with a kind and a reason for people.

    Kinds: ``"build"``, ``"run"``, ``"memory"``, ``"diverged"``, ``"collapsed"``, ``"killed"``,
    ``"timeout"``.
    """

    def __init__(self, kind: str, reason: str) -> None:
        require_one_of("kind", kind, KINDS)
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


@contextmanager
def failing_as(kind: str) -> Iterator[None]:
    """Turn any error of a candidate's own code into a CandidateFailed."""
    try:
        yield
    except CandidateFailed:
        raise
    except NonFiniteError as error:
        raise CandidateFailed("diverged", str(error)) from error
    except Exception as error:  # the candidate's code is not ours: its errors are results
        kind = "memory" if is_out_of_memory(error) else kind
        raise CandidateFailed(kind, named_line(error)) from error
