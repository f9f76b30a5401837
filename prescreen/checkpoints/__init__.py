"""Checkpoints: readings of one run, its best checkpoint, and when to stop."""

from prescreen.checkpoints.compare import select_checkpoint
from prescreen.checkpoints.monitor import Monitor
from prescreen.checkpoints.report import CheckpointRanking
from prescreen.checkpoints.selector import CheckpointSelector
from prescreen.checkpoints.stopping import EarlyStopping

__all__ = [
    "CheckpointRanking",
    "CheckpointSelector",
    "EarlyStopping",
    "Monitor",
    "select_checkpoint",
]
