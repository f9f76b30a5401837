"""Completing: what a shell offers for a word that is begun; torch is not imported for it."""

from __future__ import annotations

from prescreen.importing import built_in_spaces
from prescreen.panel import CHECKPOINT_PANEL, DEFAULT_PANEL, LONE_CHECKPOINT_PANEL, LONE_PANEL

_DEFAULTS = dict.fromkeys((*DEFAULT_PANEL, *LONE_PANEL, *CHECKPOINT_PANEL, *LONE_CHECKPOINT_PANEL))


def spaces(incomplete: str) -> list[str]:
    """Search spaces that come with prescreen; if there is none, shells offer files."""
    return [name for name in built_in_spaces() if name.startswith(incomplete)]


def readouts(incomplete: str) -> list[str]:
    """The readouts of the default panels, after those that are there already."""
    before, comma, begun = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _DEFAULTS if name.startswith(begun)]
