"""One small task of every kind, with networks for it; the last task is not from the package."""

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor, nn
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


class Tagger(nn.Module):
    def __init__(self, width, vocab_size, num_classes):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, width)
        self.mix = nn.Conv1d(width, width, 3, padding=1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, input_ids, attention_mask=None):
        embedded = self.embed(input_ids)
        if attention_mask is not None:
            embedded = embedded * attention_mask[..., None]
        return self.head(self.mix(embedded.movedim(-1, 1)).movedim(1, -1).relu())


class Spotter(nn.Module):
    def __init__(self, width, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs, shown=None):
        logits = self.head(self.body(inputs))
        if not self.training:
            return logits
        there = torch.stack([functional.one_hot(one, CLASSES).sum(0) for one in shown]).float()
        counts = torch.tensor([float(len(one)) for one in shown], device=inputs.device)
        return {
            "shown": functional.binary_cross_entropy_with_logits(logits, there),
            "count": 0.01 * (logits.sigmoid().sum(1) - counts).square().mean(),
        }


class Denoiser(nn.Module):
    def __init__(self, width, channels):
        super().__init__()
        self.body = nn.Conv2d(channels, width, 3, padding=1)
        self.time = nn.Linear(1, width)
        self.head = nn.Conv2d(width, channels, 1)

    def forward(self, images, times):
        told = self.time(times[:, None] / 1000)
        return self.head((self.body(images) + told[..., None, None]).relu())


class Boxer(nn.Module):
    """Predicts classes and boxes at the places of a map; like a detector it returns its losses."""

    def __init__(self, width, num_classes, in_channels):
        super().__init__()
        self.head_roles = {"classes": "classes", "boxes": "boxes"}
        self.body = nn.Conv2d(in_channels, width, 5, padding=2)
        self.classes, self.boxes = nn.Conv2d(width, num_classes, 1), nn.Conv2d(width, 4, 1)

    def forward(self, images, targets=None):
        images = images if isinstance(images, Tensor) else torch.stack(images)
        features = functional.avg_pool2d(self.body(images).relu(), 4)
        logits, boxes = self.classes(features), self.boxes(features)
        if not self.training:
            return [{"boxes": own.flatten(1).T} for own in boxes]
        wanted, losses = torch.zeros_like(logits), []
        for image, target in enumerate(targets):
            for box, k in zip(target["boxes"], target["labels"], strict=True):
                x, y = ((box[:2] + box[2:]) / 8).long()
                wanted[image, k, y, x] = 1
                losses.append((boxes[image, :, y, x] - box / 32).abs().mean())
        of_classes = functional.binary_cross_entropy_with_logits(logits, wanted)
        return {"classes": of_classes, "boxes": torch.stack(losses).mean()}


def perceptron(width, *, num_classes, in_features=64):
    first = nn.Linear(in_features, width)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(width, num_classes))


class Causal(Tagger):
    """Sees a token and the one before."""

    def forward(self, input_ids, attention_mask=None):
        embedded = self.embed(input_ids).movedim(-1, 1)
        return self.head(self.mix(functional.pad(embedded, (1, 0)))[..., :-1].movedim(1, -1).relu())


def causal(width, *, vocab_size):
    return Causal(width, vocab_size, vocab_size)


def tagger(width, *, vocab_size, num_classes):
    return Tagger(width, vocab_size, num_classes)


def spotter(width, *, num_classes):
    return Spotter(width, num_classes)


def pixelwise(width, *, num_classes, in_channels):
    first = nn.Conv2d(in_channels, width, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.Conv2d(width, num_classes, 1))


def denoiser(width, *, in_channels, with_time):
    assert with_time
    return Denoiser(width, in_channels)


def boxer(width, *, num_classes, in_channels):
    return Boxer(width, num_classes, in_channels)


# Builders of networks of some width, by the name of their task.
NETWORKS = {
    **dict.fromkeys(("tokens", "masked tokens", "masked language"), tagger),
    "language": causal,
    "masks": pixelwise,
    "diffusion": denoiser,
    "boxes": boxer,
    "spots": spotter,
}


def network(kind):
    return NETWORKS.get(kind, perceptron)
