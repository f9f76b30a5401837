"""Deprecation: how a public name is retired.

A retired name keeps working for two more minor releases. Where it is used it warns in one line, which
says what to use instead and when the name ends. CONTRIBUTING.md states the policy.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved(
    module: str, names: Mapping[str, str], *, until: str, stacklevel: int = 2
) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that finds moved names in their new place, with a warning.

    Args:
        module: the module that the names have left.
        names: old name to new place, ``"package.module.name"``.
        until: the version that drops the old names.
        stacklevel: 2 if it is the module's ``__getattr__`` itself, one more for each call between.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        now = names[name]
        warnings.warn(
            f"{module}.{name} ends with version {until}; use {now}",
            DeprecationWarning,
            stacklevel=stacklevel,
        )
        home, _, attribute = now.rpartition(".")
        return getattr(importlib.import_module(home), attribute)

    return find
