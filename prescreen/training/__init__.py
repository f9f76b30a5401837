"""Training: the recipe of brief training, and the loop."""

from prescreen.training.loop import brief_training
from prescreen.training.recipe import Training

__all__ = ["Training", "brief_training"]
