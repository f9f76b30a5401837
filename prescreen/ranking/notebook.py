"""Notebook: a progress bar below the cell that ranks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from prescreen.ranking.progress import Progress

_PAUSE = 0.2  # seconds between two drawings


def notebook_progress() -> Callable[[Progress], None] | None:
    """A function for ``rank(progress=)`` that draws a bar; None if this process is no notebook's."""
    # Loaded in every notebook, and for anything else not to be loaded.
    ipython: Any = sys.modules.get("IPython")
    if not hasattr(ipython.get_ipython() if ipython else None, "kernel"):
        return None
    import IPython.display as shown

    begin, drawn, finished = time.monotonic(), 0.0, -1
    handle: Any = None

    def draw(progress: Progress) -> None:
        nonlocal drawn, finished, handle
        now = time.monotonic()
        if now - drawn < _PAUSE and progress.finished == finished:
            return
        drawn, finished = now, progress.finished
        html = shown.HTML(_bar(progress, now - begin))
        if handle is None:
            handle = shown.display(html, display_id=True)
        else:
            handle.update(html)

    return draw


def _bar(progress: Progress, seconds: float) -> str:
    done = progress.share >= 1
    left = seconds * (1 / progress.share - 1) if progress.share else 0.0
    when = f"in {seconds:.0f} s" if done else f"about {left:.0f} s left" if left else ""
    return (
        f'<progress value="{progress.share:.4f}" max="1"></progress> '
        f"{progress.finished} of {progress.candidates} measured {when}"
    )
