"""The package's readouts by what they need: the one place where benchmarks choose among them."""

from __future__ import annotations

from prescreen import DEFAULT_PANEL, READOUTS, UNTRAINED
from prescreen.readouts.paired import VIEW_WEIGHT

__all__ = ["HEAD", "HEAD_PANEL", "MEASURED", "NETWORK", "PANEL", "VIEW_WEIGHT", "oriented_sign"]

# Of a forward pass through the head, and of the network as a whole before its training.
HEAD = READOUTS
NETWORK = UNTRAINED
MEASURED = HEAD | NETWORK
PANEL = DEFAULT_PANEL
# Of the head alone: the pruners' default when docs/optuna.md and docs/readouts.md were measured.
HEAD_PANEL = ("sample_gradient", "mutual_information", "separation")


def oriented_sign(name: str) -> float:
    """1 for what is better when higher and for what is no readout, else -1."""
    return 1.0 if name not in MEASURED or MEASURED[name].higher_is_better else -1.0
