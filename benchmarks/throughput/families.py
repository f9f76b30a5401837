"""The families of candidates, and how each is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from prescreen import Candidate, Training
from prescreen.spaces.chosen import as_candidates
from prescreen.tasks import ImageTask

SGD = Training(lr=0.05)
ADAMW = Training(optimizer="adamw")
_TIMM = ("test_resnet", "mobilenetv3_small_050", "test_convnext", "test_efficientnet", "resnet10t")


def _timm() -> list[Candidate]:
    known = {candidate.name: candidate for candidate in as_candidates("timm_models")}
    return [known[name] for name in _TIMM]


@dataclass(frozen=True)
class Family:
    """Five candidates of one kind; a round takes one of them.

    Args:
        candidates: makes them.
        training: the recipe that their space is judged with; the benchmark sets the steps.
        image_size: side in pixels.
    """

    candidates: Callable[[], list[Candidate]]
    training: Training
    image_size: int

    def images(self, count: int = 4096, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Images (count, 3, H, W), uint8: one of ten patterns each, with noise; and their classes."""
        generator = torch.Generator().manual_seed(seed)
        shape = 3, self.image_size, self.image_size
        patterns = torch.randn(10, *shape, generator=generator)
        labels = torch.randint(10, (count,), generator=generator)
        noisy = patterns[labels] + 2 * torch.randn(count, *shape, generator=generator)
        return (128 + 32 * noisy).clamp(0, 255).to(torch.uint8), labels

    def task(self) -> ImageTask:
        """The images as prescreen takes them: cropped, flipped and normalised."""
        return ImageTask.from_dataset(TensorDataset(*self.images()), num_classes=10, augment=True)


FAMILIES = {
    "NAS-Bench-201": Family(partial(as_candidates, "nas_bench_201", 5, 0), SGD, 16),
    "NAS-Bench-101": Family(partial(as_candidates, "nas_bench_101", 5, 0), SGD, 16),
    "DARTS": Family(partial(as_candidates, "darts", 5, 0), SGD, 16),
    "timm": Family(_timm, ADAMW, 32),
    "ViT": Family(partial(as_candidates, "vit", 5, 0), ADAMW, 28),
}
