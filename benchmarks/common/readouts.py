"""The package's readouts by what they need: the one place where benchmarks choose among them."""

from __future__ import annotations

from prescreen import READOUTS
from prescreen.readouts.pairs import VIEW_WEIGHT

__all__ = ["HEAD", "HEAD_PANEL", "MEASURED", "NETWORK", "PANEL", "VIEW_WEIGHT", "oriented_sign"]

# Of a forward pass through the head, and of the network as a whole before its training.
HEAD = {name: readout for name, readout in READOUTS.items() if readout.needs == ("head",)}
NETWORK = {name: readout for name, readout in READOUTS.items() if readout.of_network}
MEASURED = HEAD | NETWORK
# The default panel of the results that are here. The present one asks for agreement of views instead.
PANEL = ("sample_gradient", "isotropy", "synflow")
# Of the head alone: the pruners' default before architectures had one default panel.
HEAD_PANEL = ("sample_gradient", "mutual_information", "separation")


def oriented_sign(name: str) -> float:
    """1 if higher is better or the name is not that of a readout, else -1."""
    return 1.0 if name not in READOUTS or READOUTS[name].higher_is_better else -1.0
