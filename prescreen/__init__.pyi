"""The public names, for type checkers; __init__.py imports them when they are used."""

from prescreen.checkpoints import CheckpointRanking as CheckpointRanking
from prescreen.checkpoints import CheckpointSelector as CheckpointSelector
from prescreen.checkpoints import EarlyStopping as EarlyStopping
from prescreen.checkpoints import Monitor as Monitor
from prescreen.checkpoints import select_checkpoint as select_checkpoint
from prescreen.failures import CandidateFailed as CandidateFailed
from prescreen.heads import capture as capture
from prescreen.panel import DEFAULT_PANEL as DEFAULT_PANEL
from prescreen.probe import Probe as Probe
from prescreen.probe import read as read
from prescreen.ranking import Processes as Processes
from prescreen.ranking import Ranking as Ranking
from prescreen.ranking import rank as rank
from prescreen.reading import Reading as Reading
from prescreen.readouts import READOUTS as READOUTS
from prescreen.readouts import Readout as Readout
from prescreen.screening import screen as screen
from prescreen.spaces import Candidate as Candidate
from prescreen.tasks import Task as Task
from prescreen.tasks import load_task as load_task
from prescreen.training import Training as Training
from prescreen.training_probe import TrainingProbe as TrainingProbe

__version__: str
PLACES: dict[str, str]
MOVED: dict[str, str]
