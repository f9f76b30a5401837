"""Data: the pixels and labels that the format's plainest reader finds in the file, or a refusal."""

import io

import numpy as np
import torch
from judge import refusing

from prescreen import load_task
from prescreen.tasks import ImageTask

TRAIN, PROBE, SIDE, CLASSES = 24, 8, 8, 3


def pixels(seed, count):
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE), np.uint8)


LABELS = np.arange(TRAIN) % CLASSES


def seen(path):
    """What a task gives of a file: sizes, probe images, and all training images with their labels."""
    with refusing():
        task = load_task(path, probe_size=4, augment=False)
    return given(task)


def given(task):
    inputs, labels = next(task.batches(10_000, 0))
    return task.num_classes, task.probe.numpy(), inputs.numpy(), labels.numpy()


def expected(train, labels, probe=None, num_classes=None):
    """The same of plain arrays, each (C, H, W)."""
    images = map(torch.as_tensor, train)
    data = [(image, int(label)) for image, label in zip(images, labels, strict=True)]
    held = None if probe is None else [torch.as_tensor(image) for image in probe]
    task = ImageTask.from_dataset(data, probe=held, probe_size=4, num_classes=num_classes)
    return given(task)


def require_equal(found, right, *reads):
    """The task is the sound one, or that of what a plain reader finds in the changed files."""
    assert _same(found, right) or any(_same(found, _found(read)) for read in reads), (
        f"other data: {found[0]} classes, inputs {found[2].shape}, labels {found[3].tolist()}"
    )


def _found(read):
    """None if the reader finds nothing that has one meaning."""
    try:
        return read()
    except Exception:
        return None


def _same(found, wanted):
    if wanted is None or found[0] != wanted[0]:
        return False
    pairs = zip(found[1:], wanted[1:], strict=True)
    return all(
        a.shape == b.shape and np.allclose(a, b, atol=1e-3, equal_nan=True) for a, b in pairs
    )


def encoded(image, form="PNG"):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def decoded(content):
    """(1, H, W) if grey, else (3, H, W), by Pillow."""
    from PIL import Image

    image = Image.open(io.BytesIO(content))
    array = np.asarray(image if image.mode[0] in "LIF" else image.convert("RGB"))
    array = array.astype(np.uint8 if array.max() <= 255 else np.float32)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
