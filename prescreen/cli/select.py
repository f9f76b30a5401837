"""The command line's `select`: choose the best checkpoint file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prescreen.cli.completing import readouts as known_readouts
from prescreen.cli.config import CONFIG
from prescreen.cli.options import DATA, HEAD, JSON, PROBE, names, numbers
from prescreen.cli.output import show, width
from prescreen.cli.streams import candidates_on_stderr

Flag = typer.Option


def select_command(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Checkpoint files: .safetensors, or torch's.")
    ],
    model: Annotated[
        list[str],
        Flag(
            help="FILE.py:function or module:function that builds the network; one, or one per file."
        ),
    ],
    data: Annotated[str, DATA],
    readouts: Annotated[
        str | None,
        Flag(
            help="Names with commas; gap/NAME compares seen with unseen inputs.  "
            "[stable_information; for few files or different models view_information]",
            autocompletion=known_readouts,
        ),
    ] = None,
    smoothing: Annotated[int, Flag(help="How many files of one run a value is averaged over.")] = 1,
    probe_size: Annotated[int, Flag(help="Unlabelled inputs that heads are read on.")] = 512,
    image_size: Annotated[int | None, Flag(help="Side in pixels.  [the data's own]")] = None,
    num_classes: Annotated[
        int | None, Flag(help="For images without labels, if a function asks for it.")
    ] = None,
    probe: Annotated[str | None, PROBE] = None,
    mean: Annotated[
        str | None,
        Flag(help="Of values from 0 to 1, one or one per channel with commas.  [the data's own]"),
    ] = None,
    std: Annotated[str | None, Flag(help="Deviation, likewise.")] = None,
    preprocess: Annotated[
        str | None,
        Flag(help="timm:NAME or torchvision:NAME: prepare images as for that model."),
    ] = None,
    head: Annotated[str | None, HEAD] = None,
    config: Annotated[Path | None, CONFIG] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Say which of these checkpoint files is best, from unlabelled data alone.

    With one --model the files are checkpoints of one run, in the order of a step that they hold, else
    of the numbers in their names. With one for each file they are different architectures. Copies are
    one checkpoint. Nothing in the files is executed.
    """
    from prescreen.checkpoints.compare import select_checkpoint
    from prescreen.tasks import load_task

    task = load_task(
        data,
        probe_size=probe_size,
        image_size=image_size,
        mean=numbers("mean", mean),
        std=numbers("std", std),
        preprocess=preprocess,
        probe=probe,
        num_classes=num_classes,
    )
    with candidates_on_stderr():  # models print there as well
        ranking = select_checkpoint(
            checkpoints,
            model[0] if len(model) == 1 else model,
            task,
            readouts=None if readouts is None else names(readouts),
            smoothing=smoothing,
            head=head,
        )
    show(ranking.to_json() if as_json else ranking.to_text(width()))
    if ranking.choice is None:
        raise typer.Exit(1)
