"""Readouts: numbers read from a network without labels.

A readout of the head is a point of the grid anchor × projection × normalization, or a statistic, which
needs no anchor. Other readouts look at the untrained network, at another view, at the previous reading
or at seen inputs. ``READOUTS`` is the table; ``get_readout("prior/gradient/feature")`` composes others.
The grid and its definitions are prescreen's own; references say what each one follows.
"""

from prescreen.readouts.anchors import ANCHORS, labels, teacher
from prescreen.readouts.defined import require_defined
from prescreen.readouts.grid import compose
from prescreen.readouts.held_out import held_out_loss
from prescreen.readouts.network import Network
from prescreen.readouts.normalizations import NORMALIZATIONS
from prescreen.readouts.projections import PROJECTIONS
from prescreen.readouts.readout import Need, Readout
from prescreen.readouts.statistics import STATISTICS
from prescreen.readouts.table import READOUTS, Readouts, get_readout, resolve_readouts, to_compare

__all__ = [
    "ANCHORS",
    "NORMALIZATIONS",
    "PROJECTIONS",
    "READOUTS",
    "STATISTICS",
    "Need",
    "Network",
    "Readout",
    "Readouts",
    "compose",
    "get_readout",
    "held_out_loss",
    "labels",
    "require_defined",
    "resolve_readouts",
    "teacher",
    "to_compare",
]
