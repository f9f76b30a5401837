"""Report: checkpoint files that were compared, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from prescreen.checkpoints.selection import Choice
from prescreen.reading import Reading
from prescreen.tables import fitted_line, fitted_table
from prescreen.text import finite, printable

# Of the JSON: 1 had no name of a schema. What a field means never changes; fields may join.
CHECKPOINTS_SCHEMA = "prescreen.checkpoints/2"


@dataclass(frozen=True)
class CheckpointRanking:
    """Checkpoint files and which of them reads best.

    Args:
        files: with different weights; those of one run in the order of training.
        readings: one for each file; the step is the place in ``files``.
        choice: the best file; the step is the place in ``files``. None if all have diverged.
        order: places in ``files``, best first, without those that were not compared.
        readouts: the readouts that were compared.
        copies: for each file, others with the same weights.
        notes: how inputs were prepared, which weights of the files were read, and whether the order
            of training is a guess; each a sentence.
    """

    files: tuple[Path, ...]
    readings: tuple[Reading, ...]
    choice: Choice | None
    order: tuple[int, ...]
    readouts: tuple[str, ...]
    copies: tuple[tuple[Path, ...], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Path:
        """The file that reads best.

        Raises:
            ValueError: there is none.
        """
        if self.choice is None:
            raise ValueError("`checkpoints` must have one whose readouts are numbers, got none")
        return self.files[self.choice.step]

    @property
    def reason(self) -> str:
        """Why the best file was chosen, and reasons to doubt the choice."""
        if self.choice is None:
            return "No checkpoint has readouts that are numbers."
        best, panel = self.choice, " and ".join(self.readouts)
        what = f"the best {panel}" if len(self.readouts) == 1 else f"the best mean rank in {panel}"
        skipped = f", {best.skipped} more without a value" if best.skipped else ""
        said = f"{self.best} has {what} ({best.score:.4g}) of {best.candidates}{skipped}."
        return " ".join([said, *(f"But {doubt}." for doubt in best.doubts)])

    def to_json(self) -> str:
        """Strict JSON (docs/json.md); values that are not finite become null."""
        content = {
            "schema": CHECKPOINTS_SCHEMA,
            "best": None if self.choice is None else str(self.best),
            "reason": self.reason,
            "choice": None if self.choice is None else asdict(self.choice),
            "order": [str(self.files[place]) for place in self.order],
            "checkpoints": [
                {
                    "file": str(file),
                    "copies": [str(copy) for copy in copies],
                    "values": dict(reading.values),
                }
                for file, copies, reading in self._listed()
            ],
            "notes": list(self.notes),
        }
        return json.dumps(finite(content), indent=2, allow_nan=False)

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, width: int | None = None) -> str:
        """A table for people, in a width of so many characters if one is given."""
        places = {place: str(rank) for rank, place in enumerate(self.order, start=1)}
        rows = [
            [
                places.get(i, "-"),
                " = ".join(map(str, (file, *copies))),
                *(f"{v:.4g}" for v in reading.values.values()),
            ]
            for i, (file, copies, reading) in enumerate(self._listed())
        ]
        rows.sort(key=lambda row: (row[0] == "-", row[0] != "-" and int(row[0])))
        table, _ = fitted_table(
            ["rank", "checkpoint", *self.readouts], rows, (1,), wrap=(1,), width=width
        )
        lines = map(printable, (self.reason, *self.notes))
        return "\n".join([table, *(fitted_line(line, width) for line in lines)])

    def _listed(self) -> Iterator[tuple[Path, tuple[Path, ...], Reading]]:
        copies = self.copies or ((),) * len(self.files)
        return zip(self.files, copies, self.readings, strict=True)
