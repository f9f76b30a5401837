"""Ray Tune: stop trials by their readings, or let Tune search a whole space.

``Reader`` is for your own trainable, ``ReadoutScheduler`` and ``ReadoutCallback`` are for the tuner, and
``trainable`` makes a complete trainable for a search space.
"""

try:
    import ray.tune  # noqa: F401  # the imports below would fail less clearly
except ImportError as error:
    raise ImportError(
        "prescreen.integrations.ray needs the 'ray' extra: pip install 'prescreen[ray]'"
    ) from error

from prescreen.integrations.ray.callback import ReadoutCallback
from prescreen.integrations.ray.reader import Reader
from prescreen.integrations.ray.scheduler import ReadoutScheduler
from prescreen.integrations.ray.searcher import PrunedSearch
from prescreen.integrations.ray.stopper import ReadoutStopper
from prescreen.integrations.ray.trainable import trainable
from prescreen.pruning import Halving, Improvement, Median

__all__ = [
    "Halving",
    "Improvement",
    "Median",
    "PrunedSearch",
    "Reader",
    "ReadoutCallback",
    "ReadoutScheduler",
    "ReadoutStopper",
    "trainable",
]
