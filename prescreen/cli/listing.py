"""The command line's `readouts` and `spaces`: lists of what can be chosen."""

from __future__ import annotations

from collections.abc import Iterable

from prescreen.cli.output import show, width
from prescreen.panel import CHECKPOINT_PANEL, DEFAULT_PANEL
from prescreen.tables import fitted_line, fitted_table

_MORE = (
    "What a readout is expected to be after half as much training again: ahead/NAME.",
    "Compare seen with unseen inputs as gap/NAME, for readouts that need only the head.",
    "Not of one model: training_loss (labels of training), committee/agreement (only `rank`).",
)


def readouts_command() -> None:
    """List the readouts, what each of them needs, and the parts for composing others."""
    from prescreen.readouts import ANCHORS, NORMALIZATIONS, PROJECTIONS, READOUTS
    from prescreen.readouts.table import AHEAD

    panels = {
        name.removeprefix(AHEAD): f"architectures{', ahead' if name.startswith(AHEAD) else ''}"
        for name in DEFAULT_PANEL
    }
    panels |= dict.fromkeys(CHECKPOINT_PANEL, "checkpoints")
    rows = [
        [
            name,
            ", ".join(readout.needs),
            "higher" if readout.higher_is_better else "lower",
            readout.reference,
            panels.get(name, ""),
        ]
        for name, readout in READOUTS.items()
    ]
    header = ["readout", "needs", "better", "source", "default for"]
    show(fitted_table(header, rows, range(5), wrap=(1, 3, 4), width=width())[0])
    show("\nCompose others as anchor/projection/normalization:")
    parts: dict[str, Iterable[str]] = {
        "anchor": ANCHORS,
        "projection": PROJECTIONS,
        "normalization": NORMALIZATIONS,
    }
    for part, table in parts.items():
        show(fitted_line(f"  {part:14} {', '.join(table)}", width(), " " * 17))
    show("")
    for line in _MORE:
        show(fitted_line(line, width()))


def spaces_command() -> None:
    """List the search spaces that come with prescreen."""
    from prescreen.spaces.space import space_names

    rows = [list(row) for row in space_names().items()]
    show(fitted_table(["space", "what"], rows, (0, 1), wrap=(1,), width=width())[0])
    own = "Your own space: a FILE.py with sample(trial) -> dict and build(config) -> nn.Module."
    show(f"\n{fitted_line(own, width())}")
