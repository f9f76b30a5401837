"""What reading a detector costs: a capture of its classes and boxes beside its forward pass.

    python -m benchmarks.cost.detector_cost

torchvision's RetinaNet with a ResNet-50, untrained, 21 classes, on random images of 640 x 480 pixels,
one thread. CPU seconds measured in turn, round after round, and compared as medians. Memory is the
growth of the process's peak resident size (Linux). The goals are under 10 % of the time, and no peak
that is 64 MiB above that of the forward pass.
"""

from __future__ import annotations

import statistics
import time

import torch
from torchvision.models.detection import retinanet_resnet50_fpn

from benchmarks.common.options import command
from benchmarks.cost.readout_cost import peak_memory
from prescreen.heads import capture_roles
from prescreen.text import plain_table


def main() -> None:
    """Print one table."""
    args = command(__doc__, images=2, rounds=5).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=21, min_size=480, max_size=640
    ).eval()
    images = [torch.rand(3, 480, 640) for _ in range(args.images)]

    def forward() -> None:
        with torch.no_grad():
            model(images)

    def read() -> None:
        capture_roles(model, (images,), {"classes": "sigmoid", "boxes": "identity"})

    works = {"forward pass": forward, "capture of both roles": read}
    for work in works.values():
        work()
    peaks = {name: peak_memory(work, "cpu") / 2**20 for name, work in works.items()}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(args.rounds):
        for name, work in works.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    base = median["forward pass"]
    rows = [
        [name, f"{1000 * median[name]:.0f}", f"{median[name] / base:.2f}", f"{peaks[name]:.0f}"]
        for name in works
    ]
    print(plain_table(["", "ms", "x forward", "peak MiB"], rows))


if __name__ == "__main__":
    main()
