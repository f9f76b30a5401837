"""Which folders and files are splits of a data set, by the names that are usual for them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch.utils.data import Dataset

from prescreen.tasks.images.walk import files_of, holds_images, shown, sub_folders

logger = logging.getLogger(__name__)

Role = Literal["train", "validation", "test", "other"]

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "trainval"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "valset", "dev", "devel"), "validation"),
    **dict.fromkeys(("development", "validate", "validating", "validationset"), "validation"),
    **dict.fromkeys(("test", "testing", "tests", "tst", "testset"), "test"),
    **dict.fromkeys(("eval", "evaluation", "evaluate", "holdout"), "test"),
    # Beside training images these are no classes either; they are not used.
    **dict.fromkeys(("unlabeled", "unlabelled", "pred", "predict", "prediction"), "other"),
    **dict.fromkeys(("predictions", "submission", "extra"), "other"),
}
# Words beside the name of a split that do not change what it is, as in train_images.
_FILLERS = ("data", "dataset", "folder", "image", "images", "img", "imgs", "set", "split")
# Validation images come first: test images stay unseen for a check at the end.
_PROBE_ROLES: tuple[Role, ...] = ("validation", "test")


class Splits(NamedTuple):
    """Labelled training images, separate images for the probe batch if any, and K if known."""

    train: Dataset[Any]
    probe: Dataset[Any] | None
    num_classes: int | None


def role(name: str) -> Role | None:
    """What split a folder or file of this name is, in any case; None if it is none."""
    found, rest = _parsed(name)
    return None if rest else found


def probe_role(roles: Iterable[Role | None]) -> Role | None:
    """The split that the probe batch is drawn from."""
    there = set(roles)
    return next((some for some in _PROBE_ROLES if some in there), None)


def find_splits(path: Path, *, labelled: bool = True) -> tuple[Path, Path | None]:
    """The folder of class folders, and that of probe images if there is one.

    If not `labelled`, images may also lie in the folders of splits themselves.

    Raises:
        ValueError: the sub-folders may be splits as well as classes.
    """
    folders = sub_folders(path)
    by_role: dict[Role | None, list[Path]] = {}
    for folder in folders:
        by_role.setdefault(role(folder.name), []).append(folder)
    train = by_role.get("train", [])
    splits = [f for some in ("train", *_PROBE_ROLES) for f in by_role.get(some, [])]
    if not splits:
        _refuse_pairs(folders, path)
        return path, None
    classes = [folder for folder in by_role.get(None, []) if holds_images(folder)]
    if classes and splits == train and len(train) == 1 and not _class_folders(train[0]):
        return path, None  # its images have no classes: it is one itself, of trains
    held = probe_role(by_role)
    probes = by_role[held] if held else []
    alone = len(train) == 1 and len(probes) < 2 and not classes
    plain = alone and probes and holds_images(train[0]) and not _class_folders(train[0])
    if not alone or (plain and labelled):
        _refuse(splits, classes, path)
    _refuse_nested(train[0])
    return train[0], probes[0] if probes else None


def list_parquet(folder: Path) -> list[Path]:
    """The parquet files in a folder, else in its sub-folder `data`, else in those of splits."""
    # A split of image files may have a table of them beside.
    named = [sub for sub in sub_folders(folder) if role(sub.name) and not holds_images(sub)]
    for places in ([folder], [folder / "data"], named):
        found = [file for place in places if place.is_dir() for file in files_of(place, ".parquet")]
        if found:
            return found
    return []


def parquet_splits(folder: Path) -> tuple[list[Path], list[Path]]:
    """The parquet files of training images, and those of probe images if there are any.

    Raises:
        ValueError: some are named by splits, but none for training.
    """
    by_role: dict[Role | None, list[Path]] = {}
    for file in list_parquet(folder):
        own = role(re.split(r"[-_.]", file.name)[0])
        by_role.setdefault(own or role(file.parent.name), []).append(file)
    train, held = by_role.get("train"), probe_role(by_role)
    if train is None and len(by_role) > 1:
        found = _names([file for files in by_role.values() for file in files])
        raise ValueError(
            f"`data` must have files called train-… beside others, got {found} in {shown(folder)}"
        )
    if train is None:
        return [file for files in by_role.values() for file in files], []
    if unnamed := by_role.get(None):
        logger.warning("%s: left out %s, named by no split", shown(folder), _names(unnamed))
    return train, by_role[held] if held else []


def refuse_inner_splits(folders: Sequence[Path]) -> None:
    """Refuse class folders that are split inside, as cats/train and cats/val.

    Raises:
        ValueError: one is.
    """
    for folder in folders:
        inner = [f for f in sub_folders(folder) if role(f.name) not in (None, "other")]
        if len({role(f.name) for f in inner}) > 1:
            _refuse(inner, [], folder)


def _refuse_nested(train: Path) -> None:
    """Refuse a folder of training images that is split once more."""
    inner = [f for f in sub_folders(train) if role(f.name) not in (None, "other")]
    if len({role(f.name) for f in inner}) > 1 and any(_class_folders(f) for f in inner):
        _refuse(inner, [], train)


def _refuse_pairs(folders: Sequence[Path], path: Path) -> None:
    """Refuse seg_train beside seg_test: other names for splits, or odd ones for classes."""
    by_rest: dict[tuple[str, ...], dict[Role, Path]] = {}
    for folder in folders:
        found, rest = _parsed(folder.name)
        if found not in (None, "other"):
            by_rest.setdefault(rest, {})[found] = folder
    for pair in by_rest.values():
        if "train" in pair and len(pair) > 1:
            _refuse([*pair.values()], [f for f in folders if f not in pair.values()], path)


def _refuse(splits: Sequence[Path], classes: Sequence[Path], path: Path) -> None:
    beside = f" beside {_names(classes)}" if classes else ""
    raise ValueError(
        f"`data` must be clear about what are splits and what are classes, got {_names(splits)}"
        f"{beside} in {shown(path)}: for splits, have folders train and val with class folders in "
        "train, and none beside; for classes, put all of them into a folder train"
    )


def _names(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(shown(path.name) for path in paths[:3]) + more


def _class_folders(folder: Path) -> list[Path]:
    return [sub for sub in sub_folders(folder) if holds_images(sub)]


def _parsed(name: str) -> tuple[Role | None, tuple[str, ...]]:
    """The split that a name has in it, and its other words."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+", name)
    words = [word.casefold() for word in parts if word.casefold() not in _FILLERS]
    named = [word for word in words if word in _ROLES]
    if len(named) != 1:
        return None, tuple(words)
    words.remove(named[0])
    return _ROLES[named[0]], tuple(words)
