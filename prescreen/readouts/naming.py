"""Naming: an error of a readout says which one it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prescreen.heads.execute import is_out_of_memory
from prescreen.text import named_line


@contextmanager
def naming(readout: str, *, of_network: bool = False) -> Iterator[None]:
    """Say which readout an error comes from.

    A ValueError of one of the head stays as it is: with it the readout refuses a model.

    Raises:
        RuntimeError: the readout failed in another way.
    """
    try:
        yield
    except Exception as error:  # a user's own readout can raise anything
        if is_out_of_memory(error) or (isinstance(error, ValueError) and not of_network):
            raise
        raise RuntimeError(f"readout {readout!r} failed, {named_line(error)}") from error
