"""Lightning: callbacks that keep the best checkpoints and stop training, without validation data."""

try:
    import lightning.pytorch  # noqa: F401  # the imports below would fail less clearly
except ImportError as error:
    raise ImportError(
        "prescreen.integrations.lightning needs the 'lightning' extra: "
        "pip install 'prescreen[lightning]'"
    ) from error

from prescreen.integrations.lightning.callbacks import ReadoutCheckpoint, ReadoutEarlyStopping
from prescreen.integrations.lightning.checkpoint import ReadoutModelCheckpoint

__all__ = ["ReadoutCheckpoint", "ReadoutEarlyStopping", "ReadoutModelCheckpoint"]
