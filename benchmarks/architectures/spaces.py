"""The spaces in which rankings are judged: candidates, brief training, and which are for tuning.

Choices are made on the candidates for tuning only; the others are reported on once.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from prescreen.search_spaces import darts, nas_bench_101, nas_bench_201

from benchmarks.architectures.nas_bench_201 import CELLS, FULL, SHUFFLE
from benchmarks.architectures.own_truth import RECIPE, TIMM
from prescreen import Candidate, Training
from prescreen.spaces.chosen import as_candidates

SGD = Training(batch_size=64, lr=0.05)
ADAMW = RECIPE

# Networks of other families, or other members of families, than those of the list TIMM.
TIMM_NEW = (
    # convolutional: plain and residual, for phones, modern
    *("regnety_002", "gernet_s", "dla46_c", "hgnetv2_b0", "mobilenetv1_100", "tinynet_e"),
    *("mobilenetv3_small_100", "mobilenetv4_conv_small_050", "mobilenetv4_conv_small"),
    *("mnasnet_small", "hardcorenas_a", "rexnet_100", "ghostnet_050", "convnext_zepto_rms"),
    *("convnext_atto", "convnextv2_atto", "inception_next_atto", "mambaout_femto"),
    # hybrids and Transformers
    *("efficientvit_m0", "shvit_s1", "swiftformer_xs", "efficientformerv2_s0", "coat_lite_tiny"),
    "test_vit2",
)


@dataclass(frozen=True)
class Space:
    """Candidates of one space and how they are trained briefly.

    Args:
        candidates: made from the folder of published tables, which only some spaces need.
        tuning: how many of the candidates, the first ones, choices may look at.
        training: the brief run.
        image_size: side in pixels.
        truth_steps: of `truth`, our own training to a plateau; 0 where the truth is known already.
        reported: the candidates that are reported on; all others than those for tuning if None.
        full: the sizes of the networks whose accuracies are published.
    """

    candidates: Callable[[Path | None], list[Candidate]]
    tuning: int
    training: Training
    image_size: int
    truth_steps: int = 0
    reported: slice | None = None
    full: Mapping[str, int] = field(default_factory=dict)

    def chosen(self, report: bool) -> slice:
        """The numbers of the candidates for tuning, or of those that are reported on."""
        return (self.reported or slice(self.tuning, None)) if report else slice(self.tuning)


def published(
    table: str, columns: tuple[str, ...], module: Any, shuffle: int | None, truths: Path | None
) -> list[Candidate]:
    """A candidate for every row of a table; its name is the row's place in the file."""
    if truths is None:
        raise SystemExit(f"`{table}` needs --truths")
    rows = [*enumerate(published_rows(truths, table))]
    if shuffle is not None:
        random.Random(shuffle).shuffle(rows)
    return [_candidate(module, number, {key: row[key] for key in columns}) for number, row in rows]


def published_rows(truths: Path, table: str) -> list[dict[str, str]]:
    """The rows of a published table in the order of the file."""
    with (truths / table / "cifar10.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _candidate(module: Any, number: int, config: Mapping[str, str]) -> Candidate:
    untrained = getattr(module, "build_untrained", None)
    return Candidate(
        f"{number:04d}",
        dict(config),
        partial(module.build, config),
        None if untrained is None else partial(untrained, config),
    )


def listed(names: Iterable[str], _: Path | None) -> list[Candidate]:
    """Networks of timm by name."""
    known = {candidate.name: candidate for candidate in as_candidates("timm_models")}
    return [known[name] for name in names]


def drawn(space: str, count: int, _: Path | None) -> list[Candidate]:
    """A seeded sample of a space."""
    return as_candidates(space, count, 0)


# The shuffle of NAS-Bench-201, the cells for tuning and those reported on are of the earlier benchmark.
SPACES = {
    "nas_bench_201": Space(
        partial(published, "nas_bench_201", ("arch",), nas_bench_201, SHUFFLE),
        tuning=CELLS["tune"].stop,
        training=replace(SGD, steps=1200),
        image_size=16,
        reported=CELLS["report"],
        full=FULL,
    ),
    "nas_bench_101": Space(
        partial(published, "nas_bench_101", ("matrix", "ops"), nas_bench_101, None),
        tuning=100,
        training=replace(SGD, steps=600),
        image_size=16,
        full={"channels": 128, "modules_per_stack": 3},
    ),
    "darts": Space(
        partial(published, "darts", ("normal", "reduce"), darts, None),
        tuning=150,
        training=replace(SGD, steps=400),
        image_size=16,
        full={"channels": 32, "cells": 8},
    ),
    "timm": Space(
        partial(listed, TIMM), tuning=24, training=replace(ADAMW, steps=150), image_size=32
    ),
    "vit": Space(
        partial(drawn, "vit", 24), tuning=24, training=replace(ADAMW, steps=100), image_size=28
    ),
    "timm_new": Space(
        partial(listed, TIMM_NEW),
        tuning=12,
        training=replace(ADAMW, steps=150),
        image_size=32,
        truth_steps=1600,
    ),
    "mobile": Space(
        partial(drawn, "mobile", 24),
        tuning=12,
        training=replace(SGD, steps=300),
        image_size=16,
        truth_steps=3200,
    ),
}
