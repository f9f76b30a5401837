"""Small candidates, good and bad ones, and a task that they learn quickly."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from prescreen.tasks import ImageTask
from prescreen.training.recipe import Training

# Where other processes import the objects that tests send to them: this folder and those in it.
_HERE = Path(__file__).parent
PYTHONPATH = os.pathsep.join(map(str, [_HERE, *(f for f in _HERE.iterdir() if f.is_dir())]))

SPACE = """
from torch import nn

def sample(trial):
    return {"width": trial.suggest_int("width", 2, 64)}

def build(config, *, num_classes, in_channels):
    width = config["width"]
    first = nn.Conv2d(in_channels, width, 3, stride=2)
    return nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(9 * width, num_classes))

def grid():
    return [{"width": width} for width in (4, 8, 16)]
"""
TRAINING = Training(steps=8, batch_size=16)


def batches(batch_size, seed):
    generator = torch.Generator().manual_seed(seed)
    while True:
        y = torch.randint(3, (batch_size,), generator=generator)
        noise = torch.randn(batch_size, 1, 4, 4, generator=generator)
        yield noise + y.view(-1, 1, 1, 1) - 1, y


def make_task():
    probe = next(batches(32, 1))[0]
    return ImageTask("noise", probe, 3, 1, (4, 4), batches)


def mlp(width):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 3))


def tiny():
    return mlp(2)


def small():
    return mlp(8)


def large():
    return mlp(32)


def broken():
    raise RuntimeError("no such layer\nsecond line")


class Greedy(nn.Module):
    def forward(self, x):
        raise MemoryError("can't allocate memory")


def greedy():
    return nn.Sequential(Greedy(), mlp(2))


def explosive():
    model = mlp(4)
    with torch.no_grad():
        model[1].weight.mul_(1e38)
    return model


class Constant(nn.Module):
    def forward(self, x):
        return x * 0


def constant():
    return nn.Sequential(Constant(), mlp(4))


def suicidal():
    os.kill(os.getpid(), signal.SIGKILL)
    return mlp(2)


GOOD = {"tiny": tiny, "small": small, "large": large}
BAD = {"broken": broken, "greedy": greedy, "explosive": explosive, "constant": constant}


def without_seconds(ranking):
    rows = [replace(row, seconds=0.0) for row in ranking]
    return repr(rows)
