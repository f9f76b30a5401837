"""Images by name: a task from the name of a data set, or from the user's files."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, TensorDataset

from prescreen.tasks.images.decode import from_pillow, required
from prescreen.tasks.images.folders import open_folder
from prescreen.tasks.images.npz import open_npz
from prescreen.tasks.images.parquet import open_parquet
from prescreen.tasks.images.preparation import Preparation, Statistics
from prescreen.tasks.images.splits import Splits, find_splits, list_parquet
from prescreen.tasks.images.task import Augment, ImageTask
from prescreen.tasks.images.unlabelled import is_unlabelled, open_images, unlabelled_task
from prescreen.tasks.images.walk import short
from prescreen.text import first_line

DOWNLOADS = Path("~/.cache/prescreen")


def _split(train: str, probe: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"split": train}, {"split": probe}


_FLAG: tuple[dict[str, Any], dict[str, Any]] = ({"train": True}, {"train": False})

# The torchvision data sets: arguments of their class for the training images, and for those that the
# probe batch is drawn from; None if torchvision has no such split. Validation comes before test: test
# images stay unseen for a check at the end.
_TORCHVISION: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "Caltech101": ({}, None),
    "Caltech256": ({}, None),
    "CIFAR10": _FLAG,
    "CIFAR100": _FLAG,
    "Country211": _split("train", "valid"),
    "DTD": _split("train", "val"),
    "EMNIST": ({"split": "balanced", "train": True}, {"split": "balanced", "train": False}),
    "EuroSAT": ({}, None),
    "FashionMNIST": _FLAG,
    "FGVCAircraft": _split("train", "val"),
    "Flowers102": _split("train", "val"),
    "Food101": _split("train", "test"),
    "GTSRB": _split("train", "test"),
    "Imagenette": _split("train", "val"),
    "KMNIST": _FLAG,
    "MNIST": _FLAG,
    "OxfordIIITPet": _split("trainval", "test"),
    "PCAM": _split("train", "val"),
    "QMNIST": _FLAG,
    "RenderedSST2": _split("train", "val"),
    "SEMEION": ({}, None),
    "STL10": _split("train", "test"),
    "SUN397": ({}, None),
    "SVHN": _split("train", "test"),
    "USPS": _FLAG,
}

# Characters and signs change their meaning in the mirror.
_NOT_FLIPPED = (
    *("digits", "emnist", "gtsrb", "kmnist", "mnist", "qmnist"),
    *("renderedsst2", "semeion", "svhn", "usps"),
)


def load_images(
    data: str | Path,
    *,
    probe_size: int,
    seed: int,
    root: str | Path | None,
    augment: Augment,
    image_size: int | None,
    mean: Statistics | None,
    std: Statistics | None,
    preprocess: str | None,
    probe: str | Path | None,
    num_classes: int | None,
) -> ImageTask:
    """A classification task from the name of a data set or from a path.

    Arguments are those of ``load_task``.

    Raises:
        ValueError: the data do not exist, cannot be read, or have too few images.
        ImportError: the `images` extra is missing.
    """
    name = str(data)
    splits = _named(name, root) if isinstance(data, str) else None
    held: Any = None if probe is None else _open_probe(probe)
    if splits is None:
        folder = _folder(data)
        if folder and not list_parquet(folder) and is_unlabelled(folder):
            if probe is not None:
                raise ValueError(f"`probe` must be None for images without labels, got {probe}")
            return unlabelled_task(
                open_images(folder),
                probe_size=probe_size,
                seed=seed,
                image_size=image_size,
                num_classes=num_classes,
                preparation=Preparation.of(mean, std, preprocess),
                name=name,
            )
        splits = _open_path(data, num_classes)
    elif augment is True and not may_be_mirrored(name):
        augment = "crop"
    return ImageTask.from_dataset(
        splits.train,
        num_classes=num_classes or splits.num_classes,
        probe=splits.probe if held is None else held,
        probe_size=probe_size if held is None else min(probe_size, len(held)),
        seed=seed,
        augment=augment,
        image_size=image_size,
        mean=mean,
        std=std,
        preprocess=preprocess,
        name=name,
    )


def open_unlabelled(data: str | Path, root: str | Path | None = None) -> Splits:
    """The images of a data set of a name, or of a path; labels beside them are not read.

    Of a folder these are all images below it or, if it has splits, below its folders of splits.

    Raises:
        ValueError: the data do not exist, or cannot be read.
    """
    if isinstance(data, str) and (splits := _named(data, root)) is not None:
        return splits
    folder = _folder(data)
    if not folder or list_parquet(folder):
        return _open_path(data, labelled=False)
    train, held = find_splits(folder, labelled=False)
    return Splits(open_images(train), None if held is None else open_images(held), None)


def may_be_mirrored(data: str | Path) -> bool:
    """Whether images keep what they show in the mirror: False where they are known not to."""
    return str(data).lower() not in _NOT_FLIPPED


def _named(name: str, root: str | Path | None) -> Splits | None:
    """The data set of a name, or None if there is none."""
    if name.lower() == "digits":
        digits = required("sklearn.datasets", "the data set digits", "digits").load_digits()
        images = torch.from_numpy(digits.images).to(torch.uint8)[:, None]
        return Splits(TensorDataset(images, torch.from_numpy(digits.target).long()), None, 10)
    for known, (train, probe) in _TORCHVISION.items():
        if name.lower() == known.lower():
            folder = Path(root or DOWNLOADS).expanduser()
            held = None if probe is None else _torchvision(known, folder, probe)
            return Splits(_torchvision(known, folder, train), held, None)
    return None


def _torchvision(name: str, root: Path, options: dict[str, Any]) -> Dataset[Any]:
    """A torchvision data set, downloaded if it is not there."""
    kind = getattr(required("torchvision.datasets", f"the data set {name}"), name)
    opened: Dataset[Any]
    try:
        opened = kind(root, download=False, transform=from_pillow, **options)
    except (OSError, RuntimeError):
        root.mkdir(parents=True, exist_ok=True)
        try:
            opened = kind(root, download=True, transform=from_pillow, **options)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"`data` must be in {root} or downloadable, got {name}: {first_line(error)}"
            ) from error
    return opened


def _open_probe(data: str | Path) -> Dataset[Any]:
    """The images of a path; labels beside them are not used."""
    folder = _folder(data)
    if folder and not list_parquet(folder):
        return open_images(folder)
    return _open_path(data).train


def _folder(data: str | Path) -> Path | None:
    # Unlike pathlib's, these functions raise nothing for odd paths. An empty path is not a folder.
    given = os.path.expanduser(data)
    return Path(given) if given and os.path.isdir(given) else None


def _open_path(
    data: str | Path, num_classes: int | None = None, *, labelled: bool = True
) -> Splits:
    folder = _folder(data)
    if folder and not list_parquet(folder):
        return open_folder(folder)
    if folder:
        return open_parquet(folder, num_classes, labelled=labelled)
    given = os.path.expanduser(data)
    opener = {".npz": open_npz, ".parquet": open_parquet}.get(os.path.splitext(given)[1].lower())
    if opener is not None and os.path.isfile(given):
        return opener(Path(given), num_classes, labelled=labelled)
    names = ["digits", *(known.lower() for known in _TORCHVISION)]
    close = difflib.get_close_matches(str(data).lower(), names, n=3)
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ValueError(
        f"`data` must be a folder, a .parquet or .npz file, or one of {', '.join(names)}, "
        f"got '{short(str(data))}'{meant}"
    )
