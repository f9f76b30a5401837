"""Undefined: measures that do not apply to a network, as distinct from errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prescreen.heads.execute import is_out_of_memory
from prescreen.text import named_line


class UndefinedMeasure(ValueError):
    """A measure that is not defined for a network: its value is NaN."""


@contextmanager
def undefined_if_it_fails() -> Iterator[None]:
    """For what only the network's own code does: if that does not allow it, nothing is wrong.

    Raises:
        UndefinedMeasure: anything was raised, except for want of memory.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UndefinedMeasure(named_line(error)) from error
