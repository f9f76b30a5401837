"""What candidates are trained on briefly, and the fixed unlabelled probe batch they are read on."""

from prescreen.tasks.images.named import load_task
from prescreen.tasks.images.task import Task

__all__ = ["Task", "load_task"]
