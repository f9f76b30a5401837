"""The recordings of a space, and what is known of its candidates.

``load("timm", RECORDINGS, TRUTHS)`` gives all recorded candidates whose truth is known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.architectures.proxies import UNTRAINED
from benchmarks.architectures.record import FAILED, RECORDED
from benchmarks.architectures.recording import QUARTERS, Recording
from benchmarks.architectures.spaces import SPACES, published_rows
from benchmarks.architectures.table import RESULTS, baseline_values
from benchmarks.common.results import Row, read
from prescreen.ranks import Floats


@dataclass(frozen=True)
class Recordings:
    """The recorded candidates of a space, and how many more there are.

    Args:
        space: its name.
        found: those that are recorded and whose truth is known.
        missing: the number of all others that were to be recorded.
        untrained: what `proxies` measured, by candidate.
    """

    space: str
    found: Sequence[Recording]
    missing: int
    untrained: Mapping[str, Row] = field(default_factory=dict)

    @property
    def truth(self) -> Floats:
        """Accuracies in percent, shape (candidates,)."""
        return np.array([one.truth for one in self.found], float)

    def untrained_scores(self, name: str) -> Floats:
        """A peer's proxy at initialisation, higher is better, shape (candidates,); NaN if undefined.

        Raises:
            KeyError: proxies were not measured, or there is none of that name.
        """
        if not self.untrained:
            raise KeyError(f"{name} was not measured by `proxies`")
        values = baseline_values([self.untrained.get(one.name, {}) for one in self.found], name)
        return np.full(len(self.found), math.nan) if values is None else values

    def values(self, names: Sequence[str], quarter: int = QUARTERS) -> dict[str, Floats]:
        """Values of all candidates by name, each of shape (candidates,), as they are published.

        Args:
            names: as for `Recording.value`.
            quarter: of the training, at whose end they are read.
        """
        rows = [
            [math.nan if o.failure else o.value(name, o.quarter(quarter)) for name in names]
            for o in self.found
        ]
        columns = np.array(rows, float).reshape(len(self.found), len(names)).T
        return dict(zip(names, columns, strict=True))


def load(
    space: str, recordings: Path, truths: Path, *, report: bool = False, seed: int = 0
) -> Recordings:
    """The recorded candidates of a space for which the truth is known.

    Args:
        space: a key of `SPACES`.
        recordings: the folder that `record` and `truth` write.
        truths: the folder of the published tables.
        report: those that are reported on instead of those for tuning.
        seed: of the brief training.
    """
    planned = range(len(SPACES[space].candidates(truths)))[SPACES[space].chosen(report)]
    folder = recordings / space / f"seed-{seed}"
    known = known_truths(space, recordings, truths)
    found = []
    for number in planned:
        for suffix in (RECORDED, FAILED):
            path = folder / f"{number:04d}{suffix}"
            if path.exists():
                one = Recording(path, number, math.nan)
                if one.name in known:
                    found.append(Recording(path, number, known[one.name]))
    proxies = recordings / space / UNTRAINED
    untrained = {row["run"]: row for row in read(proxies)} if proxies.exists() else {}
    return Recordings(space, found, len(planned) - len(found), untrained)


def known_truths(space: str, recordings: Path, truths: Path) -> dict[str, float]:
    """Accuracies in percent by candidate: our own, published, or those of committed results."""
    if SPACES[space].truth_steps:
        curves = (
            json.loads(path.read_text())
            for path in sorted((recordings / "truth" / space).glob("*.json"))
        )
        return {c["name"]: c["accuracy"][-1] for c in curves if "failure" not in c}
    if (truths / space).is_dir():
        rows = enumerate(published_rows(truths, space))
        return {
            f"{number:04d}": float(row.get("accuracy") or row["test_accuracy"])
            for number, row in rows
        }
    committed = read(RESULTS / f"{space}.csv")
    return {row["run"]: row["test_accuracy"] for row in committed if "test_accuracy" in row}
