"""The table of checkpoint_selection.py that README quotes: a line a method, a column a regime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from checkpoint_selection_choice import Choice
from checkpoint_selection_data import REGIMES
from checkpoint_selection_scores import CORRUPTED, STABLE

from prescreen.ranking.report import plain_table

Choices = Mapping[tuple[str, ...], Sequence[Choice]]

COLUMNS = (*REGIMES, CORRUPTED)
# Where the last checkpoint is far from the best.
OVERFITTED = ("noise", "small")

# How a method is called -> its score's name, and how that was read.
METHODS = {
    "stable information": STABLE,
    "stable information, mirrored view": ("stable_information", "unseen, mirrored, eval"),
    "mutual information": ("mutual_information", "unseen, eval"),
    "confidence": ("confidence", "unseen, eval"),
    "seen − unseen confidence": ("confidence", "seen − unseen, eval"),
    "the paper's probe, head scale": ("paper's probe", "head, eval, tail"),
    "the paper's probe, feature scale": ("paper's probe", "feature, eval, tail"),
    "GWA": ("gwa.training", ""),
    "LabelWave": ("label_wave", "own rule"),
    "gradient disparity": ("gradient_disparity", ""),
    "evidence criterion": ("evidence", "own rule"),
    "lowest training loss": ("training.loss", ""),
    "last checkpoint": ("last checkpoint", ""),
    "highest validation accuracy": ("validation.accuracy", "own rule"),
    "lowest validation loss": ("validation.loss", ""),
}

HEADER = ("chosen by", "labels", *COLUMNS, "mean", "recovered")


def summary(by_regime: Mapping[str, Choices]) -> str:
    """Mean gaps to the best checkpoint, in points; recovered is the share of (best − last).

    Args:
        by_regime: choices by a score's name, how it was read and its labels.
    """
    return plain_table(HEADER, [*map(list, summary_rows(by_regime))], (0, 1))


def summary_rows(by_regime: Mapping[str, Choices]) -> list[list[str]]:
    """The lines of `summary`."""
    rows = []
    for label, (name, kind) in METHODS.items():
        made = {regime: of(choices, regime, name, kind) for regime, choices in by_regime.items()}
        (labels,) = {key[2] for key in by_regime[COLUMNS[0]] if key[:2] == (name, kind)}
        gaps = [np.mean([one.gap for one in made[regime]]) for regime in COLUMNS]
        hard = [one for regime in OVERFITTED for one in made[regime]]
        recovered = 1 - sum(one.gap for one in hard) / sum(one.room for one in hard)
        figures = [f"{gap:.2f}" for gap in (*gaps, np.mean(gaps))]
        rows.append([label, labels, *figures, f"{100 * recovered:.0f} %"])
    return rows


def of(choices: Choices, regime: str, name: str, kind: str) -> Sequence[Choice]:
    """What a score chose in a regime; of the corrupted one where it was read on such inputs."""
    if regime == CORRUPTED:
        kind = kind.replace("unseen", CORRUPTED)
    (made,) = [made for key, made in choices.items() if key[:2] == (name, kind)]
    return made
