"""Byte code: the names that a function refers to, and those that it changes."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType

# Methods by which a function changes a value that it was given.
_CHANGING = {"add", "append", "clear", "extend", "insert", "pop", "remove", "setdefault", "update"}
_COPIES = ("COPY", "DUP_TOP")


def globals_of(code: CodeType) -> set[str]:
    """Global names that a function and those inside it refer to."""
    reads = ("LOAD_GLOBAL", "LOAD_NAME")
    return {one.argval for one in _instructions(code) if one.opname in reads}


def changed_by(code: CodeType) -> set[str]:
    """Names that a function assigns, or changes by a method: its memory, not its definition."""
    steps = list(_instructions(code))
    names = [one.opname for one in steps] + [""] * 3
    changed = set()
    for at, one in enumerate(steps):
        _, first, second, third = names[at : at + 4]
        method = steps[at + 1].argval if first.startswith("LOAD") else ""
        kept = first == "STORE_ATTR" or second in ("STORE_SUBSCR", "DELETE_SUBSCR")
        added = first in _COPIES and second == "LOAD_ATTR"  # x.n += 1
        added = added or second == "DUP_TOP_TWO" or second == third == "COPY"  # x[n] += 1
        if one.opname in ("STORE_DEREF", "STORE_GLOBAL"):
            changed.add(one.argval)
        elif one.opname.startswith("LOAD") and (method in _CHANGING or kept or added):
            changed.add(str(one.argval))
    return changed


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _instructions(one)
