"""Ranking: many candidates screened, journalled and ordered."""

from prescreen.ranking.executors import Here, Processes, Ray
from prescreen.ranking.explanation import Explanation
from prescreen.ranking.halving import Halving
from prescreen.ranking.opened import Run, open_run
from prescreen.ranking.progress import Progress
from prescreen.ranking.report import Ranking
from prescreen.ranking.row import Row
from prescreen.ranking.run import rank

__all__ = [
    "Explanation",
    "Halving",
    "Here",
    "Processes",
    "Progress",
    "Ranking",
    "Ray",
    "Row",
    "Run",
    "open_run",
    "rank",
]
