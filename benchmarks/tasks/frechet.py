"""A Fréchet distance of sampled images, and how they are sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn

from prescreen import Training
from prescreen.predictions import model_logits
from prescreen.tasks import ImageTask
from prescreen.tasks.noising import Noising
from prescreen.training import brief_training

FEATURES = 64


class Classifier(nn.Module):
    """A small network whose last features, (N, 64), are those of a Fréchet distance."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for entering, leaving in ((channels, 32), (32, 64), (64, FEATURES)):
            layers += [nn.Conv2d(entering, leaving, 3, padding=1), nn.BatchNorm2d(leaving)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, K)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def classifier(task: ImageTask, steps: int) -> Classifier:
    """A network that was trained on labelled images, in eval mode; the same one every time."""
    assert task.num_classes is not None
    torch.manual_seed(0)
    model = Classifier(task.in_channels, task.num_classes)
    for _ in brief_training(model, task, Training(steps=steps)):
        pass
    return model.eval()


@torch.no_grad()
def distance(made: Tensor, real: Tensor) -> float:
    """Of Gaussians with the means and covariances of two sets of features, (n, D) and (m, D).

    Reference: Heusel et al. 2017, arXiv 1706.08500.
    """
    a, b = (one.double().numpy() for one in (made, real))
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root of AB is that of the root of √A B √A, which is symmetric.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    apart = np.square(a.mean(0) - b.mean(0)).sum()
    return float(apart + np.trace(first + second) - 2 * shared)


@dataclass(frozen=True, eq=False)
class Sampler:
    """Images from noise in few steps, always from the same noise: DDIM without noise on the way.

    Args:
        noising: of a model that predicts the noise.
        shape: (n, C, H, W) of the images, of values from −1 to 1.
        steps: how many times the model runs.

    Reference: Song et al. 2020, arXiv 2010.02502.
    """

    noising: Noising
    shape: tuple[int, ...]
    steps: int = 25

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> Tensor:
        """(n, C, H, W)."""
        x = torch.randn(self.shape, generator=Generator().manual_seed(0))
        kept = self.noising.kept
        times = torch.linspace(len(kept) - 1, 0, self.steps).long()
        for number, time in enumerate(times):
            noise = torch.cat([self._noise(model, some, time) for some in x.split(64)])
            now = kept[time]
            clean = ((x - (1 - now).sqrt() * noise) / now.sqrt()).clamp(-1, 1)
            noise = (x - now.sqrt() * clean) / (1 - now).sqrt()
            then = kept[times[number + 1]] if number + 1 < self.steps else torch.ones_like(now)
            x = (then.sqrt() * clean + (1 - then).sqrt() * noise).float()
        return x

    @staticmethod
    def _noise(model: nn.Module, x: Tensor, time: Tensor) -> Tensor:
        return model_logits(model(x, time.expand(len(x))))
