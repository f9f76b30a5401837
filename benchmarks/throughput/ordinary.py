"""The ordinary loop: what people write who train each candidate in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from prescreen import Candidate, Training
from prescreen.predictions import model_logits
from prescreen.training.execution import lay_out
from prescreen.training.recipe import peak_lr


class Images(Dataset[Any]):
    """Decoded images in memory, transformed one at a time, as torchvision's CIFAR10 does it."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._images = images.movedim(1, 3).contiguous().numpy()
        self._labels = labels.tolist()
        size = self._images.shape[1]
        mean = np.mean(self._images / 255, (0, 1, 2)).tolist()
        std = np.std(self._images / 255, (0, 1, 2)).tolist()
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(size, padding=size // 8),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """An image (3, H, W) and its class."""
        return self._transform(Image.fromarray(self._images[row])), self._labels[row]


class Loop:
    """Builds a candidate and trains it: fp32, the default layout, the recipe of `training`."""

    def __init__(
        self, candidate: Candidate, data: Images, training: Training, loader_workers: int = 0
    ) -> None:
        torch.manual_seed(training.seed)
        image, _ = data[0]
        model = candidate.model(num_classes=10, in_channels=3, image_size=tuple(image.shape[1:]))
        # Some of our builders choose another layout already.
        self.model: nn.Module = model.to(training.device).train()
        lay_out(self.model, channels_last=False)
        self._training = training
        self._loader = DataLoader(
            data,
            training.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=loader_workers,
            pin_memory=training.device != "cpu",
        )
        lr, decay = peak_lr(training), training.weight_decay
        weights = self.model.parameters()
        self._optimizer: torch.optim.Optimizer = (
            torch.optim.AdamW(weights, lr, weight_decay=decay)
            if training.optimizer == "adamw"
            else torch.optim.SGD(weights, lr, momentum=0.9, nesterov=True, weight_decay=decay)
        )
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, training.steps)
        self._batches = self._without_end()
        self._running = 0.0

    def run(self, steps: int) -> None:
        """Train for some steps."""
        for _ in range(steps):
            self.step(self.batch())

    def batch(self) -> Any:
        """The next images and labels."""
        return next(self._batches)

    def step(self, batch: Any) -> None:
        """Take one step of the optimizer."""
        images, labels = (one.to(self._training.device) for one in batch)
        self._optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model_logits(self.model(images)), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self._training.clip or math.inf)
        self._optimizer.step()
        self._schedule.step()
        self._running += loss.item()

    def _without_end(self) -> Iterator[Any]:
        while True:
            yield from self._loader
