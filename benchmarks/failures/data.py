"""The data: a clean task, and probes from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn import functional

from benchmarks.common.images import Labelled, batches_of, open_test, read_rows, shuffled
from benchmarks.common.training_sets import few, long_tail, rows_of
from prescreen import load_task
from prescreen.tasks import ImageTask
from prescreen.tasks.images.dataset import InMemory
from prescreen.tasks.images.decode import decode
from prescreen.tasks.images.layouts import Layout, fit

IMAGE_SIZE = 16
PROBE = 512
TEST = 4000

_OTHER_IMAGES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, eq=False)
class Data:
    """What every run needs: the clean task, its samples, probes by name, labelled test images."""

    task: ImageTask
    samples: InMemory
    probes: dict[str, Tensor]
    test: Labelled


def load_data(data: Path, other: Path | None) -> Data:
    """CIFAR-10 at a small size; probes and test images are disjoint parts of its test set.

    Labels of test images decide only which classes a probe of unequal classes has.
    """
    task = load_task(data, probe_size=PROBE, image_size=IMAGE_SIZE)
    source = open_test(data)
    pool = read_rows(task, source, shuffled(source))
    moments, samples = batches_of(task)
    probes = shifted_probes(rows_of(pool, torch.arange(TEST, len(pool))))
    if other is not None:
        probes["other images"] = crops_of(other, PROBE)
    return Data(
        task,
        samples,
        {name: moments.normalize(images) for name, images in probes.items()},
        (moments.normalize(pool.images[:TEST]), pool.labels[:TEST]),
    )


def shifted_probes(pool: InMemory, size: int = PROBE, seed: int = 0) -> dict[str, Tensor]:
    """Probes from a pool of uint8 images: clean ones, their distortions, unequal classes.

    "clean 2" and "clean 3" are other images; they differ from "clean" by chance only.
    """
    generator = Generator().manual_seed(seed)
    clean = pool.images[:size]
    noise = torch.randn(clean.shape, generator=generator)
    pixels = torch.rand(clean.shape, generator=generator)
    rest = rows_of(pool, torch.arange(3 * size, len(pool)))
    return {
        "clean": clean,
        "clean 2": pool.images[size : 2 * size],
        "clean 3": pool.images[2 * size : 3 * size],
        "noise": _pixels(clean + 40 * noise),
        "blur": _pixels(_blur(_blur(clean.float()))),
        "inverted": 255 - clean,
        "low contrast": _pixels(127 + 0.3 * (clean.float() - 127)),
        "grey": _pixels(clean.float().mean(1, keepdim=True).expand_as(clean)),
        "random pixels": _pixels(255 * pixels),
        "long tail": few(long_tail(rest), size, seed).images,
        "three classes": few(rows_of(rest, (rest.labels < 3).nonzero()[:, 0]), size, seed).images,
    }


def crops_of(folder: Path, count: int, seed: int = 0) -> Tensor:
    """Crops of half the size, resized, at random places of the images in a folder; uint8."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _OTHER_IMAGES)
    if not paths:
        raise SystemExit(f"`other` must be a folder of images, got {str(folder)!r}")
    layout = Layout(3, IMAGE_SIZE, IMAGE_SIZE, torch.uint8)
    generator = Generator().manual_seed(seed)
    images = [decode(path.read_bytes(), str(path)) for path in paths[:count]]
    return torch.cat([fit(_crop(images, i, generator)[None], layout) for i in range(count)])


def _crop(images: Sequence[Tensor], i: int, generator: Generator) -> Tensor:
    image = images[i % len(images)]
    height, width = image.shape[1] // 2, image.shape[2] // 2
    top = int(torch.randint(image.shape[1] - height + 1, (), generator=generator))
    left = int(torch.randint(image.shape[2] - width + 1, (), generator=generator))
    return image[:, top : top + height, left : left + width]


def _blur(images: Tensor) -> Tensor:
    return functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)


def _pixels(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
