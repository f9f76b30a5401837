"""Equality of records that may hold NaN: equal if all they say is, NaN being equal to NaN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


class NanEqual:
    """Gives a dataclass (with ``eq=False``) a comparison of what its fields say.

    The generated comparison takes one NaN object for equal to itself up to Python 3.12, and never in
    later ones. Instances have no hash: they hold mappings.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        compared = [field.name for field in fields(self) if field.compare]  # type: ignore[arg-type]  # its heirs are dataclasses
        return all(_equal(getattr(self, name), getattr(other, name)) for name in compared)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
