"""Diffusion: noise in images of 16×16 pixels, candidates of `search_spaces/unet.py` with time.

The probe has test images with noise that was drawn for it, so its target is known. What networks are
worth is the loss on other test images, in eval mode. Beside it stands how far sampled images are from
these. Inception's weights are not at hand: the Fréchet distance is between features of a small
classifier that is trained here, and compares with no published one.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from benchmarks.common.images import batches_of
from benchmarks.tasks.frechet import Sampler, classifier, distance
from benchmarks.tasks.kind import Data, Kind, Run
from prescreen import Training, load_task
from prescreen.heads.preserve import preserve
from prescreen.tasks import DiffusionTask
from prescreen.tasks.images.named import open_unlabelled
from prescreen.tasks.images.pixels import read_pixels

IMAGE_SIZE, PROBE, TEST = 16, 128, 512
# Images that are soon known by heart.
FEW = 64


def load(path: Path, test_size: int = TEST, classifier_steps: int = 300) -> Data:
    """The task of a folder of labelled images, and its regimes."""
    splits, size = open_unlabelled(path), PROBE + test_size
    read = read_pixels(splits.train, splits.probe, probe_size=size, seed=0, image_size=IMAGE_SIZE)
    held, tested = read.probe[:PROBE], read.probe[PROBE:]
    clean = DiffusionTask(read.images, probe=held, augment=True)
    few = DiffusionTask(read.images[:FEW], probe=held)
    judged = DiffusionTask(read.images, probe=tested)

    def test(model: nn.Module) -> dict[str, float]:
        bands = {f"loss.{band}": judged.held_out_loss(model, band) for band in judged.parts}
        return {"loss": judged.held_out_loss(model), **bands}

    labelled = load_task(path, image_size=IMAGE_SIZE)
    network, prepare = classifier(labelled, classifier_steps), batches_of(labelled)[0].normalize
    with torch.no_grad():
        real = network.features(prepare(tested))
    sampler = Sampler(clean.batches.noising, tuple(tested.shape))

    def frechet(model: nn.Module) -> dict[str, float]:
        with preserve(model, batch_statistics=False):
            pixels = (sampler(model) + 1) * 127.5  # the least and the largest value are -1 and 1
            return {"frechet": distance(network.features(prepare(pixels)), real)}

    return Data(clean, test, {"few": few}, frechet)


_SMALL = {"depth": 1, "width": 8, "kernel": 3, "norm": "batch", "skip": "concatenate"}
_LARGE = {"depth": 2, "width": 16, "kernel": 3, "norm": "group", "skip": "concatenate"}
_LONG = {"steps": 800}
_CONSTANT = {"steps": 800, "schedule": "constant"}

KIND = Kind(
    name="diffusion",
    space="unet",
    load=load,
    training=Training(steps=100, batch_size=64, optimizer="adamw"),
    longer=8,
    quality="test.loss",
    higher_is_better=False,
    others={"test.frechet": False, "test.loss.small_t": False},
    panel=DiffusionTask.panel,
    runs=tuple(
        Run(regime, config, recipe)
        for regime, recipe in (
            ("few", _LONG),
            ("few", _CONSTANT),
            ("clean", _CONSTANT),
        )
        for config in (_SMALL, _LARGE)
    ),
)
