"""The command line's `rank`: rank candidates after brief training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prescreen.cli.completing import readouts as known_readouts
from prescreen.cli.completing import spaces
from prescreen.cli.config import CONFIG
from prescreen.cli.options import DATA, HEAD, JSON, PROBE
from prescreen.cli.output import note, show, width
from prescreen.panel import DEFAULT_PANEL

Flag = typer.Option


def rank_command(
    context: typer.Context,
    space: Annotated[
        str,
        typer.Argument(
            help="A search space: a name (`prescreen spaces`) or a FILE.py. Or candidates: "
            "FILE.py:function, or a .json or .yaml list of timm's names and FILE.py:function.",
            autocompletion=spaces,
        ),
    ] = "nas_bench_201",
    data: Annotated[str, DATA] = "digits",
    data_options: Annotated[
        str | None,
        Flag(
            help="What only this kind of data has, as NAME=VALUE with commas, such as "
            "prediction=v,schedule=cosine (docs/tasks.md)."
        ),
    ] = None,
    samples: Annotated[
        int | None, Flag(help="Candidates to draw; 0 takes all of a finite space.  [12]", min=0)
    ] = None,
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
    execution: Annotated[
        str, Flag(help="auto, or plain: without what makes training faster (docs/speed.md).")
    ] = "auto",
    image_size: Annotated[
        int | None, Flag(help="Side of all images in pixels.  [the data's own]")
    ] = None,
    probe: Annotated[str | None, PROBE] = None,
    probe_size: Annotated[int, Flag(help="Unlabelled inputs that heads are read on.")] = 256,
    readouts: Annotated[
        str | None,
        Flag(
            help="Names (`prescreen readouts`) or anchor/projection/normalization, with commas.  "
            f"[the task's, or {','.join(DEFAULT_PANEL)}]",
            autocompletion=known_readouts,
        ),
    ] = None,
    readings: Annotated[int, Flag(help="Readings per candidate, the last one at the end.")] = 4,
    head: Annotated[str | None, HEAD] = None,
    on: Annotated[
        str,
        Flag(
            help="Where to run: here, processes or ray; with arguments processes,workers=4,gpus=2 (of "
            "this machine) or ray,address=HOST:PORT,gpus=0.25 (for each candidate)."
        ),
    ] = "processes",
    threads: Annotated[int, Flag(help="CPU threads per candidate.")] = 1,
    timeout: Annotated[
        float | None, Flag(help="Seconds after which a candidate is ended and has failed.")
    ] = None,
    time_budget: Annotated[
        str | None,
        Flag(
            help="Time for the whole command, such as 90s, 30m or 1.5h: no candidate is begun that "
            "would probably end later, and the same command goes on with those left."
        ),
    ] = None,
    halving: Annotated[
        bool,
        Flag(
            "--halving/--no-halving",
            help="Train all candidates a little, and only the better ones to the end.",
        ),
    ] = False,
    memory: Annotated[
        float | None, Flag(help="GiB of main memory that a candidate may take; Linux only.")
    ] = None,
    max_params: Annotated[
        str | None,
        Flag(
            help="Trainable parameters of a candidate, such as 300k or 1.5M; above, it is left out."
        ),
    ] = None,
    max_flops: Annotated[
        str | None, Flag(help="FLOPs of one sample's forward pass, such as 2e6 or 1.5G; likewise.")
    ] = None,
    max_latency: Annotated[
        str | None,
        Flag(help="Milliseconds of a forward pass on --device, such as 5ms or 0.1s; likewise."),
    ] = None,
    latency_batch: Annotated[int, Flag(help="Samples in the pass of --max-latency.")] = 1,
    merge: Annotated[
        bool,
        Flag("--merge/--no-merge", help="Measure candidates that compute the same only once."),
    ] = False,
    reuse: Annotated[
        bool,
        Flag(
            "--reuse/--no-reuse",
            help="Take measurements of the same candidates from other runs, and keep these for them.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        Flag(help="Folder of the run, which can be resumed.  [one under prescreen-runs/]"),
    ] = None,
    fresh: Annotated[
        bool,
        Flag(
            "--fresh/--no-fresh",
            help="Measure all anew; the folder's earlier journal is kept aside.",
        ),
    ] = False,
    log: Annotated[
        str | None,
        Flag(
            help="Where readings and places go beside the journal: tensorboard:FOLDER, mlflow or "
            "mlflow:EXPERIMENT, wandb or wandb:PROJECT."
        ),
    ] = None,
    cache: Annotated[
        bool,
        Flag(
            "--cache/--no-cache",
            help="Keep decoded data, and take them from there if their files have not changed.",
        ),
    ] = True,
    config: Annotated[Path | None, CONFIG] = None,
    as_json: Annotated[bool, JSON] = False,
    as_csv: Annotated[bool, Flag("--csv/--no-csv", help="Print CSV.")] = False,
) -> None:
    """Train candidates briefly and rank them by readouts on unlabelled data.

    If the run is killed, rerun the command; it resumes.
    """
    from prescreen.forking import start_early

    if as_json and as_csv:
        raise ValueError("`json` must be given without `csv`, got both")
    if on.partition(",")[0].strip() == "processes":
        start_early()  # torch takes seconds to import, there and here
    from prescreen.cli.measure import measured

    ranking, folder = measured(context.params)
    if as_json:
        show(ranking.to_json())
    elif as_csv:
        show(ranking.to_csv(), end="")
    else:
        show(ranking.to_text(width()))
    note(f"Journal and results: {folder}")
    if ranking.unwritten or (ranking.rows and ranking.rows[0].rank is None):
        raise typer.Exit(1)
