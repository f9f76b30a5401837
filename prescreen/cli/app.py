"""The command line: prescreen rank | select | readouts | spaces."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from prescreen.cli.select import select_command
from prescreen.panel import DEFAULT_PANEL
from prescreen.ranking.progress import Progress
from prescreen.ranking.report import Ranking, plain_table
from prescreen.ranking.run import rank
from prescreen.readouts import ANCHORS, NORMALIZATIONS, PROJECTIONS, READOUTS
from prescreen.readouts.network import UNTRAINED
from prescreen.spaces.space import resolve_space, space_names
from prescreen.tasks import load_task
from prescreen.training.recipe import Training

app = typer.Typer(
    name="prescreen",
    help="Rank neural architectures after brief training, from unlabelled data.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Flag = typer.Option

# What Typer raises for wrong options. It has been defined in Click, in a vendored copy of it and in
# Typer itself; the base of a public class is the same thing in all versions.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


@app.command("rank")
def rank_command(
    space: Annotated[
        str, typer.Argument(help="A search space: a name (`prescreen spaces`) or a FILE.py.")
    ] = "nas_bench_201",
    data: Annotated[
        str,
        Flag(help="digits, a torchvision data set, an image or parquet folder, or an .npz file."),
    ] = "digits",
    samples: Annotated[
        int, Flag(help="Candidates to draw; 0 takes all of a finite space.", min=0)
    ] = 12,
    steps: Annotated[int, Flag(help="Optimizer steps a candidate.")] = 100,
    seconds: Annotated[
        float | None, Flag(help="Seconds of training a candidate, instead of --steps.")
    ] = None,
    seed: Annotated[int, Flag(help="Seed of the draw, of weights and of batches.", min=0)] = 0,
    batch_size: Annotated[int, Flag(help="Samples an optimizer step.")] = 128,
    optimizer: Annotated[str, Flag(help="sgd or adamw.")] = "sgd",
    lr: Annotated[float | None, Flag(help="Peak learning rate.  [0.1 sgd, 0.002 adamw]")] = None,
    device: Annotated[str, Flag(help="cpu, cuda, cuda:1 ...")] = "cpu",
    amp: Annotated[str | None, Flag(help="bf16 or fp16.")] = None,
    probe_size: Annotated[int, Flag(help="Unlabelled inputs that heads are read on.")] = 256,
    readouts: Annotated[
        str,
        Flag(help="Names (`prescreen readouts`) or anchor/projection/normalization, by commas."),
    ] = ",".join(DEFAULT_PANEL),
    readings: Annotated[int, Flag(help="Readings a candidate, the last one at the end.")] = 4,
    head: Annotated[str | None, Flag(help="Dotted name of the head, if it is not found.")] = None,
    workers: Annotated[
        int | None,
        Flag(help="Processes; 0 for none.  [all cores; with --ray what there is room for]"),
    ] = None,
    threads: Annotated[int, Flag(help="CPU threads a candidate.")] = 1,
    ray: Annotated[
        str | None, Flag(help="A Ray cluster: auto (the one here), local (a new one), HOST:PORT.")
    ] = None,
    gpus: Annotated[
        float | None, Flag(help="GPUs of the cluster a candidate, such as 0.25.  [1 on cuda]")
    ] = None,
    out: Annotated[
        Path | None,
        Flag(help="Folder of the run; it continues there.  [one under prescreen-runs/]"),
    ] = None,
    as_json: Annotated[bool, Flag("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, Flag("--csv", help="Print CSV.")] = False,
) -> None:
    """Train candidates briefly and rank them by what their heads say on unlabelled data.

    Killed at any moment, the same command continues where it was.
    """
    if as_json and as_csv:
        raise ValueError("json: one of --json and --csv is allowed, got both")
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
    search_space = resolve_space(space)
    task = load_task(data, probe_size=probe_size, seed=seed)
    settings: dict[str, Any] = {
        "training": training,
        "readouts": [name.strip() for name in readouts.split(",")],
        "readings": readings,
        "head": head,
        "threads": threads,
    }
    folder = out or _run_folder(space, data, f"{task.fingerprint} {sorted(settings.items())}")
    if workers is None:
        workers = _cores() if ray is None else 0
    # The standard output is for the result: Ray prints there, and candidates may.
    with _progress_bar() as progress, redirect_stdout(sys.stderr):
        ranking = rank(
            search_space,
            task,
            samples=samples or None,
            seed=seed,
            workers=workers,
            ray=ray,
            gpus=gpus,
            out=folder,
            progress=progress,
            **settings,
        )
    _print(ranking, as_json, as_csv)
    print(f"Journal and results: {folder}", file=sys.stderr)
    if ranking.rows and ranking.rows[0].rank is None:
        raise typer.Exit(1)


app.command("select")(select_command)


@app.command("readouts")
def readouts_command() -> None:
    """List the readouts and the parts that others are composed of."""
    rows = [
        [
            name,
            "untrained network" if name in UNTRAINED else "head",
            "higher" if measure.higher_is_better else "lower",
            measure.reference,
            "yes" if name in DEFAULT_PANEL else "",
        ]
        for name, measure in (READOUTS | UNTRAINED).items()
    ]
    header = ["readout", "of", "better", "source", "rank's default"]
    print(plain_table(header, rows, range(5)))
    print("\nCompose others as anchor/projection/normalization:")
    for kind, table in (
        ("anchor", ANCHORS),
        ("projection", PROJECTIONS),
        ("normalization", NORMALIZATIONS),
    ):
        print(f"  {kind:14} {', '.join(table)}")


@app.command("spaces")
def spaces_command() -> None:
    """List the search spaces that come with prescreen."""
    print(plain_table(["space", "what"], [list(row) for row in space_names().items()], (0, 1)))
    print("\nYour own: a FILE.py with sample(trial) -> dict and build(config) -> nn.Module.")


def run(arguments: list[str]) -> int:
    """Run a command line; bad input is one line on stderr and exit code 2."""
    try:
        code = app(arguments or ["--help"], standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        print("prescreen: interrupted; the same command continues", file=sys.stderr)
        return 130
    except _UsageError as error:
        # format_message() names the option, which the bare message does not.
        return _refuse(error.format_message())  # type: ignore[attr-defined]
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        return _refuse(str(error))
    return code if isinstance(code, int) else 0


def _refuse(message: str) -> int:
    print(f"prescreen: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _print(ranking: Ranking, as_json: bool, as_csv: bool) -> None:
    if as_json:
        print(ranking.to_json())
    elif as_csv:
        print(ranking.to_csv(), end="")
    else:
        print(ranking)


def _run_folder(space: str, data: str, settings: str) -> Path:
    """The folder of these settings, so that the same command finds its own journal."""
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return Path("prescreen-runs") / f"{Path(space).stem}-{Path(data).stem}-{digest}"


def _cores() -> int:
    # What this process may use, which in a container is less than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _progress_bar() -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; elsewhere, as in a log file, a line a candidate; both with time left."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), "left")
    finished = -1
    begin = time.monotonic()
    with ProgressBar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=1.0)

        def update(progress: Progress) -> None:
            nonlocal finished
            text = f"{progress.finished} of {progress.candidates} candidates"
            bar.update(task, completed=progress.share, description=text)
            if not console.is_terminal and progress.finished > finished >= 0:
                left = (time.monotonic() - begin) * (1 / progress.share - 1)
                print(f"{text} done, {left:.0f} s left: {progress.name}", file=sys.stderr)
            finished = progress.finished

        yield update
