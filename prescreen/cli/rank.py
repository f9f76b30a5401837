"""The command line's `rank`: rank candidates after brief training."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from prescreen.cli.options import DATA, HEAD, JSON, PROBE, names
from prescreen.cli.output import note, show
from prescreen.cli.streams import candidates_on_stderr
from prescreen.panel import DEFAULT_PANEL
from prescreen.ranking.progress import Progress
from prescreen.ranking.report import Ranking
from prescreen.ranking.run import rank
from prescreen.spaces.code import Code
from prescreen.spaces.space import resolve_space
from prescreen.tasks import load_task
from prescreen.tasks.base import panel_of
from prescreen.training.recipe import Training

Flag = typer.Option


def rank_command(
    space: Annotated[
        str, typer.Argument(help="A search space: a name (`prescreen spaces`) or a FILE.py.")
    ] = "nas_bench_201",
    data: Annotated[str, DATA] = "digits",
    samples: Annotated[
        int, Flag(help="Candidates to draw; 0 takes all of a finite space.", min=0)
    ] = 12,
    steps: Annotated[int, Flag(help="Optimizer steps per candidate.")] = 100,
    seconds: Annotated[
        float | None, Flag(help="Seconds of training per candidate, instead of --steps.")
    ] = None,
    seed: Annotated[int, Flag(help="Seed of the draw, of weights and of batches.", min=0)] = 0,
    seeds: Annotated[
        int, Flag(help="Trainings per candidate, with SEED, SEED + 1 ...; more can be added later.")
    ] = 1,
    batch_size: Annotated[int, Flag(help="Samples per optimizer step.")] = 128,
    optimizer: Annotated[str, Flag(help="sgd or adamw.")] = "sgd",
    lr: Annotated[float | None, Flag(help="Peak learning rate.  [0.1 sgd, 0.002 adamw]")] = None,
    device: Annotated[str, Flag(help="cpu, cuda, cuda:1 ...")] = "cpu",
    amp: Annotated[str | None, Flag(help="bf16 or fp16.")] = None,
    image_size: Annotated[
        int | None, Flag(help="Side of all images in pixels.  [the data's own]")
    ] = None,
    probe: Annotated[str | None, PROBE] = None,
    probe_size: Annotated[int, Flag(help="Unlabelled inputs that heads are read on.")] = 256,
    readouts: Annotated[
        str | None,
        Flag(
            help="Names (`prescreen readouts`) or anchor/projection/normalization, with commas.  "
            f"[the task's, or {','.join(DEFAULT_PANEL)}]"
        ),
    ] = None,
    readings: Annotated[int, Flag(help="Readings per candidate, the last one at the end.")] = 4,
    head: Annotated[str | None, HEAD] = None,
    on: Annotated[
        str,
        Flag(
            help="Where to run: here, processes or ray; with arguments processes,workers=4 or "
            "ray,address=HOST:PORT,gpus=0.25."
        ),
    ] = "processes",
    threads: Annotated[int, Flag(help="CPU threads per candidate.")] = 1,
    timeout: Annotated[
        float | None, Flag(help="Seconds after which a candidate is ended and has failed.")
    ] = None,
    memory: Annotated[
        float | None, Flag(help="GiB of main memory that a candidate may take; Linux only.")
    ] = None,
    out: Annotated[
        Path | None,
        Flag(help="Folder of the run, which can be resumed.  [one under prescreen-runs/]"),
    ] = None,
    fresh: Annotated[
        bool, Flag("--fresh", help="Measure all anew; the folder's earlier journal is kept aside.")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
    as_csv: Annotated[bool, Flag("--csv", help="Print CSV.")] = False,
) -> None:
    """Train candidates briefly and rank them by readouts on unlabelled data.

    If the run is killed, rerun the command; it resumes.
    """
    if as_json and as_csv:
        raise ValueError("`json` must be given without `csv`, got both")
    training = Training(
        steps=steps,
        seconds=seconds,
        batch_size=batch_size,
        optimizer=optimizer,  # type: ignore[arg-type]  # Training checks it
        lr=lr,
        seed=seed,
        device=device,
        amp=amp,  # type: ignore[arg-type]  # Training checks it
    )
    with candidates_on_stderr():
        search_space = resolve_space(space)
    code = Code().of_space(search_space)
    task = load_task(data, probe=probe, probe_size=probe_size, seed=seed, image_size=image_size)
    settings: dict[str, Any] = {
        "training": training,
        "readouts": [*panel_of(task)] if readouts is None else names(readouts),
        "readings": readings,
        "head": head,
        "threads": threads,
    }
    # A folder by default is one of this code; one that is given must be.
    same = [task.fingerprint, torch.__version__, *sorted({**settings, **code}.items())]
    folder = out or _run_folder(space, data, " ".join(map(str, same)))
    # The standard output is for the result, but Ray and candidates print there as well.
    counted = "candidates" if seeds == 1 else "trainings"
    with _progress_bar(counted) as progress, candidates_on_stderr():
        ranking = rank(
            search_space,
            task,
            samples=samples or None,
            seed=seed,
            seeds=seeds,
            on=on,
            out=folder,
            fresh=fresh,
            progress=progress,
            timeout=timeout,
            memory=memory,
            **settings,
        )
    _print(ranking, as_json, as_csv)
    note(f"Journal and results: {folder}")
    if ranking.unwritten or (ranking.rows and ranking.rows[0].rank is None):
        raise typer.Exit(1)


def _print(ranking: Ranking, as_json: bool, as_csv: bool) -> None:
    if as_json:
        show(ranking.to_json())
    elif as_csv:
        show(ranking.to_csv(), end="")
    else:
        show(str(ranking))


def _run_folder(space: str, data: str, settings: str) -> Path:
    """The folder of these settings; the same command finds its own journal."""
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    of_data = Path(data).stem.replace(":", "-")  # of text:PATH; Windows has no such folders
    return Path("prescreen-runs") / f"{Path(space).stem}-{of_data}-{digest}"


@contextmanager
def _progress_bar(counted: str) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; elsewhere, as in a log file, a line per candidate. Both show time left."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), "left")
    finished = -1
    begin = time.monotonic()
    with ProgressBar(*columns, console=console, disable=not console.is_terminal) as bar:
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
