"""Tasks: the data of brief training, and the fixed unlabelled probe that candidates are read on."""

from prescreen.tasks.base import Task
from prescreen.tasks.detection import DetectionTask
from prescreen.tasks.diffusion import DiffusionTask
from prescreen.tasks.images.task import ImageTask
from prescreen.tasks.language import LanguageTask
from prescreen.tasks.load import load_task
from prescreen.tasks.multilabel import MultilabelTask
from prescreen.tasks.regression import RegressionTask
from prescreen.tasks.segmentation import SegmentationTask
from prescreen.tasks.tokens import TokenTask

__all__ = [
    "DetectionTask",
    "DiffusionTask",
    "ImageTask",
    "LanguageTask",
    "MultilabelTask",
    "RegressionTask",
    "SegmentationTask",
    "Task",
    "TokenTask",
    "load_task",
]
