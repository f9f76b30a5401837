"""Folders of images beside folders of masks of the same names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from prescreen.checks import require_at_least
from prescreen.tasks.images.folders import ImageFiles, say_left_out
from prescreen.tasks.images.pixels import read_pixels
from prescreen.tasks.images.splits import probe_role, role
from prescreen.tasks.images.unlabelled import open_images
from prescreen.tasks.images.walk import called, list_images, require_folder, shown, sub_folders
from prescreen.tasks.masks.files import number_masks, read_masks

# What the two folders are called, in any case; of several, the first counts.
IMAGES = ("images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "x")
MASKS = (
    *("masks", "mask", "labels", "label", "annotations", "segmentationclass", "segmentation"),
    *("segmentations", "groundtruth", "gt", "gtfine", "y"),
)
# What the names of masks may end in, beside those of their images.
_ENDS = ("", "_mask", "_masks", "_label", "_labels", "_seg", "_segmentation", "_gt")


class Pairs(NamedTuple):
    """Training images, the file of the mask of each, and images for the probe if they are apart."""

    images: ImageFiles
    masks: list[str]
    probe: ImageFiles | None


class Masked(NamedTuple):
    """Images (n, C, H, W) with masks (n, H, W), and probe images (N, C, H, W) of the same form.

    ``apart`` says whether the probe is from other files, and not held out.
    """

    images: Tensor
    masks: Tensor
    num_classes: int | None
    probe: Tensor
    apart: bool


def read_folder(
    path: str | Path,
    *,
    instances: bool,
    ignore_index: int | None,
    num_classes: int | None,
    probe: str | Path | None,
    probe_size: int,
    seed: int,
    image_size: int | None,
) -> Masked:
    """Read a folder into memory; the arguments are those of ``SegmentationTask.from_folder``.

    Raises:
        ValueError: images or masks are not there, do not fit together or cannot be read.
    """
    require_at_least("probe_size", probe_size, 2)
    pairs = open_pairs(require_folder("data", path))
    held = pairs.probe if probe is None else open_images(require_folder("probe", probe))
    size = min(probe_size, max(2, len(pairs.masks) // 4) if held is None else len(held))
    read = read_pixels(pairs.images, held, probe_size=size, seed=seed, image_size=image_size)
    files, paths = (
        [of[row] for row in read.rows.tolist()] for of in (pairs.masks, pairs.images.paths)
    )
    height, width = read.images.shape[2:]
    masks = read_masks(files, paths, (height, width), instances=instances)
    return Masked(
        read.images, *number_masks(masks, num_classes, ignore_index), read.probe, held is not None
    )


def open_pairs(folder: Path) -> Pairs:
    """Find the images and masks of training, and images for the probe.

    Either may be split: ``train/images`` beside ``val/images``, or ``images/train`` beside
    ``images/val``, by the usual names. What has no counterpart is logged in one line.

    Raises:
        ValueError: there are none.
    """
    splits = {role(sub.name): sub for sub in reversed(sub_folders(folder))}
    root = splits.get("train", folder)
    found = {kind: called(root, names) for kind, names in (("images", IMAGES), ("masks", MASKS))}
    at, masks = found["images"], found["masks"]
    if at is None or masks is None:
        there = ", ".join(sub.name for sub in sub_folders(root)[:6]) or "no folder"
        raise ValueError(
            f"`data` must hold a folder of images and one of masks, such as {IMAGES[0]} and "
            f"{MASKS[0]}, got {there} in {shown(root)}"
        )
    held = None
    if root is not folder:
        other = splits.get(probe_role(splits))
        held = None if other is None else called(other, IMAGES) or other
    else:
        inner, of_masks = ({role(s.name): s for s in reversed(sub_folders(f))} for f in (at, masks))
        if "train" in inner and "train" in of_masks:
            held = inner.get(probe_role(inner))
            at, masks = inner["train"], of_masks["train"]
    paths, files = _paired(at, masks)
    probe = None if held is None else ImageFiles([str(p) for p in list_images(held).images])
    return Pairs(ImageFiles(paths), files, probe)


def _paired(at: Path, masks: Path) -> tuple[list[str], list[str]]:
    """The files of images that have a mask, and of their masks, in order."""
    by_key = {_key(path, masks): path for path in reversed(list_images(masks).images)}
    paths: list[str] = []
    files: list[str] = []
    for path in list_images(at).images:
        keys = (_key(path, at) + end for end in _ENDS)
        if (mask := next((by_key.pop(key) for key in keys if key in by_key), None)) is not None:
            paths.append(str(path))
            files.append(str(mask))
    alone = len(list_images(at).images) - len(paths)
    if len(paths) < 3:
        raise ValueError(
            f"`data` must have at least 3 images with a mask of the same name, got {len(paths)}, "
            f"and {alone} without, in {shown(at)} and {shown(masks)}"
        )
    left_out = {"images without a mask": alone, "masks without an image": len(by_key)}
    say_left_out(at, Counter(left_out))
    return paths, files


def _key(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
