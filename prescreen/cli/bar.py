"""Bar: how far a ranking is, on a terminal or in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from prescreen.cli.output import note
from prescreen.ranking.progress import Progress


@contextmanager
def progress_bar(counted: str) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, which is taken away at the end; elsewhere a line per candidate.

    Both show the time left.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), "left")
    finished = -1
    begin = time.monotonic()
    hidden = not console.is_terminal
    with ProgressBar(*columns, console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)

        def update(progress: Progress) -> None:
            nonlocal finished
            text = f"{progress.finished} of {progress.candidates} {counted}"
            bar.update(task, completed=progress.share, description=text)
            if not console.is_terminal and progress.finished > finished >= 0:
                left = (time.monotonic() - begin) * (1 / progress.share - 1)
                note(f"{text} done, {left:.0f} s left: {progress.name}")
            finished = progress.finished

        yield update
