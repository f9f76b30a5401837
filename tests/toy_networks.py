"""A small network for every task of toy_tasks.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional


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
        there = torch.stack(
            [functional.one_hot(one, logits.shape[1]).sum(0) for one in shown]
        ).float()
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
