"""Detection: boxes in annotated images, candidates of `search_spaces/detector.py`.

The probe has images of the validation split, without their boxes. What networks are worth is their AP50
and mAP on a third of the annotated images of training, which are not trained on. Networks of more than
700,000 parameters are passed over: they would take most of the time.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from benchmarks.tasks.kind import Data, Kind, hard_runs
from prescreen import Training
from prescreen.heads.preserve import preserve
from prescreen.tasks import DetectionTask
from prescreen.tasks.boxes.reading import read_boxes

IMAGE_SIZE, PROBE = 128, 24
# Images that are soon known by heart; with wrong boxes, every second one has those of another image.
FEW, MISLED = 6, 24


def load(path: Path, image_size: int = IMAGE_SIZE, probe_size: int = PROBE) -> Data:
    """The task of a folder in the format of Pascal VOC, and its regimes."""
    read = read_boxes(path, "voc", probe=None, probe_size=probe_size, seed=0, image_size=image_size)
    count = 2 * len(read.images) // 3

    def task(boxes: list[Tensor], labels: list[Tensor], augment: bool) -> DetectionTask:
        return DetectionTask(
            read.images[: len(boxes)],
            boxes,
            labels,
            num_classes=len(read.classes) + 1,
            probe=read.probe,
            augment=augment,
        )

    def few(size: int) -> tuple[list[Tensor], list[Tensor]]:
        return read.boxes[:size], read.labels[:size]

    wrong = [exchanged(some) for some in few(MISLED)]
    images = read.images[count:].float() / 255
    true = [
        {"boxes": boxes, "labels": labels}
        for boxes, labels in zip(read.boxes[count:], read.labels[count:], strict=True)
    ]
    return Data(
        task(*few(count), augment=True),
        lambda model: average_precision(model, images, true),
        {
            "few": task(*few(FEW), augment=False),
            "wrong": task(wrong[0], wrong[1], augment=False),
        },
    )


def exchanged(given: list[Tensor]) -> list[Tensor]:
    """Every second entry is that of the second one before."""
    even = given[::2]
    moved = iter([*even[-1:], *even[:-1]])
    return [own if number % 2 else next(moved) for number, own in enumerate(given)]


def average_precision(
    model: nn.Module, images: Tensor, true: list[dict[str, Tensor]], batch_size: int = 16
) -> dict[str, float]:
    """AP50 and mAP, in percent, as COCO defines them; the model stays as it was."""
    from torchmetrics.detection import MeanAveragePrecision  # it takes seconds to import

    metric = MeanAveragePrecision(backend="pycocotools")
    metric.warn_on_many_detections = False
    with preserve(model, batch_statistics=False):
        found = [one for some in images.split(batch_size) for one in model(list(some))]
    metric.update(found, true)
    made = metric.compute()
    return {"ap50": 100 * made["map_50"].item(), "map": 100 * made["map"].item()}


_SMALL = {
    "depth": 1,
    "width": 16,
    "norm": "group",
    "neck": "none",
    "head": "fcos",
    "head_depth": 1,
}
_LARGE = {**_SMALL, "depth": 2, "neck": "fpn", "head_depth": 2}

KIND = Kind(
    name="detection",
    space="detector",
    load=load,
    training=Training(steps=200, batch_size=4, optimizer="adamw"),
    longer=8,
    quality="test.ap50",
    higher_is_better=True,
    others={"test.map": True},
    runs=hard_runs((_SMALL, _LARGE), steps=400),
    most_parameters=700_000,
    panel=DetectionTask.panel,
    own_head=False,
)
