"""One small task of every kind; the last one is not from the package."""

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from prescreen.tasks import (
    DetectionTask,
    DiffusionTask,
    ImageTask,
    LanguageTask,
    MultilabelTask,
    RegressionTask,
    SegmentationTask,
    TokenTask,
)

ROWS, CLASSES = 160, 4


def randoms(seed):
    return torch.Generator().manual_seed(seed)


def table(seed):
    """Inputs (n, 8), and four scores that depend on them linearly."""
    generator = randoms(seed)
    inputs = torch.randn(ROWS, 8, generator=generator)
    return inputs, inputs @ torch.randn(8, CLASSES, generator=randoms(9))


def images(seed, name="images"):
    inputs, scores = table(seed)
    pixels = (inputs.repeat(1, 8).view(-1, 1, 8, 8) * 30 + 128).clamp(0, 255).to(torch.uint8)
    return ImageTask.from_dataset(
        TensorDataset(pixels, scores.argmax(1)), num_classes=CLASSES, probe_size=32, name=name
    )


def loader(seed, name="loader"):
    inputs, scores = table(seed)
    pixels = inputs.repeat(1, 8).view(-1, 1, 8, 8)
    data = TensorDataset(pixels[32:], scores[32:].argmax(1))
    return ImageTask.from_loader(
        DataLoader(data, batch_size=16, shuffle=True),
        probe=pixels[:32],
        num_classes=CLASSES,
        name=name,
    )


def regression(seed, name="regression"):
    inputs, scores = table(seed)
    return RegressionTask(inputs, scores.tanh(), probe_size=32, name=name)


def multilabel(seed, name="multilabel"):
    inputs, scores = table(seed)
    return MultilabelTask(inputs, scores > 0, probe_size=32, view=torch.neg, name=name)


def tokens(seed, name="tokens", masked=False):
    ids = torch.randint(20, (ROWS, 12), generator=randoms(seed))
    labels = ids % CLASSES
    labels[:, 0] = -100
    mask = torch.ones_like(ids) if masked else None
    return TokenTask(ids, labels, mask=mask, vocab_size=20, probe_size=32, name=name)


def masked_tokens(seed, name="tokens"):
    return tokens(seed, name, masked=True)


def chain(seed, length=ROWS * 25):
    """Tokens of which three in four are one more than the one before."""
    steps = torch.randint(8, (length,), generator=randoms(seed))
    return torch.where(steps < 6, 1, steps).cumsum(0) % CLASSES


def language(seed, name="language"):
    return LanguageTask(chain(seed), context=24, probe_size=32, name=name)


def masked_language(seed, name="language"):
    ids = chain(seed)[: ROWS * 24].view(ROWS, 24).clamp(max=CLASSES - 2)
    mask = torch.ones_like(ids)
    mask[:, 20:] = 0
    return LanguageTask(ids, mask=mask, objective="masked", probe_size=32, name=name)


def masks(seed, name="masks"):
    """A class for each pixel: whether it and the mean of its neighbours are positive."""
    pixels = torch.randn(ROWS, 1, 8, 8, generator=randoms(seed))
    around = functional.avg_pool2d(pixels, 3, 1, 1)
    labels = ((pixels > 0).long() + 2 * (around > 0))[:, 0]
    labels[:, 0] = 255
    return SegmentationTask(pixels, labels, probe_size=32, name=name)


def diffusion(seed, name="diffusion"):
    """Images of one colour each, so that most of the noise is plain to see."""
    colours = torch.rand(ROWS, CLASSES, 1, 1, generator=randoms(seed))
    return DiffusionTask(colours.repeat(1, 1, 8, 8), probe_size=32, name=name)


def boxes(seed, name="boxes"):
    """One or two bright boxes in an image; their class is how bright they are."""
    generator = randoms(seed)
    pixels = 0.2 * torch.rand(ROWS, 1, 8, 32, generator=generator)
    made, labels = [], []
    for image in pixels:
        count = int(torch.randint(1, 3, (), generator=generator))
        starts = torch.randint(0, 10, (count,), generator=generator) + 16 * torch.arange(count)
        classes = torch.randint(1, CLASSES, (count,), generator=generator)
        for start, k in zip(starts.tolist(), classes.tolist(), strict=True):
            image[0, 2:7, start : start + 6] += 0.2 + 0.2 * k
        tops, bottoms = torch.full_like(starts, 2), torch.full_like(starts, 7)
        made.append(torch.stack([starts, tops, starts + 6, bottoms], 1))
        labels.append(classes)
    return DetectionTask(pixels, made, labels, num_classes=CLASSES, probe_size=32, name=name)


class Spots(NamedTuple):
    """Inputs (B, 8), and for each the numbers of all classes that it shows."""

    inputs: Tensor
    shown: list[Tensor]


class SpotTask:
    """Targets of unequal length, and models that compute their own losses, as detectors do."""

    link = "sigmoid"

    def __init__(self, seed=0, name="spots"):
        self.name, self.sizes = name, {"num_classes": CLASSES}
        inputs, scores = table(seed)
        self.probe, self.data = inputs[:32], inputs[32:]
        self.shown = [row.nonzero()[:, 0] for row in scores[32:] > 0]

    @property
    def fingerprint(self):
        return hashlib.sha256(torch.cat([self.data, self.probe]).numpy().tobytes()).hexdigest()

    def batches(self, batch_size, seed):
        generator = randoms(seed)
        while True:
            rows = torch.randint(len(self.data), (batch_size,), generator=generator)
            yield Spots(self.data[rows], [self.shown[row] for row in rows.tolist()])

    def inputs(self, batch):
        return batch.inputs

    def loss(self, model, batch):
        return torch.stack([*model(batch.inputs, batch.shown).values()]).sum()

    def views(self, inputs):
        return None


TASKS = {
    "images": images,
    "loader": loader,
    "regression": regression,
    "multilabel": multilabel,
    "tokens": tokens,
    "masked tokens": masked_tokens,
    "language": language,
    "masked language": masked_language,
    "masks": masks,
    "diffusion": diffusion,
    "boxes": boxes,
    "spots": SpotTask,
}
