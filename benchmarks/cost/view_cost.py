"""What a second look costs: a reading with expected agreement beside one without.

    python -m benchmarks.cost.view_cost

Small timm networks, on random images of 32 x 32 pixels, one thread. CPU seconds of all rows, measured in
turn, round after round, and compared as ratios of medians. "Joint" is a capture of both views in one
batch, beside captures of one after the other; running statistics, so that they read the same.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import timm
import torch

from benchmarks.common.options import command
from prescreen import Probe, capture
from prescreen.text import plain_table
from prescreen.views import VIEWS

NETWORKS = ("test_resnet", "test_vit")
READOUTS = ["sample_gradient", "expected_agreement"]


def main() -> None:
    """Print one table of all networks."""
    args = command(__doc__, samples=256, rounds=25).parse_args()
    torch.set_num_threads(1)
    rows = [row_of(name, args.samples, args.rounds) for name in NETWORKS]
    header = ["", "without, ms", "shift / without", "noise / without", "joint / apart"]
    print(plain_table(header, rows))


def row_of(name: str, samples: int, rounds: int) -> list[str]:
    """A network's milliseconds and ratios."""
    torch.manual_seed(0)
    size: dict[str, Any] = {"img_size": 32} if "vit" in name else {}
    model = timm.create_model(name, num_classes=10, **size)
    images = torch.randn(samples, 3, 32, 32)
    shifted = VIEWS["shift"](images).inputs
    joint = torch.cat([images, shifted])
    probes = {
        "without": Probe(images, READOUTS[:1]),
        "shift": Probe(images, READOUTS),
        "noise": Probe(images, READOUTS, view="noise"),
    }
    seconds: dict[str, list[float]] = {key: [] for key in (*probes, "apart", "joint")}
    for _ in range(rounds):
        for key, values in seconds.items():
            start = time.process_time()
            if key in probes:
                probes[key].read(model, 1)
            else:
                for batch in (joint,) if key == "joint" else (images, shifted):
                    capture(model, batch, batch_statistics=False)
            values.append(time.process_time() - start)
    median = {key: statistics.median(values) for key, values in seconds.items()}
    return [
        name,
        f"{1000 * median['without']:.0f}",
        *(f"{median[key] / median['without']:.2f}" for key in ("shift", "noise")),
        f"{median['joint'] / median['apart']:.2f}",
    ]


if __name__ == "__main__":
    main()
