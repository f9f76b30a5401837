"""What candidates are trained on briefly, and the fixed unlabelled probe batch they are read on."""

from prescreen.data.named import load_task
from prescreen.data.task import Task

__all__ = ["Task", "load_task"]
