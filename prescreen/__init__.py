"""Rank, prune and select neural networks after brief training, from unlabelled data.

candidate → brief training → capture → readout → trajectory → decision
"""

from prescreen.captured import Capture
from prescreen.checkpoints.compare import Comparison, select
from prescreen.checkpoints.monitor import Monitor
from prescreen.checkpoints.selector import CheckpointSelector
from prescreen.checkpoints.stopping import EarlyStopping
from prescreen.failures import CandidateFailed
from prescreen.heads.capturing import capture_heads
from prescreen.heads.find import find_heads
from prescreen.measuring import read
from prescreen.panel import CHECKPOINT_PANEL, DEFAULT_PANEL
from prescreen.ranking.report import Ranking
from prescreen.ranking.run import rank
from prescreen.reading import Reading, Trajectory
from prescreen.readouts import READOUTS, Readout, get_readout
from prescreen.readouts.network import UNTRAINED
from prescreen.screening import screen
from prescreen.spaces.candidate import Candidate
from prescreen.tasks import Task, load_task
from prescreen.training.loop import brief_training
from prescreen.training.recipe import Training

__all__ = [
    "CHECKPOINT_PANEL",
    "DEFAULT_PANEL",
    "READOUTS",
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
