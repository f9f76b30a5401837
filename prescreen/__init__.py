"""Rank, prune and select neural networks after brief training, from unlabelled data.

candidate → brief training → capture → readout → trajectory → decision
"""

from prescreen.candidate import Candidate
from prescreen.capture import Capture
from prescreen.checkpoints import CheckpointSelector
from prescreen.comparison import Comparison, select
from prescreen.data import Task, load_task
from prescreen.failures import CandidateFailed
from prescreen.forward import capture_heads
from prescreen.heads import find_heads
from prescreen.monitor import SELECTION_PANEL, Monitor
from prescreen.ranking import rank
from prescreen.reading import RANKING_PANEL, read
from prescreen.readouts import DEFAULT_PANEL, READOUTS, Readout, get_readout
from prescreen.recipe import Training
from prescreen.report import Ranking
from prescreen.screening import screen
from prescreen.stopping import EarlyStopping
from prescreen.training import brief_training
from prescreen.trajectory import Reading, Trajectory
from prescreen.untrained import UNTRAINED

__all__ = [
    "DEFAULT_PANEL",
    "RANKING_PANEL",
    "READOUTS",
    "SELECTION_PANEL",
    "UNTRAINED",
    "Candidate",
    "CandidateFailed",
    "Capture",
    "CheckpointSelector",
    "Comparison",
    "EarlyStopping",
    "Monitor",
    "Ranking",
    "Reading",
    "Readout",
    "Task",
    "Training",
    "Trajectory",
    "brief_training",
    "capture_heads",
    "find_heads",
    "get_readout",
    "load_task",
    "rank",
    "read",
    "screen",
    "select",
]
