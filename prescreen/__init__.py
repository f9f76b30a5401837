"""Rank, prune and select neural networks after brief training, from unlabelled data.

candidate → brief training → capture → readout → trajectory → decision
"""

import importlib
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from prescreen.deprecation import moved
from prescreen.interrupts import end_quietly_if_command_line

# Before torch is imported, which takes seconds.
end_quietly_if_command_line()

# Public name to the module that has it. They are imported when they are used first: the command line
# answers --help and --version without torch. __init__.pyi says the same to type checkers.
PLACES = {
    "DEFAULT_PANEL": "panel",
    "READOUTS": "readouts",
    "Candidate": "spaces",
    "CandidateFailed": "failures",
    "CheckpointRanking": "checkpoints",
    "CheckpointSelector": "checkpoints",
    "EarlyStopping": "checkpoints",
    "Monitor": "checkpoints",
    "Probe": "probe",
    "Processes": "ranking",
    "Ranking": "ranking",
    "Reading": "reading",
    "Readout": "readouts",
    "Task": "tasks",
    "Training": "training",
    "TrainingProbe": "training_probe",
    "capture": "heads",
    "load_task": "tasks",
    "rank": "ranking",
    "read": "probe",
    "screen": "screening",
    "select_checkpoint": "checkpoints",
}
__all__ = [*PLACES]

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
_retired = moved(__name__, MOVED, until="0.3", stacklevel=3)


def __getattr__(name: str) -> Any:
    """A public name, the version, or a module of the package, imported now; or a retired name."""
    if name in PLACES:
        value = getattr(importlib.import_module(f"{__name__}.{PLACES[name]}"), name)
    elif name == "__version__":
        value = version(__name__)
    elif not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return importlib.import_module(f"{__name__}.{name}")
    else:
        return _retired(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, whether they have been imported or not."""
    return sorted({*globals(), *PLACES, "__version__"})
