"""Average precision of detectors whose boxes are known, and wrong boxes."""

import pytest
import torch
from torch import nn

pytest.importorskip("torchmetrics", reason="evidence of detection needs torchmetrics")
pytest.importorskip("pycocotools", reason="evidence of detection needs pycocotools")

from benchmarks.tasks import detection

IMAGES = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 32, 32)
TRUE = [
    {
        "boxes": torch.tensor([[2.0, 2.0, 12.0, 12.0], [15.0, 5.0, 30.0, 25.0]]) + number,
        "labels": torch.tensor([1, 2]),
    }
    for number in range(3)
]


class Known(nn.Module):
    """Finds the true boxes, moved to the right."""

    def __init__(self, right):
        super().__init__()
        self.right = torch.tensor([right, 0.0, right, 0.0])

    def forward(self, images):
        own = [TRUE[int(image[0, 0, 0])] for image in images]
        return [{**one, "boxes": one["boxes"] + self.right, "scores": torch.ones(2)} for one in own]


def test_average_precision_of_known_detectors():
    made = detection.average_precision(Known(0), IMAGES, TRUE, batch_size=2)
    assert made == {"ap50": pytest.approx(100), "map": pytest.approx(100)}
    # Moved by 3 the small boxes overlap by 7 / 13, and the others by 12 / 18: AP50 counts both.
    made = detection.average_precision(Known(3), IMAGES, TRUE)
    assert made["ap50"] == pytest.approx(100)
    # Thresholds .5 of the ten for the one, .5 to .65 for the other.
    assert made["map"] == pytest.approx((10 + 40) / 2)
    assert detection.average_precision(Known(30), IMAGES, TRUE)["ap50"] == pytest.approx(0)


def test_every_second_image_has_the_boxes_of_another():
    given = [torch.tensor([number]) for number in range(7)]
    exchanged = [int(one) for one in detection.exchanged(given)]
    assert exchanged == [6, 1, 0, 3, 2, 5, 4]
