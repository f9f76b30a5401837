"""What must work with the base dependencies alone, and how the rest is refused."""

import torch
from torch import nn

from prescreen import Monitor, Training, load_task, rank
from prescreen.pruning import Improvement
from prescreen.tasks import RegressionTask


def make(width):
    """A function that builds a candidate."""
    return lambda in_features, num_outputs: nn.Sequential(
        nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, num_outputs)
    )


inputs = torch.randn(600, 8)
task = RegressionTask(inputs, inputs[:, :2].sin())
candidates = {"narrow": make(2), "wide": make(64)}
# Intervals over seeds use scipy.
ranking = rank(candidates, task, seeds=2, training=Training(steps=10))
print(ranking)
print(Improvement(), Monitor(task.probe).read(make(8)(8, 2), 1).step)
assert {row.status for row in ranking} == {"ok"}

REFUSED = {
    "digits": lambda: load_task("digits"),
    "images": lambda: load_task("mnist"),
    "ray": lambda: rank(candidates, task, on="ray"),
}
for extra, use in REFUSED.items():
    try:
        use()
    except ImportError as error:
        told = str(error)
    else:
        told = "it is not refused"
    print(told)
    assert f"needs the '{extra}' extra: pip install 'prescreen[{extra}]'" in told
