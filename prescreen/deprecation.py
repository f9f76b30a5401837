"""Deprecation: how a public name goes, and the helper that says so.

A name that goes works for two minor releases more and warns where it is used, in one line that says
what to use instead and when it ends. CONTRIBUTING.md states the policy.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def moved(module: str, names: Mapping[str, str], *, until: str) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that finds names where they are now, with a warning.

    Args:
        module: whose names have gone.
        names: old name to where it is now, ``"package.module.name"``.
        until: the version in which the old names end.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        now = names[name]
        warnings.warn(
            f"{module}.{name} ends with version {until}; use {now}",
            DeprecationWarning,
            stacklevel=2,
        )
        home, _, attribute = now.rpartition(".")
        return getattr(importlib.import_module(home), attribute)

    return find
