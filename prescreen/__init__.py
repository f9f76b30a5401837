"""Rank, prune and select neural networks after brief training, from unlabelled data.

candidate → brief training → capture → readout → trajectory → decision
"""

from prescreen.interrupts import end_quietly_if_command_line

# Before torch is imported, which takes seconds.
end_quietly_if_command_line()

# isort: split
from prescreen.checkpoints import (
    CheckpointRanking,
    CheckpointSelector,
    EarlyStopping,
    Monitor,
    select_checkpoint,
)
from prescreen.deprecation import moved
from prescreen.failures import CandidateFailed
from prescreen.heads import capture
from prescreen.panel import DEFAULT_PANEL
from prescreen.probe import Probe, read
from prescreen.ranking import Processes, Ranking, rank
from prescreen.reading import Reading
from prescreen.readouts import READOUTS, Readout
from prescreen.screening import screen
from prescreen.spaces import Candidate
from prescreen.tasks import Task, load_task
from prescreen.training import Training

__all__ = [
    "DEFAULT_PANEL",
    "READOUTS",
    "Candidate",
    "CandidateFailed",
    "CheckpointRanking",
    "CheckpointSelector",
    "EarlyStopping",
    "Monitor",
    "Probe",
    "Processes",
    "Ranking",
    "Reading",
    "Readout",
    "Task",
    "Training",
    "capture",
    "load_task",
    "rank",
    "read",
    "screen",
    "select_checkpoint",
]

# Old name to new place.
MOVED = {
    "Capture": "prescreen.captured.Capture",
    "Comparison": "prescreen.checkpoints.CheckpointRanking",
    "RANKING_PANEL": "prescreen.panel.DEFAULT_PANEL",
    "SELECTION_PANEL": "prescreen.panel.CHECKPOINT_PANEL",
    "Trajectory": "prescreen.reading.Trajectory",
    "brief_training": "prescreen.training.brief_training",
    "capture_heads": "prescreen.heads.capture_heads",
    "find_heads": "prescreen.heads.find_heads",
    "get_readout": "prescreen.readouts.get_readout",
    "select": "prescreen.checkpoints.select_checkpoint",
}
__getattr__ = moved(__name__, MOVED, until="0.3")
