"""Folders in the format of Pascal VOC: an XML file for each image.

Reference: Everingham et al. 2010, The Pascal Visual Object Classes challenge.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from prescreen.tasks.boxes.annotations import Annotated, Box, Objects, as_box, unreadable
from prescreen.tasks.images.folders import ImageFiles
from prescreen.tasks.images.walk import SUFFIXES, called, files_of, reason, shown, sub_folders

# What the folders are called, in any case; of several, the first counts.
_IMAGES = ("jpegimages", "images")
_ANNOTATIONS = ("annotations", "xmls")
_TRAIN = ("train", "trainval")
_PROBE = ("val", "test")


def open_voc(folder: Path) -> Annotated:
    """Open a folder with ``JPEGImages`` and ``Annotations``, or one that holds such a folder.

    Images of ``ImageSets/Main/train.txt``, else ``trainval.txt``, else all others are trained on; the
    probe is of those of ``val.txt``, else ``test.txt``. Objects that are marked as difficult are left
    out, as in the training of Faster R-CNN.

    Raises:
        ValueError: the folders are not there, or a file cannot be read.
    """
    root = _root(folder)
    places = [called(root, names) for names in (_IMAGES, _ANNOTATIONS)]
    images, files = (
        {path.stem: path for path in reversed(files_of(place, *endings))}
        for place, endings in zip(places, (SUFFIXES, (".xml",)), strict=True)
        if place is not None
    )
    lists = {name: _names(root, name) for name in (*_TRAIN, *_PROBE)}
    held = next((lists[name] for name in _PROBE if lists[name]), [])
    listed = next((lists[name] for name in _TRAIN if lists[name]), sorted(files))
    apart = set(held)
    train = [name for name in listed if name not in apart]
    used = [name for name in train if name in images and name in files]
    left_out = Counter({"listed images without a file or annotations": len(train) - len(used)})
    read = [_read(files[name], left_out) for name in used]
    classes = sorted({name for _, names in read for name in names})
    number = {name: k for k, name in enumerate(classes, start=1)}
    objects = [Objects(boxes, [number[name] for name in names]) for boxes, names in read]
    probe = ImageFiles([str(images[name]) for name in held if name in images])
    return Annotated(
        ImageFiles([str(images[name]) for name in used]),
        objects,
        tuple(classes),
        probe if len(probe) else None,
        left_out,
    )


def _root(folder: Path) -> Path:
    """The folder itself, or the only one in it that is in this format."""
    inner = sub_folders(folder)
    found = [one for one in [folder, *inner] if called(one, _ANNOTATIONS)]
    found = [one for one in found if called(one, _IMAGES)]
    if found[:1] == [folder] or len(found) == 1:
        return found[0]
    got = " and ".join(shown(one.name) for one in found or inner[:6]) or "no folder"
    raise ValueError(
        f"`data` must hold JPEGImages and Annotations, itself or in one of its folders, got {got} in "
        f"{shown(folder)}"
    )


def _names(root: Path, split: str) -> list[str]:
    """The images of a split, without endings; none if there is no such list."""
    path = root / "ImageSets" / "Main" / f"{split}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, reason(error)) from error
    names = dict.fromkeys(line.strip() for line in lines if line.strip())
    return [name[: -len(Path(name).suffix)] if _is_file(name) else name for name in names]


def _is_file(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _read(path: Path, left_out: Counter[str]) -> tuple[list[Box], list[str]]:
    """The boxes of a file and the names of their classes."""
    try:
        tree = ElementTree.fromstring(path.read_bytes())
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise unreadable(path, reason(error)) from error
    boxes, names = [], []
    for found in tree.findall("object"):
        if (found.findtext("difficult") or "0").strip() not in ("0", "false", "False"):
            left_out["difficult objects"] += 1
            continue
        name = (found.findtext("name") or "").strip()
        if not name:
            raise unreadable(path, "an object without a name")
        corners = [found.findtext(f"bndbox/{at}") for at in ("xmin", "ymin", "xmax", "ymax")]
        left, top, right, bottom = as_box(corners, path)
        # The first pixel is 1, and the last one is inside.
        boxes.append((left - 1, top - 1, right, bottom))
        names.append(name)
    return boxes, names
